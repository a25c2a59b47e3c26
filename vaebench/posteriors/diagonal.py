"""The mean-field Gaussian posterior.

The contract that every posterior keeps: constructed with the number of encoder features and the latent size,
and called with the features and `bound` to give q(z|x). `bound` is the ELBO of this batch under any q, for
posteriors that refine themselves by ascending it; those that follow from the features alone ignore it, and
say so in `is_amortised`. `is_gaussian` says whether q(z|x) has `mean` and `logvar` and is a diagonal Gaussian
with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from vaebench.distributions import Distribution, Gaussian


class ELBOFunction(Protocol):
    """E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) of each datum of one batch, with the objective's beta."""

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What it depends on beside q: the weights of decoder, likelihood and prior that are trained."""
        ...

    @property
    def is_recurrent(self) -> bool:
        """The decoder has an LSTM or a GRU, whose cuDNN form has no second derivatives."""
        ...

    def __call__(self, q: Distribution, z: Tensor) -> Tensor:
        """`[B]`, in nats, from the draws `z [S, B, D]` of q; the KL in closed form where there is one."""
        ...


class DiagonalPosterior(nn.Module):
    """q(z|x) = N(mean(x), diag(exp(logvar(x)))), both heads linear in the encoder's features.

    `logvar_range` clamps the log variance (the VampPrior code's Hardtanh has [-6, 2]); null leaves it free.
    """

    is_gaussian = True
    is_amortised = True

    def __init__(
        self, in_features: int, latent_dim: int, *, logvar_range: tuple[float, float] | None
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(in_features, latent_dim)
        self.logvar = nn.Linear(in_features, latent_dim)
        self.logvar_range = logvar_range

    def forward(self, features: Tensor, bound: ELBOFunction) -> Gaussian:
        return self.gaussian(self.mean(features), self.logvar(features))

    def gaussian(self, mean: Tensor, logvar: Tensor) -> Gaussian:
        return Gaussian(mean, logvar if self.logvar_range is None else logvar.clamp(*self.logvar_range))
