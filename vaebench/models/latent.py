"""LatentModel: the one class that joins encoder, posterior, prior, decoder and likelihood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.data.spec import DataSpec
from vaebench.distributions import Distribution, Posterior
from vaebench.ranges import Count
from vaebench.terms import Terms

Factory = Callable[..., nn.Module]
"""A part whose options are set and whose sizes are not yet known."""


class LatentModel(nn.Module):
    """p(x, z) = p(x|z) p(z) with q(z|x). S samples, B data, D latent units.

    Every model says what it can do: `has_latent` (encode, terms' q and p) and `has_density` (log p(x|z) is
    one, so that bounds on log p(x) mean something). Evaluators read these, never a model's class.
    """

    has_latent: ClassVar = True
    has_density: ClassVar = True

    def __init__(
        self,
        spec: DataSpec,
        *,
        name: str,
        latent_dim: Count,
        encoder: Factory,
        posterior: Factory,
        prior: Factory,
        decoder: Factory,
        likelihood: Factory,
    ) -> None:
        super().__init__()
        self.name = name
        self.latent_dim = latent_dim
        self.likelihood = likelihood(spec.shape)
        self.encoder = encoder(spec.shape)
        self.posterior = posterior(self.encoder.out_features, latent_dim)
        self.prior = prior(latent_dim, spec.shape)
        self.decoder = decoder(latent_dim, self.likelihood.parameter_shape)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for a batch `[B, ...]`."""
        return self.posterior(self.encoder(x), lambda q: self.terms(x, q=q).log_w.mean())

    def prior_distribution(self) -> Distribution:
        """p(z); an evaluation calls this once."""
        return self.prior(self.encode)

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Likelihood parameters `[S, B, ...]` at `z [S, B, D]`; decoders that see the data need `x [B, ...]`."""
        if not self.decoder.sees_data:
            x = None
        elif x is not None:
            x = x.expand(len(z), *x.shape).flatten(0, 1)
        return self.decoder(z.flatten(0, 1), x).unflatten(0, z.shape[:2])

    def terms(
        self, x: Tensor, num_samples: int = 1, q: Posterior | None = None, p: Distribution | None = None
    ) -> Terms:
        """The log densities of a batch `[B, ...]` under draws from q(z|x); `q` and `p` spare their making."""
        q = self.encode(x) if q is None else q
        p = self.prior_distribution() if p is None else p
        z = q.rsample(num_samples)
        return Terms(log_px_z=self.likelihood.log_prob(x, self.decode(z, x)), z=z, q=q, p=p)

    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Means of p(x|z) at draws from the prior, `[num, ...]`."""
        z = self.prior_distribution().rsample(num, generator)
        return self.likelihood.mean(self.decode(z.unsqueeze(0))).squeeze(0)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x|z) at the posterior mean, `[B, ...]`."""
        return self.likelihood.mean(self.decode(self.encode(x).mean.unsqueeze(0), x)).squeeze(0)

    def named_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers with weights of encoder and decoder, in order, as `encoder.hidden.0`, ..."""
        for side in ("encoder", "decoder"):
            for name, module in getattr(self, side).named_modules():
                if isinstance(module, (nn.Linear, nn.Conv2d)):
                    yield f"{side}.{name}", module
