"""The Gaussian likelihood of real data, with one variance for all pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.distributions import LOG_2PI
from vaebench.ranges import Positive


class Gaussian(nn.Module):
    """p(x|z) = N(x; g(z), std^2 I); `std` is fixed, or the start of one learned number.

    With std = sqrt(1/2), -log p is the squared error plus a constant (Zhao et al. 2017, section 4).
    A density, not a probability: its NLL may be negative, and depends on the unit of x.
    """

    kinds: ClassVar = frozenset({"unit", "real"})

    def __init__(self, shape: tuple[int, ...], *, std: Positive, learn_std: bool) -> None:
        super().__init__()
        self.parameter_shape = tuple(shape)
        self._dims = tuple(range(-len(shape), 0))
        self.log_std = nn.Parameter(torch.tensor(math.log(std)), requires_grad=learn_std)

    def log_prob(self, x: Tensor, mean: Tensor) -> Tensor:
        squared = (x - mean).square() * torch.exp(-2 * self.log_std)
        return -(0.5 * (squared + LOG_2PI) + self.log_std).sum(self._dims)

    def mean(self, mean: Tensor) -> Tensor:
        return mean

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return mean + self.log_std.exp() * noise
