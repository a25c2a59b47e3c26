"""The contract between the training loop and an objective."""

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
        """Return the weight of KL(q(z|x) || p(z)) in the loss at `step`, which iterative posteriors use too.

        An objective that does not define it cannot train an iterative posterior (`states_kl_weight`).
        """
        raise NotImplementedError

    @property
    def states_kl_weight(self) -> bool:
        """Whether the class defines `kl_weight`."""
        return type(self).kl_weight is not Objective.kl_weight

    def auxiliary_optimizer(self) -> torch.optim.Optimizer | None:
        """Return the optimiser of the objective's own parameters, or None where it has none."""
        return None
