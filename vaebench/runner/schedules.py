"""Learning-rate schedules, stepped after every optimiser step and saved with the checkpoint.

A schedule is a function of the optimiser and the number of steps that returns a torch scheduler. A scheduler
that also depends on the validation is a SeesValidation; its `state_dict` holds all of its state.
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
    """Schedule that receives the validation value at the end of every epoch."""

    def see(self, value: float) -> str:
        """Update the schedule with the objective's criterion on validation data, higher is better.

        Return the reason if the training ends now, otherwise an empty string.
        """
        ...


def constant(optimizer: Optimizer, num_steps: int) -> LRScheduler:
    """Return a constant learning rate, as in most of the papers."""
    return LambdaLR(optimizer, lambda step: 1.0)


def exponential(optimizer: Optimizer, num_steps: int, *, factor: UnitInterval) -> LRScheduler:
    """Return a learning rate lr * factor^t after t finished steps."""
    return ExponentialLR(optimizer, gamma=factor)


def cosine(optimizer: Optimizer, num_steps: int, *, final: UnitInterval) -> LRScheduler:
    """Return a learning rate that falls from lr to final * lr by half a cosine (Loshchilov & Hutter 2017)."""
    rate = optimizer.param_groups[0]["lr"]
    return CosineAnnealingLR(optimizer, T_max=num_steps, eta_min=final * rate)


def plateau(
    optimizer: Optimizer, num_steps: int, *, first_epoch: Count, factor: UnitInterval, min_lr: NonNegative
) -> LRScheduler:
    """Return the schedule of the code of Kim et al. and Dieng et al.; see Plateau."""
    return Plateau(optimizer, first_epoch, factor, min_lr)


class Plateau(LRScheduler):
    """Learning rate that decays at the end of every epoch from the first plateau on.

    The first plateau is the first epoch, not before `first_epoch`, whose validation value is not the best so
    far. At its end, and at the end of every later epoch whatever its value, the rate is multiplied by
    `factor`. The training ends once the rate is below `min_lr`.
    """

    def __init__(self, optimizer: Optimizer, first_epoch: int, factor: float, min_lr: float) -> None:
        self.first_epoch = first_epoch
        self.factor = factor
        self.min_lr = min_lr
        self.epochs = 0
        self.best = -math.inf
        self.falls = False
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the current rates: steps do not change them."""
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
