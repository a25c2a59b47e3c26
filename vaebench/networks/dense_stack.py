"""Stack of dense layers: plain, with a skip connection around every layer, or with one long skip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import ACTIVATIONS, Activation, he_init_

Skip = Literal["none", "residual", "long"]
"""residual: h_l = f_l(h_{l-1}) + g(h_{l-1}) in every layer (SCVAE, eq. 11). long: h_L = f_L(h_{L-1}) + g(h_1)
in the last layer only."""

Bridge = Literal["identity", "interp", "linear"]
"""The map g of a skip connection between layers of different width; for equal widths g is the identity.
identity: no skip connection. interp: linear interpolation to a larger width, average pooling to a smaller
one, without parameters. linear: a learned matrix."""

Init = Literal["default", "he"]
"""default: PyTorch's initialisation, with which the variance shrinks by a factor of six per ReLU layer. he:
He et al. (2015), which keeps the variance."""


class Resample(nn.Module):
    """Map of features `[B, F]` to another width, without parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, h: Tensor) -> Tensor:
        if h.shape[-1] > self.width:
            return F.adaptive_avg_pool1d(h.unsqueeze(1), self.width).squeeze(1)
        return F.interpolate(h.unsqueeze(1), self.width, mode="linear", align_corners=True).squeeze(1)


class Stack(nn.Module):
    """Dense layers f_l(h) = activation(W_l h + b_l); skip connections are added after the activation."""

    def __init__(
        self, sizes: Sequence[int], *, activation: Activation, skip: Skip, bridge: Bridge, init: Init
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()
        self.out_features = sizes[-1]
        self.bridges = nn.ModuleDict()
        """Maps g, by the number of the layer to whose output they are added."""
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
    """Return layer -> source, the activation that is added to the layer's output.

    Source 0 is the input of the stack, source l the output of the l-th layer.
    """
    if skip == "residual":
        return {layer: layer for layer in range(depth)}
    if skip == "long" and depth > 2:
        return {depth - 1: 1}
    return {}
