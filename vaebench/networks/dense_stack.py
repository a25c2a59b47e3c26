"""Stacks of dense layers: plain, with a skip around every layer, or with one long skip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import ACTIVATIONS, Activation, he_init_

Skip = Literal["none", "residual", "long"]
"""residual: h_l = f_l(h_{l-1}) + g(h_{l-1}) (SCVAE, eq. 11). long: h_L = f_L(h_{L-1}) + g(h_1) alone."""

Bridge = Literal["identity", "interp", "linear"]
"""What g is where the two widths differ (where they agree it is the identity): nothing, so that there is no
skip; linear interpolation upwards and average pooling downwards, without parameters; a learned matrix."""

Init = Literal["default", "he"]
"""PyTorch's, whose variance shrinks by six with every ReLU layer, or He et al. (2015), which keeps it."""


class Resample(nn.Module):
    """g without parameters: `[B, F]` features to another width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, h: Tensor) -> Tensor:
        if h.shape[-1] > self.width:
            return F.adaptive_avg_pool1d(h.unsqueeze(1), self.width).squeeze(1)
        return F.interpolate(h.unsqueeze(1), self.width, mode="linear", align_corners=True).squeeze(1)


class Stack(nn.Module):
    """f_l(h) = activation(W_l h + b_l) over the given sizes, skips added after the activation."""

    def __init__(
        self, sizes: Sequence[int], *, activation: Activation, skip: Skip, bridge: Bridge, init: Init
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()
        self.out_features = sizes[-1]
        self.bridges = nn.ModuleDict()
        """By the layer whose output they add to."""
        for layer, source in _sources(skip, len(self.layers)).items():
            before, after = sizes[source], sizes[layer + 1]
            if before == after:
                self.bridges[str(layer)] = nn.Identity()
            elif bridge != "identity":
                self.bridges[str(layer)] = (
                    Resample(after) if bridge == "interp" else nn.Linear(before, after, bias=False)
                )
        self.sources = _sources(skip, len(self.layers))
        if init == "he":
            he_init_(self.layers)

    def forward(self, h: Tensor) -> Tensor:
        outputs = [h]
        for number, layer in enumerate(self.layers):
            h = self.activation(layer(h))
            if str(number) in self.bridges:
                h = h + self.bridges[str(number)](outputs[self.sources[number]])
            outputs.append(h)
        return h


def _sources(skip: Skip, depth: int) -> dict[int, int]:
    """Layer -> whose output is added to its own; 0 is the input of the stack, 1 the first layer's output."""
    if skip == "residual":
        return {layer: layer for layer in range(depth)}
    if skip == "long" and depth > 2:
        return {depth - 1: 1}
    return {}
