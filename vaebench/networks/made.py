"""Masked autoregressive dense network (MADE; Germain et al. 2015, arXiv 1502.03509)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import ACTIVATIONS, Activation
from vaebench.ranges import Count


class MaskedLinear(nn.Linear):
    """Dense layer whose weights are zero where `mask [out, in]` is False."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """Network that computes `num_outputs` numbers for each of `dim` units, from earlier units and a context.

    The order of the units is 0, 1, ..., D - 1, or D - 1, ..., 0 if `reverse` is set. There are `depth` hidden
    layers of `width` units. A hidden unit of degree k sees the first k units of the order; degrees are spread
    evenly over 0, ..., D - 1. The context enters the first layer. Hidden units of degree 0 see the context
    only, so that the outputs of the first unit depend on it.
    """

    def __init__(
        self,
        dim: int,
        context_dim: int,
        num_outputs: int,
        *,
        depth: Count,
        width: Count,
        activation: Activation,
        reverse: bool,
    ) -> None:
        super().__init__()
        self.order = tuple(reversed(range(dim))) if reverse else tuple(range(dim))
        """Units in autoregressive order."""
        position = torch.argsort(torch.tensor(self.order)) + 1
        hidden = torch.arange(width) * dim // width
        degrees = [position] + [hidden] * depth
        masks = [after.unsqueeze(1) >= before for before, after in pairwise(degrees)]
        self.hidden = nn.ModuleList(MaskedLinear(mask) for mask in masks)
        self.context = nn.Linear(context_dim, width, bias=False)
        self.output = MaskedLinear((position.unsqueeze(1) > hidden).repeat(num_outputs, 1))
        self.activation = ACTIVATIONS[activation]()
        self.num_outputs = num_outputs

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Return `num_outputs` tensors of the shape of `z [..., B, D]`; `context [B, F]` is mapped once."""
        first, *rest = self.hidden
        h = self.activation(first(z) + self.context(context))
        for layer in rest:
            h = self.activation(layer(h))
        return self.output(h).chunk(self.num_outputs, -1)
