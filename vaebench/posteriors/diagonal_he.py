"""Mean-field Gaussian posterior with the initialisation of Skip-VAE's code."""

from __future__ import annotations

from vaebench.networks.layers import he_init_
from vaebench.posteriors.diagonal import DiagonalPosterior


class HeDiagonalPosterior(DiagonalPosterior):
    """DiagonalPosterior whose heads have initial weights of variance 2 / fan_in.

    Their standard deviation is sqrt(6) times PyTorch's default, so that codes and their variances differ
    between data from the first step on. Source: CNNVAE of github.com/yoonkim/skip-vae.
    """

    def __init__(
        self, in_features: int, latent_dim: int, *, logvar_range: tuple[float, float] | None
    ) -> None:
        super().__init__(in_features, latent_dim, logvar_range=logvar_range)
        he_init_(self)
