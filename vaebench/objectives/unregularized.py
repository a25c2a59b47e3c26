"""Reconstruction alone, without a KL; samples come from a Markov chain."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from vaebench.model import Model
from vaebench.objectives.base import Criterion, Objective
from vaebench.parts import Loss
from vaebench.ranges import Count
from vaebench.terms import Terms


class Unregularized(Objective):
    """loss = -E_q[log p(x|z)], Zhao et al. (2017, arXiv 1702.08658), eq. 5: R(q) = 0.

    It is the ELBO's loss at beta = 0, but also selects the best weights by the reconstruction, since the
    ELBO falls as the code learns more. Bounds on log p(x) and samples from the prior mean nothing for this
    model: samples come from the Markov chain of eq. 6 (`evaluation.samples.markov_chain`).
    """

    criterion: ClassVar[Criterion] = "reconstruction"

    def __init__(self, steps_per_epoch: int, model: Model, *, num_samples: Count) -> None:
        super().__init__()
        self.num_samples = num_samples

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        reconstruction = terms.log_px_z.mean()
        kl = terms.kl_per_datum.mean()
        parts = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return Loss(total=-reconstruction, parts=parts)

    def kl_weight(self, step: Tensor) -> float:
        return 0.0
