"""Gradient descent with momentum, and how its end depends on its start and on the weights behind its slope.

An energy maps a point and the number of the step to a scalar, and gives the same for the same two: what it
draws, it draws anew at each step, and the same again where it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vaebench.posteriors.second_derivatives import (
    Differences,
    Energy,
    Exact,
    Published,
    SecondDerivatives,
    shortened_together,
    slopes,
)


@dataclass(frozen=True)
class Descent:
    """v_{k+1} = momentum v_k - clip(dE_k/dx_k), x_{k+1} = x_k + lr v_{k+1}, K times from v_0 = 0."""

    num_steps: int
    lr: float
    momentum: float
    clip: Callable[[Tensor], Tensor]
    clip_back: float | None = None
    """The longest that the gradient in x_k may be that comes back from later steps, for every k, and the
    longest that all that a step adds to the gradient of the weights may be together. None gives the exact
    gradient, which grows like a product of K Jacobians where a step is long for the energy's curvature."""

    def end(self, energy: Energy, start: Tensor) -> Tensor:
        """x_K, without gradient."""
        point, velocity = start.detach(), torch.zeros_like(start)
        with torch.no_grad():
            for step in range(self.num_steps):
                (slope,) = slopes(energy, point, step, ())
                point, velocity = self._move(point, velocity, slope)
        return point

    def unrolled(self, energy: Energy, start: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """x_K with its gradient in the start and in `weights`: exact, at the memory of all steps' graphs."""
        return self._steps(Exact(energy, weights, self.clip), start)

    def by_differences(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """The same from first derivatives of the energy alone, in float32 with a good deal of noise."""
        return self._steps(Differences(energy, weights, self.clip, epsilon), start)

    def as_published(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """x_K with what the authors' code takes for its gradient; `clip_back` has to be set."""
        assert self.clip_back is not None
        return self._steps(Published(energy, weights, self.clip, epsilon, self.clip_back), start)

    def _steps(self, second: SecondDerivatives, start: Tensor) -> Tensor:
        return _Steps.apply(self, second, start, *second.weights)  # type: ignore[no-any-return]

    def _move(self, point: Tensor, velocity: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.momentum * velocity - self.clip(slope)
        return point + self.lr * velocity, velocity

    def _clipped_back(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        return parts if self.clip_back is None else shortened_together(parts, self.clip_back)


class _Steps(torch.autograd.Function):
    """All steps there; and back, the recursion of Kim et al. (2018, algorithm 1)."""

    @staticmethod
    def forward(
        ctx: Any, descent: Descent, second: SecondDerivatives, start: Tensor, *weights: Tensor
    ) -> Tensor:
        point, velocity = start.clone(), torch.zeros_like(start)
        for step in range(descent.num_steps):
            point, velocity = descent._move(point, velocity, second.slope(point, step))
        ctx.descent, ctx.second = descent, second
        ctx.weights = [weight.shape for weight in weights]
        return point

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_point: Tensor) -> tuple[Tensor | None, ...]:
        descent = ctx.descent
        totals = [of_point.new_zeros(shape) for shape in ctx.weights]
        carried = torch.zeros_like(of_point)  # by later velocities
        for step in reversed(range(descent.num_steps)):
            of_velocity = carried + descent.lr * of_point
            of_slope, *of_weights = ctx.second.products(step, of_velocity)
            (of_point,) = descent._clipped_back([of_point - of_slope])
            totals = [a - b for a, b in zip(totals, descent._clipped_back(of_weights), strict=True)]
            carried = descent.momentum * of_velocity
        return None, None, of_point, *totals
