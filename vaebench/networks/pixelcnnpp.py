"""PixelCNN++ as a decoder (Salimans et al. 2017, arXiv 1701.05517; conditional as in Zhao et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import concat_elu, image_shape
from vaebench.networks.pixelcnnpp_sampling import PixelCNNPPSampler
from vaebench.networks.raster import PixelSampler, draw_in_raster_order
from vaebench.networks.shifted_conv import (
    ShiftedConv2d,
    ShiftedConvTranspose2d,
    Stream,
    down_shift,
    right_shift,
)
from vaebench.networks.weight_norm import WeightNorm
from vaebench.ranges import Count, UnitInterval

Maps = tuple[Tensor, Tensor]
"""Of the stream `down`, which sees the rows above a pixel, and of `down_right`, which sees those and the
columns to the left; `[N, channels, H, W]` each."""


class GatedResNet(nn.Module):
    """x + a sigmoid(b), where (a, b) is a convolution of c, and V z; c one of x and a 1 x 1 one of `beside`.

    All inputs of convolutions pass concat_elu, that of the second dropout as well. `num_beside` says how many
    maps stand beside x: those of the other stream and those of a shortcut.
    """

    def __init__(
        self, channels: int, num_beside: int, latent_dim: int, dropout: float, stream: Stream
    ) -> None:
        super().__init__()
        self.first = ShiftedConv2d(2 * channels, channels, stream)
        self.beside = WeightNorm(nn.Conv2d(2 * channels * num_beside, channels, 1)) if num_beside else None
        self.dropout = nn.Dropout(dropout)
        self.second = ShiftedConv2d(2 * channels, 2 * channels, stream, start_std=0.1)
        self.code = nn.Linear(latent_dim, 2 * channels, bias=False)
        nn.init.normal_(self.code.weight, std=0.05)

    def forward(self, x: Tensor, beside: Sequence[Tensor], z: Tensor) -> Tensor:
        c = self.first(concat_elu(x))
        if self.beside is not None:
            c = c + self.beside(torch.cat([concat_elu(maps) for maps in beside], 1))
        signal = self.second(self.dropout(concat_elu(c))) + self.code(z)[:, :, None, None]
        a, b = signal.chunk(2, 1)
        return x + a * torch.sigmoid(b)


class Pair(nn.Module):
    """A gated residual network of each stream, with or without a shortcut from an earlier pair."""

    def __init__(self, channels: int, has_shortcut: bool, latent_dim: int, dropout: float) -> None:
        super().__init__()
        make = partial(GatedResNet, channels, latent_dim=latent_dim, dropout=dropout)
        self.down = make(num_beside=int(has_shortcut), stream="down")
        self.down_right = make(num_beside=1 + has_shortcut, stream="down_right")

    def forward(self, maps: Maps, shortcut: tuple[Tensor, ...], z: Tensor) -> Maps:
        down = self.down(maps[0], shortcut[:1], z)
        return down, self.down_right(maps[1], (down, *shortcut[1:]), z)


class FirstLayer(nn.Module):
    """Data in [0, 1] to the maps of both streams, none of which sees its own pixel.

    A map of ones stands beside x, to tell the image from the zeros around it.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.above = ShiftedConv2d(in_channels + 1, channels, "down")
        self.row_above = ShiftedConv2d(in_channels + 1, channels, "down", kernel=(1, 3))
        self.left = ShiftedConv2d(in_channels + 1, channels, "down_right", kernel=(2, 1))

    def forward(self, x: Tensor) -> Maps:
        x = self.scaled(x)
        return down_shift(self.above(x)), down_shift(self.row_above(x)) + right_shift(self.left(x))

    @staticmethod
    def scaled(x: Tensor) -> Tensor:
        """Data in [0, 1] as data in [-1, 1], and the map of ones."""
        return torch.cat([2 * x - 1, torch.ones_like(x[:, :1])], 1)


class Shrink(nn.Module):
    """To half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = ShiftedConv2d(channels, channels, "down", stride=2)
        self.down_right = ShiftedConv2d(channels, channels, "down_right", stride=2)

    def forward(self, maps: Maps) -> Maps:
        return self.down(maps[0]), self.down_right(maps[1])


class Grow(nn.Module):
    """To twice the resolution, where `height` and `width` may be one less than that."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = ShiftedConvTranspose2d(channels, channels, "down")
        self.down_right = ShiftedConvTranspose2d(channels, channels, "down_right")

    def forward(self, maps: Maps, height: int, width: int) -> Maps:
        return self.down(maps[0], height, width), self.down_right(maps[1], height, width)


class PixelCNNPPDecoder(nn.Module):
    """p(x|z) = prod_i p(x_i | x_<i, z) of pixels x_i, whose channels are the likelihood's to order.

    `resnets` pairs of gated residual networks at each of `resolutions`, every one of half the pixels of that
    before, and back, with one pair more and a shortcut to each of the maps of the way there. z is a linear
    bias in every one of the networks. Weights are normalised, and start from data (networks.weight_norm).
    """

    is_autoregressive = True

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        channels: Count,
        resnets: Count,
        resolutions: Count,
        dropout: UnitInterval,
    ) -> None:
        super().__init__()
        in_channels, *_ = image_shape(data_shape, "model/decoder=pixelcnnpp")
        self.data_shape = tuple(data_shape)

        def stage(num: int, has_shortcut: bool) -> nn.ModuleList:
            return nn.ModuleList(Pair(channels, has_shortcut, latent_dim, dropout) for _ in range(num))

        self.first = FirstLayer(in_channels, channels)
        self.there = nn.ModuleList(stage(resnets, False) for _ in range(resolutions))
        self.back = nn.ModuleList(stage(resnets + (n > 0), True) for n in range(resolutions))
        self.shrink = nn.ModuleList(Shrink(channels) for _ in range(resolutions - 1))
        self.grow = nn.ModuleList(Grow(channels) for _ in range(resolutions - 1))
        self.output = WeightNorm(nn.Conv2d(channels, output_shape[0], 1))

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs the data"
        maps = self.first(x)
        shortcuts: list[Maps] = [maps]
        for number, stage in enumerate(cast("list[nn.ModuleList]", self.there)):
            if number > 0:
                maps = self.shrink[number - 1](maps)
                shortcuts.append(maps)
            for pair in stage:
                maps = pair(maps, (), z)
                shortcuts.append(maps)
        maps = shortcuts.pop()
        for number, stage in enumerate(cast("list[nn.ModuleList]", self.back)):
            if number > 0:
                maps = self.grow[number - 1](maps, *shortcuts[-1][0].shape[2:])
            for pair in stage:
                maps = pair(maps, shortcuts.pop(), z)
        return self.output(F.elu(maps[1]))

    @torch.no_grad()
    def sample(self, z: Tensor, pick: PixelSampler) -> Tensor:
        """x ~ p(x|z) at each `z [N, D]`, without dropout; every activation is computed once."""
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = PixelCNNPPSampler(self, z, x)
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)
