"""Multi-layer perceptrons, as encoder and as decoder.

The contracts that every encoder and decoder keeps:

- an encoder is constructed with the shape of one datum (of a sentence of L out of V tokens: (L, V)), maps x
  `[B, *shape]` to features `[B, F]`, and says F as `out_features`;
- a decoder is constructed with the latent size, the shape of the likelihood's parameters and the shape of one
  datum, maps `z [N, D]` to `[N, *output_shape]`, and says in `is_autoregressive` whether it also reads x
  (autoregressive decoders do, under teacher forcing; the others ignore it). One that sees the data also has
  `sample(z, pick)`, which draws x pixel by pixel: `pick` maps the parameters of one pixel, `[N, P, 1, 1]`,
  to a draw of it, `[N, C, 1, 1]`; of sentences, logits `[N, V]` to tokens `[N]`;
- those of sentences say so in `kinds`, as likelihoods do; to others, tokens would be numbers.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from vaebench.networks.dense_stack import Bridge, Init, Skip, Stack
from vaebench.networks.layers import Activation
from vaebench.ranges import Count, NonNegativeInt


class MLPEncoder(nn.Module):
    """`depth` hidden layers of `width` units over the flattened datum; depth 0 passes the datum through."""

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
    """`depth` hidden layers of `width` units and a linear output; depth 0 is an affine decoder."""

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
