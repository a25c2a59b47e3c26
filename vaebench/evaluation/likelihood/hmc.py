"""Hamiltonian Monte Carlo, batched over chains and test examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.evaluation.base import NotApplicableError

Densities = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Function of codes `[K, B, D]`: log base(z) and log ratio(z), `[K, B]` each, differentiable in z."""


@dataclass(frozen=True)
class Point:
    """Codes with both terms of log f_beta(z) = log base(z) + beta log ratio(z), for K chains on each of B
    examples.

    The terms are stored separately, so that one evaluation of the model serves every temperature.
    """

    z: Tensor
    """`[K, B, D]`."""
    base: Tensor
    """log base(z), `[K, B]`, nats."""
    ratio: Tensor
    """log ratio(z), `[K, B]`, nats."""
    base_grad: Tensor
    """`[K, B, D]`."""
    ratio_grad: Tensor
    """`[K, B, D]`."""

    def log_density(self, beta: float) -> Tensor:
        """Return log f_beta(z), `[K, B]`."""
        return self.base + beta * self.ratio

    def gradient(self, beta: float) -> Tensor:
        """Return the gradient of log f_beta in z, `[K, B, D]`."""
        return self.base_grad + beta * self.ratio_grad


def evaluate(densities: Densities, z: Tensor) -> Point:
    """Return the point at z. No gradient reaches the model's parameters.

    Raises NotApplicableError if z is discrete or log ratio(z) has no gradient in z.
    """
    if not z.is_floating_point():
        raise NotApplicableError("the code is discrete, and HMC needs gradients in z")
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        base, ratio = densities(z)
        if not ratio.requires_grad:
            raise NotApplicableError("log p(x|z) has no gradient in z, and HMC needs one")
        (base_grad,) = torch.autograd.grad(base.sum(), z, retain_graph=True, materialize_grads=True)
        (ratio_grad,) = torch.autograd.grad(ratio.sum(), z, materialize_grads=True)
    return Point(z.detach(), base.detach(), ratio.detach(), base_grad, ratio_grad)


def leapfrog(
    densities: Densities, point: Point, momentum: Tensor, beta: float, step: Tensor, num_leapfrog: int
) -> tuple[Point, Tensor]:
    """Return point and momentum after `num_leapfrog` steps of size `step [B, 1]`, with unit mass.

    Neal (2011), section 2.3. The map preserves volume. It is its own inverse if the momentum is negated.
    """
    momentum = momentum + 0.5 * step * point.gradient(beta)
    for number in range(1, num_leapfrog + 1):
        point = evaluate(densities, point.z + step * momentum)
        momentum = momentum + (1.0 if number < num_leapfrog else 0.5) * step * point.gradient(beta)
    return point, momentum


def transition(
    densities: Densities,
    point: Point,
    beta: float,
    step: Tensor,
    num_leapfrog: int,
    generator: torch.Generator | None = None,
) -> tuple[Point, Tensor]:
    """Sample from a kernel that is reversible under f_beta; return the point and its acceptance probability
    `[K, B]`.

    `step [B]` must not depend on the chains that it moves. A divergent trajectory is rejected.
    """
    z = point.z
    momentum = torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=generator)
    end, end_momentum = leapfrog(densities, point, momentum, beta, step.unsqueeze(-1), num_leapfrog)
    kinetic = 0.5 * (end_momentum.square() - momentum.square()).sum(-1)
    log_ratio = end.log_density(beta) - point.log_density(beta) - kinetic
    acceptance = log_ratio.clamp(max=0).exp().nan_to_num(nan=0.0)
    accepted = torch.rand(acceptance.shape, device=z.device, generator=generator) < acceptance
    return choose(accepted, end, point), acceptance


def choose(mask: Tensor, yes: Point, no: Point) -> Point:
    """Return `yes` where the mask `[K, B]` is true, `no` elsewhere."""
    wide = mask.unsqueeze(-1)
    return Point(
        z=torch.where(wide, yes.z, no.z),
        base=torch.where(mask, yes.base, no.base),
        ratio=torch.where(mask, yes.ratio, no.ratio),
        base_grad=torch.where(wide, yes.base_grad, no.base_grad),
        ratio_grad=torch.where(wide, yes.ratio_grad, no.ratio_grad),
    )
