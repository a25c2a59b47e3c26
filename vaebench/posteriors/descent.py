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

Energy = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Descent:
    """v_{k+1} = momentum v_k - clip(dE_k/dx_k), x_{k+1} = x_k + lr v_{k+1}, K times from v_0 = 0."""

    num_steps: int
    lr: float
    momentum: float
    clip: Callable[[Tensor], Tensor]
    clip_back: Callable[[Tensor], Tensor] | None = None
    """Of the gradient in x_k that comes back from later steps, for every k; None gives the exact gradient,
    which grows like a product of K Jacobians where a step is long for the energy's curvature."""

    def end(self, energy: Energy, start: Tensor) -> Tensor:
        """x_K, without gradient."""
        point, velocity = start.detach(), torch.zeros_like(start)
        with torch.no_grad():
            for step in range(self.num_steps):
                (slope,) = slopes(energy, point, step, ())
                point, velocity = self._move(point, velocity, slope)
        return point

    def unrolled(self, energy: Energy, start: Tensor) -> Tensor:
        """x_K with its whole graph: exact, at the memory of all steps and a second backward pass."""
        point, velocity = start.clone(), torch.zeros_like(start)  # hooks are the clone's
        for step in range(self.num_steps):
            if not point.requires_grad:
                point = point.requires_grad_()
            (slope,) = torch.autograd.grad(energy(point, step), point, create_graph=True)
            if self.clip_back is not None:  # from here on: the slope itself has its own clip
                point.register_hook(self.clip_back)
            point, velocity = self._move(point, velocity, slope)
        return point

    def by_differences(
        self, energy: Energy, start: Tensor, weights: Sequence[Tensor], epsilon: float
    ) -> Tensor:
        """x_K with a gradient in the start and in `weights`, from first derivatives of the energy alone.

        The reverse of the recursion needs products of second derivatives with a vector u, and takes them from
        the slopes at x_k and at x_k + epsilon u (Kim et al. 2018, algorithm 1 and its code). The clip is
        differentiated exactly. With `clip_back` it is the code's but for the weights' part of each step,
        which the code clips as well.
        """
        return _ByDifferences.apply(self, energy, epsilon, start, *weights)  # type: ignore[no-any-return]

    def _move(self, point: Tensor, velocity: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.momentum * velocity - self.clip(slope)
        return point + self.lr * velocity, velocity


def slopes(energy: Energy, point: Tensor, step: int, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The energy's gradients in the point and in each of the weights, as constants."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(
            energy(leaf, step), (leaf, *weights), allow_unused=True, materialize_grads=True
        )


class _ByDifferences(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, descent: Descent, energy: Energy, epsilon: float, start: Tensor, *weights: Tensor
    ) -> Tensor:
        points, clipped = [], []
        totals = [torch.zeros_like(weight) for weight in weights]
        point, velocity = start.clone(), torch.zeros_like(start)
        for step in range(descent.num_steps):
            slope, *of_weights = slopes(energy, point, step, weights)
            points.append(point)
            clipped.append(slope)
            totals = [total + part for total, part in zip(totals, of_weights, strict=True)]
            point, velocity = descent._move(point, velocity, slope)
        ctx.descent, ctx.energy, ctx.epsilon, ctx.num_steps = descent, energy, epsilon, len(points)
        ctx.save_for_backward(*points, *clipped, *totals, *weights)
        return point

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_point: Tensor) -> tuple[Tensor | None, ...]:
        descent, num = ctx.descent, ctx.num_steps
        saved = ctx.saved_tensors
        num_weights = (len(saved) - 2 * num) // 2
        points, found = saved[:num], saved[num : 2 * num]
        # Only the sum over steps of a weight's differences is wanted: one tensor a weight, not one a step.
        totals, weights = list(saved[2 * num : 2 * num + num_weights]), saved[2 * num + num_weights :]
        carried = torch.zeros_like(of_point)  # by later velocities
        for step in reversed(range(num)):
            of_velocity = carried + descent.lr * of_point
            with torch.enable_grad():
                leaf = found[step].detach().requires_grad_()
                (direction,) = torch.autograd.grad(descent.clip(leaf), leaf, of_velocity)
            there = points[step] + ctx.epsilon * direction
            slope, *of_weights = slopes(ctx.energy, there, step, weights)
            of_point = of_point - (slope - found[step]) / ctx.epsilon
            if descent.clip_back is not None:
                of_point = descent.clip_back(of_point)
            totals = [total - part for total, part in zip(totals, of_weights, strict=True)]
            carried = descent.momentum * of_velocity
        return None, None, None, of_point, *(total / ctx.epsilon for total in totals)
