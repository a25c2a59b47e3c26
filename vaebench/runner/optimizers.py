"""Optimisers of the reproduced papers, under the names that the configs use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from vaebench.ranges import Momentum, NonNegative, Positive
from vaebench.runner.averaging import AveragedAdam


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: Positive,
    betas: tuple[Momentum, Momentum],
    weight_decay: NonNegative,
) -> torch.optim.Optimizer:
    """Return Adam (Kingma & Ba 2015); one fused kernel updates all parameters."""
    trained, fused = _trained(parameters)
    return torch.optim.Adam(trained, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)


def adam_norm_grad(
    parameters: Iterable[nn.Parameter], *, lr: Positive, betas: tuple[Momentum, Momentum]
) -> torch.optim.Optimizer:
    """Return Adam on gradients of unit norm, as in the VampPrior's code (Tomczak & Welling 2018)."""
    trained, fused = _trained(parameters)
    return AdamNormGrad(trained, lr=lr, betas=betas, fused=fused)


def adam_averaged(
    parameters: Iterable[nn.Parameter], *, lr: Positive, betas: tuple[Momentum, Momentum], decay: Momentum
) -> torch.optim.Optimizer:
    """Return Adam with averaged weights, which training validates and keeps (Polyak & Juditsky 1992)."""
    trained, fused = _trained(parameters)
    return AveragedAdam(trained, lr=lr, betas=betas, fused=fused, decay=decay)


def sgd(parameters: Iterable[nn.Parameter], *, lr: Positive, momentum: Momentum) -> torch.optim.Optimizer:
    """Return stochastic gradient descent, with momentum where `momentum` is not zero."""
    trained, fused = _trained(parameters)
    return torch.optim.SGD(trained, lr=lr, momentum=momentum, fused=fused)


class AdamNormGrad(torch.optim.Adam):
    """Adam on g / (|g|_2 + 1e-7), where g is the gradient of one tensor; it overwrites `.grad` with it."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            norms = torch._foreach_norm(gradients)
            torch._foreach_add_(norms, 1e-7)
            torch._foreach_div_(gradients, norms)
        super().step()
        return loss


def _trained(parameters: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], bool]:
    """Return the trainable parameters, and whether all their devices have a fused kernel."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return trained, all(parameter.device.type in ("cpu", "cuda") for parameter in trained)
