"""Standard normal prior.

The contract of a prior is `parts.PriorNetwork`. A prior is constructed with the latent size and the shape of
one example, and called with `encode` (x -> q(z|x)) to return p(z), once per training step and once per
evaluation. `encode` is for priors that are mixtures of posteriors; `needs_gaussian_posterior` says whether it
must return Gaussians. The optional `kinds` says which data the prior fits.
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
