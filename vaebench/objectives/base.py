"""Base class of training objectives."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vaebench.model import Model
from vaebench.parts import Loss
from vaebench.terms import Terms

Criterion = Literal["elbo", "reconstruction"]
"""A number of the validation pass, in nats, higher is better."""


class Objective(nn.Module):
    """Training objective, constructed with the number of steps per epoch and the model; called at each step.

    Its constructor raises UserError for a model that it cannot train. `num_samples` is the number of samples
    of z per example. An objective with its own networks returns their optimiser from `auxiliary_optimizer`;
    the loop uses it to minimise `Loss.auxiliary`, and saves both in the checkpoint.
    """

    criterion: ClassVar[Criterion] = "elbo"
    """The validation number that selects the best weights and decides on early stopping."""
    num_samples: int = 1
    warmup_steps: int = 0
    """Number of steps at the start with another loss than later."""

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        """Return the loss. `step` is the number of finished steps, a scalar tensor on the device, so that
        schedules of the objective are computed there."""
        raise NotImplementedError

    def kl_weight(self, step: Tensor) -> Tensor | float:
        """Return the weight of KL(q(z|x) || p(z)) in the loss at `step`, which iterative posteriors use too.

        An objective that does not define it cannot train an iterative posterior (`states_kl_weight`).
        """
        raise NotImplementedError

    @property
    def states_kl_weight(self) -> bool:
        """True if the class defines `kl_weight`."""
        return type(self).kl_weight is not Objective.kl_weight

    def auxiliary_optimizer(self) -> torch.optim.Optimizer | None:
        """Return the optimiser of the objective's own parameters, or None where it has none."""
        return None
