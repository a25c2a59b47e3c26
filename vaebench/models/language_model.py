"""LanguageModel: p(x) without a code, what models of sentences are compared with."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.data.spec import DataSpec
from vaebench.distributions import Distribution, Gaussian, Posterior, StandardNormal
from vaebench.model import Model
from vaebench.models.latent import Factory
from vaebench.networks.layers import uniform_init_
from vaebench.ranges import Positive
from vaebench.terms import Terms
from vaebench.text import TextDecoder


class LanguageModel(Model):
    """p(x) of a decoder that sees the data, without a code: z, q(z|x) and p(z) have no units.

    The KL is zero, and the ELBO, like any importance-weighted bound, is log p(x) itself. Parameters start
    uniform in [-init_range, init_range]; null leaves the decoder as it starts by itself.
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
        self.likelihood = likelihood(spec.input_shape)
        self.decoder = decoder(0, self.likelihood.parameter_shape, spec.input_shape)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # moves with the model's device
        if init_range is not None:
            uniform_init_(self, init_range)

    @property
    def parameters_per_datum(self) -> int:
        return math.prod(self.likelihood.parameter_shape)

    @property
    def text_decoder(self) -> TextDecoder:
        return self.decoder

    def encode(self, x: Tensor) -> Gaussian:
        nothing = self.anchor.new_zeros(len(x), 0)
        return Gaussian(nothing, nothing)

    def prior_distribution(self) -> StandardNormal:
        return StandardNormal(0, like=self.anchor)

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "a language model needs the data"
        x = x.expand(len(z), *x.shape).flatten(0, 1)
        return self.decoder(z.flatten(0, 1), x).unflatten(0, z.shape[:2])

    def terms(
        self, x: Tensor, num_samples: int = 1, q: Posterior | None = None, p: Distribution | None = None
    ) -> Terms:
        q = self.encode(x) if q is None else q
        p = self.prior_distribution() if p is None else p
        z = q.rsample(num_samples)
        log_px = self.likelihood.log_prob(x, self.decode(z[:1], x))  # every draw of nothing is the same
        return Terms(log_px_z=log_px.expand(num_samples, -1), z=z, q=q, p=p)

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.decoder.sample(z, lambda parameters: self.likelihood.sample(parameters, generator))

    def decode_image(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample_x(z, generator)

    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        return self.decode_image(self.anchor.new_zeros(num, 0), generator)
