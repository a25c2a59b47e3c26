"""The mean-field Gaussian whose heads start as Skip-VAE's code has them."""

from __future__ import annotations

from vaebench.networks.layers import he_init_
from vaebench.posteriors.diagonal import DiagonalPosterior


class HeDiagonalPosterior(DiagonalPosterior):
    """As DiagonalPosterior, the weights of both heads starting with variance 2 / fan_in.

    That is larger than PyTorch's, by the square root of six: codes and their variances differ from datum to
    datum from the first step on. Source: github.com/yoonkim/skip-vae, whose CNNVAE starts so.
    """

    def __init__(
        self, in_features: int, latent_dim: int, *, logvar_range: tuple[float, float] | None
    ) -> None:
        super().__init__(in_features, latent_dim, logvar_range=logvar_range)
        he_init_(self)
