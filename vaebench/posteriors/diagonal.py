"""The mean-field Gaussian posterior.

The contract that every posterior keeps: constructed with the number of encoder features and the latent size,
and called with the features and `bound` to give q(z|x). `bound` maps any q for this batch to its mean ELBO,
for posteriors that refine themselves by ascending it; amortised ones ignore it. `is_gaussian` says whether
q(z|x) has `mean` and `logvar` and is a diagonal Gaussian with them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from vaebench.distributions import Distribution, Gaussian


class DiagonalPosterior(nn.Module):
    """q(z|x) = N(mean(x), diag(exp(logvar(x)))), both heads linear in the encoder's features.

    `logvar_range` clamps the log variance (the VampPrior code's Hardtanh has [-6, 2]); null leaves it free.
    """

    is_gaussian = True

    def __init__(
        self, in_features: int, latent_dim: int, *, logvar_range: tuple[float, float] | None
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(in_features, latent_dim)
        self.logvar = nn.Linear(in_features, latent_dim)
        self.logvar_range = logvar_range

    def forward(self, features: Tensor, bound: Callable[[Distribution], Tensor]) -> Gaussian:
        logvar = self.logvar(features)
        if self.logvar_range is not None:
            logvar = logvar.clamp(*self.logvar_range)
        return Gaussian(self.mean(features), logvar)
