"""LanguageModel: p(x) without a code, the baseline for VAEs of sentences."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vaebench.data.spec import DataSpec
from vaebench.distributions import Gaussian, StandardNormal
from vaebench.model import Model
from vaebench.models.latent import Factory
from vaebench.networks.layers import uniform_init_
from vaebench.part_checks import require, require_decoder
from vaebench.parts import Likelihood
from vaebench.ranges import Positive


class LanguageModel(Model):
    """p(x) of an autoregressive decoder, without a code: z, q(z|x) and p(z) have no units.

    The KL is zero, and the ELBO, like any importance-weighted bound, equals log p(x). Parameters are
    initialised uniformly in [-init_range, init_range]; null keeps the decoder's own initialisation.
    """

    has_latent: ClassVar = False
    has_density: ClassVar = True
    has_exact_density: ClassVar = True
    latent_dim = 0

    anchor: Tensor

    def __init__(
        self, spec: DataSpec, *, name: str, init_range: Positive | None, decoder: Factory, likelihood: Factory
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = spec
        self.likelihood = require(likelihood(spec.input_shape), Likelihood, "model.likelihood")
        parameters = self.likelihood.parameter_shape
        self.decoder = require_decoder(decoder(0, parameters, spec.input_shape), "model.decoder")
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # moves with the model's device
        if init_range is not None:
            uniform_init_(self, init_range)

    def encode(self, x: Tensor, kl_weight: Tensor | float = 1.0) -> Gaussian:
        empty = self.anchor.new_zeros(len(x), 0)
        return Gaussian(empty, empty)

    def prior_distribution(self) -> StandardNormal:
        return StandardNormal(0, like=self.anchor)

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "a language model needs the data"
        x = x.expand(len(z), *x.shape).flatten(0, 1)
        return self.decoder(z.flatten(0, 1), x).unflatten(0, z.shape[:2])

    def log_px_z(self, z: Tensor, x: Tensor) -> Tensor:
        # All samples of a code without units are equal.
        return super().log_px_z(z[:1], x).expand(len(z), -1)
