"""Gradient descent with momentum, and how its end depends on its start and on the weights behind its slope.

An energy maps a point and the number of the step to a scalar, and gives the same for the same two: what it
draws, it draws anew at each step, and the same again where it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Energy = Callable[[Tensor, int], Tensor]


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
        return _Steps.apply(self, Exact(energy, weights), start, *weights)  # type: ignore[no-any-return]

    def by_differences(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """The same from first derivatives of the energy alone, in float32 with a good deal of noise."""
        products = Differences(energy, weights, epsilon)
        return _Steps.apply(self, products, start, *weights)  # type: ignore[no-any-return]

    def _move(self, point: Tensor, velocity: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.momentum * velocity - self.clip(slope)
        return point + self.lr * velocity, velocity

    def _clipped_back(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        return parts if self.clip_back is None else shortened_together(parts, self.clip_back)


class SecondDerivatives(Protocol):
    """An energy at the points of one descent: slopes on the way there, their derivatives on the way back."""

    def slope(self, point: Tensor, step: int) -> Tensor:
        """dE/dx at the point of a step, as a constant. To be asked for each step in turn."""
        ...

    def products(self, step: int, direction: Tensor) -> Sequence[Tensor]:
        """What d(dE/dx . direction) is by x, and by each of the weights, at the point of that step."""
        ...


class Exact:
    """From the graph of every slope, kept until the descent's own is freed."""

    def __init__(self, energy: Energy, weights: Sequence[Tensor]) -> None:
        self.energy = energy
        self.weights = weights
        self.graphs: list[tuple[Tensor, Tensor]] = []

    def slope(self, point: Tensor, step: int) -> Tensor:
        with torch.enable_grad():
            leaf = point.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(leaf, step), leaf, create_graph=True)
        self.graphs.append((leaf, slope))
        return slope.detach()

    def products(self, step: int, direction: Tensor) -> Sequence[Tensor]:
        leaf, slope = self.graphs[step]
        of = (leaf, *self.weights)
        if not slope.requires_grad:  # the energy is linear in both
            return [torch.zeros_like(each) for each in of]
        return torch.autograd.grad(
            slope, of, direction, retain_graph=True, allow_unused=True, materialize_grads=True
        )


class Differences:
    """From the slopes at x_k and at x_k + epsilon u (Kim et al. 2018, algorithm 1 and its code).

    That code clips the slopes at the second point alone, those of the weights with them, before it takes the
    difference: where they are longer than its clip it divides a piece of the slope itself by epsilon. Here
    both slopes are as they are, and only what goes on is clipped.
    """

    def __init__(self, energy: Energy, weights: Sequence[Tensor], epsilon: float) -> None:
        self.energy = energy
        self.weights = weights
        self.epsilon = epsilon
        self.found: list[tuple[Tensor, tuple[Tensor, ...]]] = []

    def slope(self, point: Tensor, step: int) -> Tensor:
        found = slopes(self.energy, point, step, self.weights)
        self.found.append((point, found))
        return found[0]

    def products(self, step: int, direction: Tensor) -> Sequence[Tensor]:
        point, here = self.found[step]
        there = slopes(self.energy, point + self.epsilon * direction, step, self.weights)
        return [(b - a) / self.epsilon for a, b in zip(here, there, strict=True)]


def slopes(energy: Energy, point: Tensor, step: int, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The energy's gradients in the point and in each of the weights, as constants."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(
            energy(leaf, step), (leaf, *weights), allow_unused=True, materialize_grads=True
        )


def shortened(slope: Tensor, longest: float, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """`slope`, scaled down where its norm over `dim` is more than `longest`."""
    norm = torch.linalg.vector_norm(slope, dim=dim, keepdim=True)
    return slope * (longest / (norm + 1e-6)).clamp(max=1)


def shortened_together(parts: Sequence[Tensor], longest: float) -> Sequence[Tensor]:
    """All of `parts`, scaled down by one factor where they are longer than `longest` as one vector."""
    if not parts:
        return parts
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return [part * factor for part in parts]


class _Steps(torch.autograd.Function):
    """All steps there; and back, the recursion of Kim et al. (2018, algorithm 1)."""

    @staticmethod
    def forward(
        ctx: Any, descent: Descent, second: SecondDerivatives, start: Tensor, *weights: Tensor
    ) -> Tensor:
        point, velocity, found = start.clone(), torch.zeros_like(start), []
        for step in range(descent.num_steps):
            found.append(second.slope(point, step))
            point, velocity = descent._move(point, velocity, found[-1])
        ctx.descent, ctx.second, ctx.found = descent, second, found
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
            with torch.enable_grad():
                leaf = ctx.found[step].detach().requires_grad_()
                (direction,) = torch.autograd.grad(descent.clip(leaf), leaf, of_velocity)
            of_slope, *of_weights = ctx.second.products(step, direction)
            (of_point,) = descent._clipped_back([of_point - of_slope])
            totals = [a - b for a, b in zip(totals, descent._clipped_back(of_weights), strict=True)]
            carried = descent.momentum * of_velocity
        return None, None, of_point, *totals
