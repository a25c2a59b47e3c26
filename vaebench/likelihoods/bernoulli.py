"""Bernoulli likelihood of binary data."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.distributions import bernoulli_log_prob


class Bernoulli(nn.Module):
    """Likelihood p(x|z) = prod_d sigmoid(l_d)^x_d (1 - sigmoid(l_d))^(1 - x_d) with logits l, not clamped.

    log p(x|z) = sum_d x_d l_d - softplus(l_d).
    """

    kinds: ClassVar = frozenset({"binary"})

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.parameter_shape = tuple(shape)
        self._dims = tuple(range(-len(shape), 0))

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        return bernoulli_log_prob(x, logits).sum(self._dims)

    def mean(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.sigmoid(logits), generator=generator)
