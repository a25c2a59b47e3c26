"""Evidence lower bound, with beta, KL warm-up and free bits."""

from __future__ import annotations

from torch import Tensor

from vaebench.model import Model
from vaebench.objectives.base import Objective
from vaebench.parts import Loss
from vaebench.ranges import Count, NonNegative
from vaebench.terms import Terms


class ELBO(Objective):
    """loss = -E_q[log p(x|z)] + beta_t KL(q(z|x) || p(z)), Kingma & Welling (2014), eq. 3.

    `beta` is the weight of the KL (Higgins et al. 2017); it rises linearly from 0 over `warmup_epochs`
    (Sønderby et al. 2016). `free_bits` is the KL in nats, averaged over the batch, below which the KL of a
    unit has no gradient (Kingma et al. 2016, eq. 15); without a closed-form KL it applies to the whole code.
    The KL is in closed form where there is one, otherwise the mean over the samples.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        model: Model,
        *,
        beta: NonNegative,
        warmup_epochs: NonNegative,
        free_bits: NonNegative,
        num_samples: Count,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.warmup_steps = round(warmup_epochs * steps_per_epoch)
        self.free_bits = free_bits
        self.num_samples = num_samples

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        reconstruction = terms.log_px_z.mean()
        kl = terms.kl_per_datum.mean()
        penalty = kl
        if self.free_bits > 0:
            per_unit = kl if terms.kl is None else terms.kl.mean(0)
            penalty = per_unit.clamp(min=self.free_bits).sum()
        return Loss(
            total=self.kl_weight(step) * penalty - reconstruction,
            parts={"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl},
        )

    def kl_weight(self, step: Tensor) -> Tensor | float:
        return self.beta * self.warmup(step)

    def warmup(self, step: Tensor) -> Tensor | float:
        """Return the factor on beta at `step`, from 0 to 1."""
        if self.warmup_steps == 0:
            return 1.0
        return (step / self.warmup_steps).clamp(max=1.0)
