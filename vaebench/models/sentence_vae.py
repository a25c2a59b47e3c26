"""SentenceVAE: a LatentModel with the initialisation of Kim et al. (2018)."""

from __future__ import annotations

from vaebench.data.spec import DataSpec
from vaebench.models.latent import Factory, LatentModel
from vaebench.networks.layers import uniform_init_
from vaebench.ranges import Count, Positive


class SentenceVAE(LatentModel):
    """LatentModel with all parameters, also the posterior's, initialised in U(-init_range, init_range).

    Kim et al. (2018) and Dieng et al. (2019) use 0.1; null keeps the own initialisation of each part.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        name: str,
        latent_dim: Count,
        init_range: Positive | None,
        encoder: Factory,
        posterior: Factory,
        prior: Factory,
        decoder: Factory,
        likelihood: Factory,
    ) -> None:
        super().__init__(
            spec,
            name=name,
            latent_dim=latent_dim,
            encoder=encoder,
            posterior=posterior,
            prior=prior,
            decoder=decoder,
            likelihood=likelihood,
        )
        if init_range is not None:
            uniform_init_(self, init_range)
