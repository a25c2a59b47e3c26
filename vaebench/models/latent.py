"""LatentModel, which joins encoder, posterior, prior, decoder and likelihood."""

from __future__ import annotations

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
from vaebench.part_checks import require, require_decoder
from vaebench.parts import Encoder, Likelihood, PosteriorNetwork, PriorNetwork
from vaebench.ranges import Count
from vaebench.terms import Terms

Factory = Callable[..., Any]
"""Constructor of a part: its options are set, its sizes are not yet known."""

# Chunks of an iterative posterior in evaluation, which keeps the decoder's graph to differentiate it:
REFINED_AT_ONCE = 100  # examples at most
REFINED_NUMBERS = 2**25  # decoded numbers at most


class LatentModel(Model):
    """p(x|z) p(z) with q(z|x), from any parts that keep the contracts of `vaebench.parts`."""

    has_latent: ClassVar = True
    has_density: ClassVar = True

    def __init__(
        self,
        spec: DataSpec,
        convolution_dtype: torch.dtype = torch.float32,
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
        self.convolution_dtype = convolution_dtype
        """Precision of a convolutional decoder in training; evaluations use float32."""
        self.likelihood = require(likelihood(spec.input_shape), Likelihood, "model.likelihood")
        self.encoder = require(encoder(spec.input_shape), Encoder, "model.encoder")
        posterior_network = posterior(self.encoder.out_features, latent_dim)
        self.posterior = require(posterior_network, PosteriorNetwork, "model.posterior")
        self.prior = require(prior(latent_dim, spec.shape), PriorNetwork, "model.prior")
        if self.prior.needs_gaussian_posterior and not self.posterior.is_gaussian:
            raise UserError(
                f"model.prior: {type(self.prior).__name__} evaluates q(z|u) at any z, for which "
                f"{type(self.posterior).__name__} has no closed form; use model/posterior=diagonal or "
                f"model/prior=standard."
            )
        if self.prior.needs_gaussian_posterior and not self.posterior.is_amortised:
            raise UserError(
                f"model.prior: {type(self.prior).__name__} is defined by the encoder; the iterative "
                f"{type(self.posterior).__name__} would be optimised against a prior that depends on it; use "
                f"model/posterior=diagonal or model/prior=standard."
            )
        parameters = self.likelihood.parameter_shape
        self.decoder = require_decoder(decoder(latent_dim, parameters, spec.input_shape), "model.decoder")
        if getattr(self.decoder, "has_data_init", False) and self.likelihood.kinds != {"binary"}:
            raise UserError(
                "model.decoder.init_from_data=true needs model/likelihood=bernoulli, whose parameters are "
                f"log odds; those of {type(self.likelihood).__name__} are not. Set it to false."
            )
        self._is_convolutional = any(isinstance(module, nn.Conv2d) for module in self.decoder.modules())

    @property
    def has_gaussian_posterior(self) -> bool:
        return self.posterior.is_gaussian

    @property
    def decodes_in_parallel(self) -> bool:
        return not self.decoder.is_autoregressive

    @property
    def has_iterative_posterior(self) -> bool:
        return not self.posterior.is_amortised

    def encode(self, x: Tensor, kl_weight: Tensor | float = 1.0) -> Posterior:
        features = self.encoder(x)
        if self.training or not self.has_iterative_posterior:
            return self.posterior(features, BatchELBO(self, x, kl_weight))
        size = min(REFINED_AT_ONCE, max(1, REFINED_NUMBERS // self.parameters_per_datum))
        parts = [
            self.posterior(some, BatchELBO(self, data, kl_weight))
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
    """ELBO of a model on a batch `x [B, *shape]`; see `parts.ELBOFunction`."""

    model: LatentModel
    x: Tensor
    kl_weight: Tensor | float = 1.0

    def __call__(self, q: Posterior, z: Tensor) -> Tensor:
        terms = Terms(self.model.log_px_z(z, self.x), z, q, self._p)
        return terms.log_px_z.mean(0) - self.kl_weight * terms.kl_per_datum

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
