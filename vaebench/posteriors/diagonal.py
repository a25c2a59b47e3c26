"""Mean-field Gaussian posterior."""

from __future__ import annotations

from torch import Tensor, nn

from vaebench.distributions import Gaussian
from vaebench.parts import ELBOFunction


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

    def forward(self, features: Tensor, elbo: ELBOFunction) -> Gaussian:
        return self.gaussian(self.mean(features), self.logvar(features))

    def gaussian(self, mean: Tensor, logvar: Tensor) -> Gaussian:
        return Gaussian(mean, logvar if self.logvar_range is None else logvar.clamp(*self.logvar_range))
