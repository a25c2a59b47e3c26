"""Fisher auto-encoder: an ELBO with a penalty that holds the posterior's Fisher information at a target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vaebench.distributions import Gaussian
from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.objectives.elbo import ELBO
from vaebench.parts import Loss
from vaebench.ranges import Count, NonNegative
from vaebench.terms import Terms

Reading = Literal["mean", "trace", "per_dim_sum", "per_dim_mean"]
"""Definition of |J - F| for D units; the paper's equations have one unit. mean: J is the mean over data and
units, as in the paper's convolutional code. trace: J is the sum over the units of a datum. per_dim_sum,
per_dim_mean: the sum, or the mean, of |J_d - F| over units."""


class FAE(ELBO):
    """loss = -ELBO + weight |J(z|x) - F|, Zheng et al. (2019, arXiv 1807.03723), eq. 7 with lambda_x = 0.

    J_d = 1/sigma_d(x)^2 for a Gaussian posterior, in closed form (the published code samples it). Eqs. 9
    and 11 have the wrong sign of sigma^2; the KL here is the standard one.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        model: Model,
        *,
        fisher: NonNegative,
        weight: NonNegative,
        reading: Reading,
        beta: NonNegative,
        warmup_epochs: NonNegative,
        free_bits: NonNegative,
        num_samples: Count,
    ) -> None:
        if not model.has_gaussian_posterior:
            raise UserError(
                "model.objective: FAE needs a posterior whose Fisher information has a closed form; "
                "use model/posterior=diagonal."
            )
        super().__init__(
            steps_per_epoch,
            model,
            beta=beta,
            warmup_epochs=warmup_epochs,
            free_bits=free_bits,
            num_samples=num_samples,
        )
        self.fisher = fisher
        self.weight = weight
        self.reading = reading

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        elbo = super().forward(terms, step, model)
        assert isinstance(terms.q, Gaussian)
        information = torch.exp(-terms.q.logvar)  # [B, D]
        penalty = self.penalty(information)
        parts = elbo.parts | {"fisher": information.mean(), "penalty": penalty}
        return Loss(total=elbo.total + self.weight * penalty, parts=parts)

    def penalty(self, information: Tensor) -> Tensor:
        """Return |J - F| of the Fisher information `[B, D]`, as `reading` defines it, a scalar."""
        if self.reading == "mean":
            return (information.mean() - self.fisher).abs()
        if self.reading == "trace":
            return (information.sum(-1) - self.fisher).abs().mean()
        distance = (information - self.fisher).abs()
        return distance.sum(-1).mean() if self.reading == "per_dim_sum" else distance.mean()
