"""Convolutional networks: strided encoders, and the decoder of the convolutional Fisher auto-encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vaebench.networks.dense_stack import Init
from vaebench.networks.layers import ACTIVATIONS, Activation, he_init_, image_shape
from vaebench.ranges import Count, NonNegativeInt

Nonlinearity = Literal[Activation, "gate"]
"""gate: the layer's output times the sigmoid of a second such layer (van den Oord et al. 2016)."""

BatchNorm = Literal["none", "hidden", "all"]
"""Layers with a batch norm after the nonlinearity: none; all but the last (hidden); all."""


class Gated(nn.Module):
    """Gated layer value(x) sigmoid(gate(x)); `make` constructs each of the two layers."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.value = make()
        self.gate = make()

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


def unit(make: Callable[[], nn.Module], nonlinearity: Nonlinearity) -> list[nn.Module]:
    """Return a layer and its nonlinearity."""
    return [Gated(make)] if nonlinearity == "gate" else [make(), ACTIVATIONS[nonlinearity]()]


def conv_unit(
    before: int, after: int, kernel: int, stride: int, nonlinearity: Nonlinearity, batch_norm: bool
) -> list[nn.Module]:
    """Return a convolution, its nonlinearity and batch norm; n pixels in a row become ceil(n / stride)."""
    # An even kernel has no centre: pad the right and the bottom with one more zero than the left and the top.
    modules: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1))] if kernel % 2 == 0 else []
    modules += unit(partial(nn.Conv2d, before, after, kernel, stride, (kernel - 1) // 2), nonlinearity)
    return [*modules, nn.BatchNorm2d(after)] if batch_norm else modules


class ConvEncoder(nn.Module):
    """Encoder of convolutions, each given as (channels, kernel, stride), with an optional dense layer.

    The dense layer has `width` units; null leaves it out. The defaults are the encoder of Zheng et al.'s
    PixelVAE: it maps 28 x 28 pixels to 6 x 7 x 7 features, with the batch norm after the ReLU and no batch
    norm after the last layer. Raises UserError if the data are not images.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        layers: list[tuple[Count, Count, Count]],
        activation: Nonlinearity,
        batch_norm: BatchNorm,
        width: Count | None,
    ) -> None:
        super().__init__()
        before, *size = image_shape(input_shape, "model/encoder=conv")
        modules: list[nn.Module] = []
        for number, (after, kernel, stride) in enumerate(layers, start=1):
            normalised = batch_norm == "all" or (batch_norm == "hidden" and number < len(layers))
            modules += conv_unit(before, after, kernel, stride, activation, normalised)
            before, size = after, [math.ceil(pixels / stride) for pixels in size]
        modules.append(nn.Flatten())
        self.out_features = before * math.prod(size)
        if width is not None:
            modules += unit(partial(nn.Linear, self.out_features, width), activation)
            self.out_features = width
        self.layers = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class GatedConvDecoder(nn.Module):
    """Decoder of two gated dense layers, from z to an image, and gated convolutions of that image.

    z -> `width` units -> C x H x W, the shape of the data -> `depth` convolutions of `channels` maps -> a 1x1
    convolution to the likelihood's parameters. The defaults are those of Zheng et al.'s code (2019, arXiv
    1807.03723). `init` applies to the dense layers only. Raises UserError if the data are not images.
    """

    is_autoregressive = False

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        width: Count,
        depth: NonNegativeInt,
        channels: Count,
        kernel: Count,
        batch_norm: bool,
        init: Init,
    ) -> None:
        super().__init__()
        maps, *_ = self.data_shape = image_shape(data_shape, "model/decoder=gated_conv")
        self.dense = nn.Sequential(
            Gated(partial(nn.Linear, latent_dim, width)),
            Gated(partial(nn.Linear, width, math.prod(data_shape))),
        )
        modules: list[nn.Module] = []
        for _ in range(depth):
            modules += conv_unit(maps, channels, kernel, 1, "gate", batch_norm)
            maps = channels
        self.convolutions = nn.Sequential(*modules)
        self.parameters_per_pixel = output_shape[:-2]
        self.output = nn.Conv2d(maps, math.prod(self.parameters_per_pixel), 1)
        if init == "he":
            he_init_(self.dense)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        h = self.convolutions(self.dense(z).unflatten(-1, self.data_shape))
        return self.output(h).unflatten(1, self.parameters_per_pixel)
