"""Mixture of two Gaussians in the plane: data with a known density."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.data.binarise import content_hash
from vaebench.data.spec import DataPaths, DataSpec, Split, Splits
from vaebench.ranges import Count, NonNegativeInt, Positive

QUADRATURE_NODES = 64  # per coordinate; 32 are accurate to 1e-8 nats at any distance of the components


class GaussianMixture:
    """Mixture p(x) = sum_c w_c N(x; mean_c, std^2 I) of two components; the label of x is its component.

    The weights are scaled to sum to one. Training, validation and test data are independent samples.
    """

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        means: tuple[tuple[float, float], tuple[float, float]],
        std: Positive,
        weights: tuple[Positive, Positive],
        num_train: Count,
        num_valid: Count,
        num_test: Count,
        seed: NonNegativeInt,
    ) -> None:
        self.means = torch.tensor(means, dtype=torch.float64)
        self.std = std
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        self.sizes = [num_train, num_valid, num_test]
        self.seed = seed
        self.spec = DataSpec(name=name, shape=(2,), kind="real", num_classes=2)

    def load(self) -> Splits:
        generator = torch.Generator().manual_seed(self.seed)
        total = sum(self.sizes)
        y = torch.multinomial(self.weights, total, replacement=True, generator=generator)
        noise = torch.randn(total, 2, generator=generator, dtype=torch.float64)
        x = (self.means[y] + self.std * noise).float()
        train, valid, test = map(Split, x.split(self.sizes), y.split(self.sizes))
        origin: dict[str, Any] = {
            "source": "a mixture of Gaussians",
            "seed": self.seed,
            "entropy_nats": self.entropy(),
            "test_hash": content_hash(test.x),
        }
        return Splits(train, valid, test, origin)

    def log_density(self, x: Tensor) -> Tensor:
        """Compute log p(x) of `x [..., 2]` in nats, float64, `[...]`."""
        squared = (x.double().unsqueeze(-2) - self.means).square().sum(-1) / self.std**2
        log_parts = -0.5 * squared - math.log(2 * math.pi * self.std**2)
        return torch.logsumexp(log_parts + self.weights.log(), -1)

    def entropy(self) -> float:
        """Compute -E log p(x) in nats by Gauss-Hermite quadrature; no model has a lower expected NLL."""
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES))
        weights = weights / weights.sum()
        noise = torch.cartesian_prod(nodes, nodes)
        inner = (
            self.log_density(self.means.unsqueeze(1) + self.std * noise)
            @ torch.outer(weights, weights).flatten()
        )
        return -float(self.weights @ inner)
