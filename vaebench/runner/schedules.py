"""Learning rates over a training; stepped after every optimiser step, filed with the checkpoint.

The contract: constructed with the optimiser and the number of steps; what comes back is a torch scheduler.
One that also follows the validation data is a SeesValidation; its state is in its `state_dict`, too.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LRScheduler

from vaebench.ranges import Count, NonNegative, UnitInterval


@runtime_checkable
class SeesValidation(Protocol):
    """A schedule that is told, at the end of every epoch, how well the model does."""

    def see(self, value: float) -> str:
        """`value` is the objective's criterion on validation data, higher is better; returns why the training
        ends now, or nothing."""
        ...


def constant(optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """The optimiser's rate throughout, as most of the papers have it."""
    return LambdaLR(optimizer, lambda step: 1.0)


def exponential(optimizer: Optimizer, num_steps: int, *, factor: UnitInterval) -> LRScheduler:
    """The optimiser's rate times `factor` to the number of finished steps."""
    return ExponentialLR(optimizer, gamma=factor)


def cosine(optimizer: Optimizer, num_steps: int, *, final: UnitInterval) -> LRScheduler:
    """From the optimiser's rate down to `final` times it, along half a cosine (Loshchilov & Hutter 2017)."""
    rate = optimizer.param_groups[0]["lr"]
    return CosineAnnealingLR(optimizer, T_max=num_steps, eta_min=final * rate)


def plateau(
    optimizer: Optimizer, num_steps: int, *, first_epoch: Count, factor: UnitInterval, min_lr: NonNegative
) -> LRScheduler:
    """The rule of Kim et al.'s and Dieng et al.'s code, see Plateau."""
    return Plateau(optimizer, first_epoch, factor, min_lr)


class Plateau(LRScheduler):
    """The rate is multiplied by `factor` at the end of the first epoch from `first_epoch` on whose validation
    value is not the best so far, and of every epoch after it, whatever its value; the training ends once the
    rate is below `min_lr`."""

    def __init__(self, optimizer: Optimizer, first_epoch: int, factor: float, min_lr: float) -> None:
        self.first_epoch = first_epoch
        self.factor = factor
        self.min_lr = min_lr
        self.epochs = 0
        self.best = -math.inf
        self.falls = False
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rates as they are: steps do not change them."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def see(self, value: float) -> str:
        self.epochs += 1
        if value > self.best:
            self.best = value
        elif self.epochs >= self.first_epoch:
            self.falls = True
        if not self.falls:
            return ""
        for group in self.optimizer.param_groups:
            group["lr"] *= self.factor
        self._last_lr = self.get_lr()
        return f"learning rate below {self.min_lr:g}" if max(self._last_lr) < self.min_lr else ""
