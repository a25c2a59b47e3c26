"""Importance-weighted bound (IWAE)."""

from __future__ import annotations

from torch import Tensor

from vaebench.distributions import log_mean_exp
from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.objectives.base import Objective
from vaebench.parts import Loss
from vaebench.ranges import Count
from vaebench.terms import Terms


class IWAE(Objective):
    """loss = -E log 1/k sum_s p(x, z_s) / q(z_s|x), Burda et al. (2016, arXiv 1509.00519), eq. 8.

    k is `num_samples`; with k = 1 this is the ELBO with a Monte Carlo estimate of the KL.
    """

    def __init__(self, steps_per_epoch: int, model: Model, *, num_samples: Count) -> None:
        super().__init__()
        if not model.has_density:
            raise UserError(
                f"model.objective: IWAE needs p(x, z), but {type(model).__name__} has no likelihood; use the "
                f"objective of the model family."
            )
        self.num_samples = num_samples

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        bound = log_mean_exp(terms.log_w, 0).mean()
        reconstruction = terms.log_px_z.mean()
        kl = terms.kl_per_datum.mean()
        parts = {"bound": bound, "elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return Loss(total=-bound, parts=parts)

    def kl_weight(self, step: Tensor) -> float:
        return 1.0
