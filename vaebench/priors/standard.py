"""The standard normal prior.

The contract that every prior keeps: constructed with the latent size and the shape of one datum, and called
with `encode` (x -> q(z|x)) to give p(z), once per training step and once per evaluation. `encode` is there
for priors that are mixtures of posteriors; `needs_gaussian_posterior` says whether it must give Gaussians,
`kinds`, where it is there, which data it fits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaebench.distributions import Distribution, StandardNormal


class StandardPrior(nn.Module):
    """p(z) = N(0, I)."""

    needs_gaussian_posterior = False

    anchor: Tensor

    def __init__(self, latent_dim: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # moves with the model's device

    def forward(self, encode: Callable[[Tensor], Distribution]) -> StandardNormal:
        return StandardNormal(self.latent_dim, like=self.anchor)
