"""InfoVAE: an ELBO that trades its KL for a divergence between the aggregate posterior and the prior."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Le
from torch import Tensor

from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.objectives.base import Objective
from vaebench.parts import Loss
from vaebench.ranges import Count, NonNegative, Positive
from vaebench.terms import Terms

Kernel = Literal["rbf", "imq"]
"""rbf: exp(-|a - b|^2 / h). imq, the inverse multiquadric: h / (h + |a - b|^2), with heavier tails."""


class InfoVAE(Objective):
    """loss = -E_q[log p(x|z)] + (1 - alpha) KL(q(z|x) || p(z)) + (alpha + lambda - 1) MMD^2(q(z), p(z)).

    Zhao et al. (2017, arXiv 1706.02262), eq. 6, with lambda as `weight`; alpha may be negative. The samples
    of a batch represent q(z), and are compared with as many samples from the prior. With `num_samples` > 1
    each sample of z per datum gives its own MMD^2, since the samples of one datum are not independent. The
    kernel's h is `bandwidth` times D: under the prior, |a - b|^2 is 2 D on average. (The authors' RBF kernel
    has h = D^2, and includes each sample's distance to itself.)
    """

    def __init__(
        self,
        steps_per_epoch: int,
        model: Model,
        *,
        alpha: Annotated[float, Le(1)],
        weight: NonNegative,
        kernel: Kernel,
        bandwidth: Positive,
        num_samples: Count,
    ) -> None:
        if alpha + weight < 1:
            raise UserError(
                f"model.objective: with alpha = {alpha:g} and weight = {weight:g}, the MMD term would "
                f"be maximised; weight must be {1 - alpha:g} or more."
            )
        if not model.has_latent:
            raise UserError("model.objective: InfoVAE needs a model with a code; use model/objective=elbo.")
        super().__init__()
        self.alpha = alpha
        self.weight = weight
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.num_samples = num_samples

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        reconstruction = terms.log_px_z.mean()
        kl = terms.kl_per_datum.mean()
        num_samples, num_data, latent_dim = terms.z.shape
        prior = terms.p.rsample(num_samples * num_data).view_as(terms.z)
        mmd = squared_mmd(terms.z, prior, self.kernel, self.bandwidth * latent_dim).mean()
        return Loss(
            total=self.kl_weight(step) * kl + (self.alpha + self.weight - 1) * mmd - reconstruction,
            parts={"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl, "mmd": mmd},
        )

    def kl_weight(self, step: Tensor) -> float:
        return 1 - self.alpha


def squared_mmd(a: Tensor, b: Tensor, kernel: Kernel, scale: float) -> Tensor:
    """Return the unbiased MMD^2 between the distributions of `a [..., N, D]` and `b [..., N, D]`, `[...]`.

    Gretton et al. (2012), eq. 3, which may be negative; `scale` is h. With N = 1 there are no pairs, and the
    result is zero.
    """
    num = a.shape[-2]
    if num == 1:
        return a.new_zeros(a.shape[:-2])

    def similarity(u: Tensor, v: Tensor) -> Tensor:
        squared = u.square().sum(-1).unsqueeze(-1) + v.square().sum(-1).unsqueeze(-2) - 2 * u @ v.mT
        return torch.exp(-squared / scale) if kernel == "rbf" else scale / (scale + squared)

    def within(u: Tensor) -> Tensor:
        """Return the mean over pairs of different samples."""
        pairs = similarity(u, u)
        own = pairs.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (pairs.sum((-2, -1)) - own) / (num * (num - 1))

    return within(a) + within(b) - 2 * similarity(a, b).mean((-2, -1))
