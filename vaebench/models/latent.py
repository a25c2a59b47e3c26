"""LatentModel: the one class that joins encoder, posterior, prior, decoder and likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaebench.data.spec import DataSpec
from vaebench.distributions import Distribution, Posterior
from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.networks.weight_norm import WeightNorm, starting
from vaebench.ranges import Count
from vaebench.terms import Terms
from vaebench.text import TextDecoder

Factory = Callable[..., Any]
"""A part whose options are set and whose sizes are not yet known."""

# In an evaluation, where the pass through the decoder is kept to be differentiated:
REFINED_AT_ONCE = 100  # data at most, and
REFINED_NUMBERS = 2**25  # numbers that they are decoded to


class LatentModel(Model):
    """p(x|z) p(z) with q(z|x), from any parts that keep the contracts of their rooms."""

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
        self.spec = spec
        self.latent_dim = latent_dim
        self.likelihood = likelihood(spec.input_shape)
        self.encoder = encoder(spec.input_shape)
        self.posterior = posterior(self.encoder.out_features, latent_dim)
        self.prior = prior(latent_dim, spec.shape)
        if self.prior.needs_gaussian_posterior and not self.posterior.is_gaussian:
            raise UserError(
                f"model.prior: {type(self.prior).__name__} evaluates q(z|u) at any z, for which "
                f"{type(self.posterior).__name__} has no closed form; use model/posterior=diagonal or "
                f"model/prior=standard."
            )
        if self.prior.needs_gaussian_posterior and not self.posterior.is_amortised:
            raise UserError(
                f"model.prior: {type(self.prior).__name__} is made of q(z|u) at its pseudo-inputs, which "
                f"{type(self.posterior).__name__} would refine under the very prior that they make; use "
                f"model/posterior=diagonal or model/prior=standard."
            )
        self.decoder = decoder(latent_dim, self.likelihood.parameter_shape, spec.input_shape)
        if getattr(self.decoder, "_starts_from_data", False) and self.likelihood.kinds != {"binary"}:
            raise UserError(
                "model.decoder.init_from_data=true is for model/likelihood=bernoulli, whose parameters are "
                f"log odds, and those of {type(self.likelihood).__name__} are not; set it to false."
            )
        self._is_convolutional = any(isinstance(module, nn.Conv2d) for module in self.decoder.modules())

    @property
    def has_gaussian_posterior(self) -> bool:
        return self.posterior.is_gaussian

    @property
    def decodes_in_parallel(self) -> bool:
        return not self.decoder.is_autoregressive

    @property
    def parameters_per_datum(self) -> int:
        return math.prod(self.likelihood.parameter_shape)

    @property
    def text_decoder(self) -> TextDecoder | None:
        return None if self.spec.vocabulary is None else self.decoder

    @property
    def has_iterative_posterior(self) -> bool:
        return not self.posterior.is_amortised

    def encode(self, x: Tensor) -> Posterior:
        features = self.encoder(x)
        if self.training or not self.has_iterative_posterior:
            return self.posterior(features, BatchELBO(self, x))
        size = min(REFINED_AT_ONCE, max(1, REFINED_NUMBERS // self.parameters_per_datum))
        parts = [
            self.posterior(some, BatchELBO(self, data))
            for some, data in zip(features.split(size), x.split(size), strict=True)
        ]
        return parts[0].cat(parts)

    def prior_distribution(self) -> Distribution:
        return self.prior(self.encode)

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        if not self.decoder.is_autoregressive:
            x = None
        elif x is not None:
            x = x.expand(len(z), *x.shape).flatten(0, 1)
        with self._precision(z):
            parameters = self.decoder(z.flatten(0, 1), x)
        return parameters.to(z.dtype).unflatten(0, z.shape[:2])

    def _precision(self, z: Tensor) -> AbstractContextManager[Any]:
        reduced = self.training and self.convolution_dtype != torch.float32 and self._is_convolutional
        return torch.autocast(z.device.type, self.convolution_dtype) if reduced else nullcontext()

    def decode_mean(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        return self.likelihood.mean(self.decode(z, x))

    def terms(
        self, x: Tensor, num_samples: int = 1, q: Posterior | None = None, p: Distribution | None = None
    ) -> Terms:
        q = self.encode(x) if q is None else q
        p = self.prior_distribution() if p is None else p
        return self.terms_at(q.rsample(num_samples), x, q, p)

    def terms_at(self, z: Tensor, x: Tensor, q: Posterior, p: Distribution) -> Terms:
        """The same under given draws `z [S, B, D]` of q."""
        return Terms(log_px_z=self.likelihood.log_prob(x, self.decode(z, x)), z=z, q=q, p=p)

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        def pick(parameters: Tensor) -> Tensor:
            return self.likelihood.sample(parameters, generator)

        if self.decoder.is_autoregressive:
            return self.decoder.sample(z, pick)
        return pick(self.decoder(z, None))

    def decode_image(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.decoder.is_autoregressive:
            return self.sample_x(z, generator)
        return self.decode_mean(z.unsqueeze(0)).squeeze(0)

    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        return self.decode_image(self.prior_distribution().rsample(num, generator), generator)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode_image(self.encode(x).mean)

    @torch.no_grad()
    def init_from_data(self, x: Tensor) -> None:
        if hasattr(self.decoder, "init_from_data"):
            self.decoder.init_from_data(x)
        if layers := [module for module in self.modules() if isinstance(module, WeightNorm)]:
            z = self.encode(x).rsample(1)
            with starting(layers):
                self.decode(z, x)


@dataclass(frozen=True)
class BatchELBO:
    """`posteriors.diagonal.ELBOFunction` of a model and a batch `x [B, *shape]`."""

    model: LatentModel
    x: Tensor

    def __call__(self, q: Posterior, z: Tensor) -> Tensor:
        terms = self.model.terms_at(z, self.x, q, self._p)
        kl_weight = self.model.kl_weight if self.model.training else 1.0
        return terms.log_px_z.mean(0) - kl_weight * terms.kl_per_datum

    @cached_property
    def _p(self) -> Distribution:
        return self.model.prior_distribution()

    @property
    def parameters(self) -> list[Tensor]:
        parts = (self.model.decoder, self.model.likelihood, self.model.prior)
        return [weight for part in parts for weight in part.parameters() if weight.requires_grad]

    @property
    def is_recurrent(self) -> bool:
        return any(isinstance(module, nn.RNNBase) for module in self.model.decoder.modules())
