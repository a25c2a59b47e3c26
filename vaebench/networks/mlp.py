"""Multi-layer perceptrons, as encoder and as decoder."""

from __future__ import annotations

import math

from torch import Tensor, nn

from vaebench.networks.dense_stack import Bridge, Init, Skip, Stack
from vaebench.networks.layers import Activation
from vaebench.ranges import Count, NonNegativeInt


class MLPEncoder(nn.Module):
    """Encoder of `depth` hidden layers of `width` units over flattened data; depth 0 only flattens them."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        depth: NonNegativeInt,
        width: Count,
        activation: Activation,
        skip: Skip,
        bridge: Bridge,
        init: Init,
    ) -> None:
        super().__init__()
        sizes = [math.prod(input_shape)] + [width] * depth
        self.hidden = Stack(sizes, activation=activation, skip=skip, bridge=bridge, init=init)
        self.out_features = self.hidden.out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1))


class MLPDecoder(nn.Module):
    """Decoder of `depth` hidden layers of `width` units and a linear output; depth 0 is an affine map."""

    is_autoregressive = False

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        depth: NonNegativeInt,
        width: Count,
        activation: Activation,
        skip: Skip,
        bridge: Bridge,
        init: Init,
    ) -> None:
        super().__init__()
        sizes = [latent_dim] + [width] * depth
        self.hidden = Stack(sizes, activation=activation, skip=skip, bridge=bridge, init=init)
        self.output = nn.Linear(self.hidden.out_features, math.prod(output_shape))
        self.output_shape = tuple(output_shape)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        return self.output(self.hidden(z)).unflatten(-1, self.output_shape)
