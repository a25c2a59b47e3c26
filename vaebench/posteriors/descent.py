"""Gradient descent with momentum, and its vector-Jacobian products with respect to start and weights.

An energy maps a point and the number of the step to a scalar, and is deterministic in both: its random
numbers differ between steps, and are the same whenever it is evaluated at the same step.
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
    """Maximum norm in the backward pass, at every step k: of the gradient in x_k that comes from later steps,
    and of the step's contribution to the gradient of all weights together. None gives the exact gradient,
    which grows like a product of K Jacobians where a step is long for the energy's curvature."""

    def end(self, energy: Energy, start: Tensor) -> Tensor:
        """Return x_K, without gradient."""
        point, velocity = start.detach(), torch.zeros_like(start)
        with torch.no_grad():
            for step in range(self.num_steps):
                (slope,) = slopes(energy, point, step, ())
                point, velocity = self._move(point, velocity, slope)
        return point

    def unrolled(self, energy: Energy, start: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return x_K with its exact gradient in `start` and `weights`; all steps' graphs stay in memory."""
        return self._steps(Exact(energy, weights, self.clip), start)

    def by_differences(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """Return x_K with this gradient by finite differences of first derivatives; noisy in float32."""
        return self._steps(Differences(energy, weights, self.clip, epsilon), start)

    def as_published(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """Return x_K with the gradient that the authors' code computes; `clip_back` must be set."""
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
    """All steps as one function; its backward pass is the recursion of Kim et al. (2018, algorithm 1)."""

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
        carried = torch.zeros_like(of_point)  # the gradient in the velocity that comes from later steps
        for step in reversed(range(descent.num_steps)):
            of_velocity = carried + descent.lr * of_point
            of_slope, *of_weights = ctx.second.products(step, of_velocity)
            (of_point,) = descent._clipped_back([of_point - of_slope])
            totals = [a - b for a, b in zip(totals, descent._clipped_back(of_weights), strict=True)]
            carried = descent.momentum * of_velocity
        return None, None, of_point, *totals
