"""VampPrior: a mixture of posteriors at learned pseudo-inputs (Tomczak & Welling 2018, arXiv 1705.07120)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.distributions import Gaussian
from vaebench.ranges import Count, NonNegative, UnitInterval


@dataclass(frozen=True)
class Mixture:
    """Mixture 1/K sum_k N(mean_k, diag(exp(logvar_k))), components `[K, D]`."""

    components: Gaussian

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        mean = self.components.mean
        chosen = torch.randint(len(mean), (num_samples,), device=mean.device, generator=generator)
        return self.components[chosen].rsample(1, generator)[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z), `[...]`, of `z [..., D]`, in two matrix products, not K x D numbers a code."""
        pairs = self.components.log_prob_pairs(z.flatten(0, -2))
        log_density = torch.logsumexp(pairs, -1) - math.log(len(self.components))
        return log_density.unflatten(0, z.shape[:-1]).to(z.dtype)


class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z|u_k), eq. 9; pseudo-inputs u_k are learned and clamped to [0, 1].

    Their initial values are from N(init_mean, init_std^2), as in the authors' code. There is no closed-form
    KL: objectives and evaluators estimate it by Monte Carlo. In training, a batch-normalising encoder treats
    the pseudo-inputs as a batch of their own; its running statistics mix them with the data.
    """

    kinds: ClassVar = frozenset({"binary", "unit", "uint8"})  # data in [0, 1], as the pseudo-inputs are
    needs_gaussian_posterior = True  # for the density q(z|u) at any z

    def __init__(
        self,
        latent_dim: int,
        input_shape: tuple[int, ...],
        *,
        num_components: Count,
        init_mean: UnitInterval,
        init_std: NonNegative,
    ) -> None:
        super().__init__()
        noise = torch.randn(num_components, *input_shape)
        self.pseudo_inputs = nn.Parameter(init_mean + init_std * noise)

    def forward(self, encode: Callable[[Tensor], Gaussian]) -> Mixture:
        return Mixture(encode(self.pseudo_inputs.clamp(0, 1)))
