"""Learning rates over a training; stepped after every optimiser step, filed with the checkpoint.

The contract: constructed with the optimiser and the number of steps; what comes back is a torch scheduler.
"""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LRScheduler

from vaebench.ranges import Fraction


def constant(optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """The optimiser's rate throughout, as most of the papers have it."""
    return LambdaLR(optimizer, lambda step: 1.0)


def exponential(optimizer: Optimizer, num_steps: int, *, factor: Fraction) -> LRScheduler:
    """The optimiser's rate times `factor` to the number of finished steps."""
    return ExponentialLR(optimizer, gamma=factor)


def cosine(optimizer: Optimizer, num_steps: int, *, final: Fraction) -> LRScheduler:
    """From the optimiser's rate down to `final` times it, along half a cosine (Loshchilov & Hutter 2017)."""
    rate = optimizer.param_groups[0]["lr"]
    return CosineAnnealingLR(optimizer, T_max=num_steps, eta_min=final * rate)
