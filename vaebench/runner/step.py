"""One optimiser step, eager or compiled, without synchronisation of host and device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from vaebench.model import Model
from vaebench.objectives.base import Objective
from vaebench.parts import Loss

Step = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""(batch, number of finished steps) -> the scalars to log."""


def make_step(
    model: Model,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    auxiliary_optimizer: torch.optim.Optimizer | None,
    schedule: LRScheduler,
    clip_grad_norm: float | None,
    compiled: bool,
) -> Step:
    """Return the step of a training; `compiled` fuses its forward and backward pass (on CUDA, in a graph)."""
    iterative = model.has_iterative_posterior
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def evaluate(x: Tensor, step: Tensor) -> Loss:
        kl_weight = objective.kl_weight(step) if iterative else 1.0
        return objective(model.terms(x, objective.num_samples, kl_weight=kl_weight), step, model)

    if compiled:
        mode = "reduce-overhead" if next(model.parameters()).is_cuda else "default"
        evaluate = torch.compile(evaluate, mode=mode, dynamic=False)

    def step(x: Tensor, finished: Tensor) -> dict[str, Tensor]:
        if compiled:
            torch.compiler.cudagraph_mark_step_begin()
        loss = evaluate(x, finished)
        optimizer.zero_grad(set_to_none=True)
        if auxiliary_optimizer is not None:
            auxiliary_optimizer.zero_grad(set_to_none=True)
        # One backward pass for both losses: in a compiled step, a second call would repeat all of it.
        (loss.total if loss.auxiliary is None else loss.total + loss.auxiliary).backward()
        logged = {"loss": loss.total, **loss.parts}
        if clip_grad_norm is not None:
            logged["grad_norm"] = nn.utils.clip_grad_norm_(parameters, clip_grad_norm, foreach=True)
        optimizer.step()
        schedule.step()
        if auxiliary_optimizer is not None:
            auxiliary_optimizer.step()
        return logged

    return step
