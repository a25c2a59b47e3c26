"""The contract between the training loop and an objective."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vaebench.model import Model
from vaebench.terms import Terms

Criterion = Literal["elbo", "reconstruction"]
"""A number of the validation pass, in nats, higher is better."""


@dataclass(frozen=True)
class Loss:
    """What one step minimises, and what it logs. All scalars, nats per datum.

    `total` has no gradient in the objective's parameters and `auxiliary` none in the model's: both are
    back-propagated in one pass.
    """

    total: Tensor
    """Minimised over the model's parameters."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Named numbers to log; a fixed set of names."""
    auxiliary: Tensor | None = None
    """Minimised over the objective's own parameters, if it has any."""


class Objective(nn.Module):
    """Constructed with the number of steps in an epoch and the model; called at each step.

    Raises UserError in its constructor for a model that it cannot train. `num_samples` is how many draws of
    z it wants. An objective with networks of its own makes their optimiser in `auxiliary_optimizer`; the loop
    steps it on `Loss.auxiliary` and files both with the checkpoint.
    """

    criterion: ClassVar[Criterion] = "elbo"
    """By which validation number the best weights are chosen, and training stops early."""
    num_samples: int = 1
    warmup_steps: int = 0
    """Steps at the start during which the objective is not yet what it will be."""

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        """`step` counts finished steps, as a scalar tensor on the device: schedules never leave it."""
        raise NotImplementedError

    def kl_weight(self, step: Tensor) -> Tensor | float:
        """What KL(q(z|x) || p(z)) weighs in the loss at `step`, for posteriors that descend it themselves."""
        return 1.0

    def auxiliary_optimizer(self) -> torch.optim.Optimizer | None:
        return None
