"""MLP decoder of Skip-VAE (Dieng et al. 2019, arXiv 1807.04863): the code enters every hidden layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vaebench.networks.dense_stack import Init
from vaebench.networks.layers import ACTIVATIONS, Activation, he_init_
from vaebench.ranges import Count


class SkipMLPDecoder(nn.Module):
    """Decoder h_1 = W z; h_{l+1} = activation(W_l h_l + U_l z); output W h.

    As in the authors' code, the first map is linear and the output layer has no skip connection. `skip` false
    gives their baseline: a plain decoder of the same depth.
    """

    is_autoregressive = False

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        depth: Count,
        width: Count,
        activation: Activation,
        skip: bool,
        init: Init,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(latent_dim, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.skips = nn.ModuleList(nn.Linear(latent_dim, width, bias=False) for _ in range(depth * skip))
        self.output = nn.Linear(width, math.prod(output_shape))
        self.activation = ACTIVATIONS[activation]()
        self.output_shape = tuple(output_shape)
        if init == "he":
            he_init_(self)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        h = self.first(z)
        entering = [skip(z) for skip in self.skips] or [torch.zeros_like(h)] * len(self.layers)
        for layer, code in zip(self.layers, entering, strict=True):
            h = self.activation(layer(h) + code)
        return self.output(h).unflatten(-1, self.output_shape)
