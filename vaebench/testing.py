"""Toy models, data and contexts with known exact numbers, for tests of evaluators and extensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaebench import layout
from vaebench.data.spec import DataSpec, Split, Splits
from vaebench.distributions import Gaussian
from vaebench.evaluation.base import Context, Measurement
from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.likelihoods.gaussian import Gaussian as GaussianLikelihood
from vaebench.model import Model
from vaebench.models.latent import LatentModel
from vaebench.networks.mlp import MLPDecoder, MLPEncoder
from vaebench.parts import ELBOFunction, Evaluator
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.priors.standard import StandardPrior
from vaebench.seeding import seeded

Family = type[LatentModel]


def toy_spec(shape: tuple[int, ...], num_classes: int | None = None) -> DataSpec:
    return DataSpec(name="toy", shape=shape, kind="real", num_classes=num_classes)


PLAIN = {"skip": "none", "bridge": "identity", "init": "default"}


def latent_model(
    spec: DataSpec,
    latent_dim: int,
    likelihood: Callable[..., nn.Module] = Bernoulli,
    posterior: Callable[..., nn.Module] = DiagonalPosterior,
    depth: int = 0,
    family: Family = LatentModel,
) -> LatentModel:
    """Return a model of MLPs; depth 0 makes encoder and decoder affine."""
    mlp: dict[str, Any] = {"depth": depth, "width": 8, "activation": "tanh", **PLAIN}
    return family(
        spec,
        name="toy",
        latent_dim=latent_dim,
        encoder=partial(MLPEncoder, **mlp),
        posterior=partial(posterior, logvar_range=None),
        prior=StandardPrior,
        decoder=partial(MLPDecoder, **mlp),
        likelihood=likelihood,
    ).eval()


class LinearEncoder(nn.Module):
    """Encoder of one linear layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@torch.no_grad()
def set_affine(layer: nn.Linear, weight: Tensor | float, bias: Tensor | float) -> None:
    """Set weight and bias; a number fills the whole parameter."""
    layer.weight.copy_(torch.as_tensor(weight))
    layer.bias.copy_(torch.as_tensor(bias))


def identity_model(shape: tuple[int, ...], std: float = 1.0) -> LatentModel:
    """Return a model with q(z|x) = N(x, std^2 I): the codes are the data."""
    dim = math.prod(shape)
    model = latent_model(toy_spec(shape), dim)
    set_affine(model.posterior.mean, torch.eye(dim), 0.0)
    set_affine(model.posterior.logvar, 0.0, 2 * math.log(std))
    return model


@dataclass(frozen=True)
class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(Wz + b, std^2 I): probabilistic PCA, in float64.

    The columns of W are orthogonal, with lengths w_d. The exact posterior is then diagonal, of variance
    v_d = 1 / (1 + w_d^2 / std^2) and mean v_d W_d'(x - b) / std^2.
    """

    weight: Tensor
    bias: Tensor
    std: float

    @classmethod
    def make(cls, gains: Sequence[float], x_dim: int = 6, std: float = 0.6) -> LinearGaussian:
        """Return a model with random W, whose columns have the lengths w_d = `gains`, and random b."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(x_dim, len(gains) + 1, generator=generator, dtype=torch.float64)
        directions = torch.linalg.qr(noise).Q[:, : len(gains)]
        return cls(directions * torch.tensor(gains, dtype=torch.float64), noise[:, -1], std)

    @property
    def snr(self) -> Tensor:
        return self.weight.square().sum(0) / self.std**2

    @property
    def variance(self) -> Tensor:
        """Variance of the exact posterior, `[D]`."""
        return 1 / (1 + self.snr)

    @property
    def mutual_information(self) -> float:
        """I(x; z) = 1/2 log |WW' + std^2 I| / |std^2 I| = 1/2 sum_d log(1 + w_d^2 / std^2)."""
        return 0.5 * float(torch.log1p(self.snr).sum())

    def sample(self, num: int, seed: int = 0) -> Tensor:
        """Return x ~ p(x), in float32 as datasets are."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(num, self.weight.shape[1], generator=generator, dtype=torch.float64)
        noise = torch.randn(num, len(self.bias), generator=generator, dtype=torch.float64)
        return (z @ self.weight.T + self.bias + self.std * noise).float()

    def log_px(self, x: Tensor) -> Tensor:
        """Return log p(x) = log N(x; b, WW' + std^2 I), `[N]`."""
        covariance = self.weight @ self.weight.T + self.std**2 * torch.eye(
            len(self.bias), dtype=torch.float64
        )
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(x.double())

    def posterior(self, x: Tensor, shift: float = 0.0, log_ratio: float = 0.0) -> Gaussian:
        """Return the exact posterior, shifted by `shift` of its standard deviations.

        Its variances are multiplied by exp(log_ratio).
        """
        mean = (x.double() - self.bias) @ self.weight * self.variance / self.std**2
        return Gaussian(
            mean + shift * self.variance.sqrt(), (self.variance.log() + log_ratio).expand_as(mean)
        )

    def gap(self, shift: float, log_ratio: float) -> float:
        """Return KL(q || exact posterior) of that q: log p(x) - ELBO(x), the same for every x."""
        per_unit = 0.5 * (math.exp(log_ratio) - 1 - log_ratio + shift**2)
        return len(self.variance) * per_unit

    def relative_variance(self, shift: float, log_ratio: float) -> float:
        """Return Var[w] / E[w]^2 of the importance weights of that q.

        It is prod_d r / sqrt(2r - 1) exp(shift^2 / (2r - 1)) - 1 with r = exp(log_ratio).
        """
        r = math.exp(log_ratio)
        per_unit = r / math.sqrt(2 * r - 1) * math.exp(shift**2 / (2 * r - 1))
        return per_unit ** len(self.variance) - 1

    def model(
        self,
        shift: float = 0.0,
        log_ratio: float = 0.0,
        posterior: Callable[..., nn.Module] = DiagonalPosterior,
    ) -> LatentModel:
        """Return the VAE with this decoder and that posterior."""
        likelihood = partial(GaussianLikelihood, std=self.std, learn_std=False, mean="linear")
        shape = (len(self.bias),)
        model = latent_model(toy_spec(shape), self.weight.shape[1], likelihood, posterior)
        set_affine(model.decoder.output, self.weight, self.bias)
        projection = (self.weight * self.variance / self.std**2).T
        set_affine(model.posterior.mean, projection, shift * self.variance.sqrt() - projection @ self.bias)
        set_affine(model.posterior.logvar, 0.0, self.variance.log() + log_ratio)
        return model


@dataclass(frozen=True)
class Opaque:
    """Gaussian of another class: a posterior without a closed-form KL or pair densities."""

    inner: Gaussian

    @property
    def mean(self) -> Tensor:
        return self.inner.mean

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        return self.inner.rsample(num_samples, generator)

    def rsample_with_log_prob(self, num_samples: int) -> tuple[Tensor, None]:
        return self.rsample(num_samples), None

    def log_prob(self, z: Tensor) -> Tensor:
        return self.inner.log_prob(z)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: slice | Tensor) -> Opaque:
        return Opaque(self.inner[index])

    @staticmethod
    def cat(parts: Sequence[Opaque]) -> Opaque:
        return Opaque(Gaussian.cat([part.inner for part in parts]))


class OpaquePosterior(DiagonalPosterior):
    """Diagonal posterior whose distributions are `Opaque`."""

    def forward(self, features: Tensor, elbo: ELBOFunction) -> Opaque:  # type: ignore[override]
        return Opaque(super().forward(features, elbo))


def make_context(model: Model, test: Tensor | Split, directory: Path, **fields: Any) -> Context:
    """Return a context over `test`; unless `fields` has `splits`, every split is the test split."""
    split = test if isinstance(test, Split) else Split(test, None)
    known: dict[str, Any] = {
        "splits": Splits(split, split, split),
        "spec": toy_spec(tuple(split.x.shape[1:])),
        "seed": 0,
        "history": [],
    }
    return Context(model=model, directory=directory, **(known | fields))


def measure(evaluator: Evaluator, context: Context, seed: int = 0) -> dict[str, Measurement]:
    """Return the measurements of an evaluator by name, with the random numbers of `seed`."""
    with seeded(seed):
        measurements = list(evaluator.run(context))
    assert len({m.name for m in measurements}) == len(measurements)
    return {m.name: m for m in measurements}


def saved(context: Context, name: str) -> dict[str, np.ndarray]:
    """Return the arrays that an evaluator stored."""
    with np.load(context.directory / layout.ARRAYS / f"{name}.npz") as stored:
        return dict(stored)
