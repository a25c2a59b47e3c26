"""SentenceVAE: a LatentModel all of whose parameters start as those of Kim et al. do."""

from __future__ import annotations

from vaebench.data.spec import DataSpec
from vaebench.models.latent import Factory, LatentModel
from vaebench.networks.layers import uniform_init_
from vaebench.ranges import Count, Positive


class SentenceVAE(LatentModel):
    """A LatentModel whose parameters, those of the posterior too, start uniform in [-init_range, init_range].

    0.1 in Kim et al. (2018) and Dieng et al. (2019); null leaves each part as it starts by itself.
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
