"""Gaussian likelihood of real data, with one variance for all pixels."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vaebench.distributions import LOG_2PI
from vaebench.ranges import Positive


class Gaussian(nn.Module):
    """Likelihood p(x|z) = N(x; g(z), std^2 I); `std` is fixed, or the initial value if it is learned.

    `mean` selects g: linear is the decoder's output, sigmoid its sigmoid, for data in [0, 1]. With std =
    sqrt(1/2), -log p is the squared error plus a constant (Zhao et al. 2017, section 3). p(x|z) is a density,
    not a probability: the NLL may be negative, and depends on the unit of x.
    """

    kinds: ClassVar = frozenset({"unit", "real"})

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        std: Positive,
        learn_std: bool,
        mean: Literal["linear", "sigmoid"],
    ) -> None:
        super().__init__()
        self.parameter_shape = tuple(shape)
        self._dims = tuple(range(-len(shape), 0))
        self.is_squashed = mean == "sigmoid"
        self.log_std = nn.Parameter(torch.tensor(math.log(std)), requires_grad=learn_std)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        squared = (x - self.mean(output)).square() * torch.exp(-2 * self.log_std)
        return -(0.5 * (squared + LOG_2PI) + self.log_std).sum(self._dims)

    def mean(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output) if self.is_squashed else output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(output.shape, dtype=output.dtype, device=output.device, generator=generator)
        return self.mean(output) + self.log_std.exp() * noise
