"""Layers of PixelCNN++ (Salimans et al. 2017, arXiv 1701.05517) with a latent code z (Zhao et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vaebench.networks.layers import concat_elu
from vaebench.networks.shifted_conv import (
    ShiftedConv2d,
    ShiftedConvTranspose2d,
    Stream,
    down_shift,
    right_shift,
)
from vaebench.networks.weight_norm import WeightNorm

Maps = tuple[Tensor, Tensor]
"""Maps of the streams `down` and `down_right`, `[N, channels, H, W]` each. `down` sees the rows above a
pixel; `down_right` also sees the columns to the left in the pixel's row."""


class GatedResNet(nn.Module):
    """Gated residual network x + a sigmoid(b): (a, b) = second(c) + V z, c = first(x) + conv_1x1(beside).

    concat_elu is applied to the inputs of all convolutions, dropout to the input of the second one. `beside`
    are `num_beside` additional inputs: maps of the other stream, maps of a shortcut.
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
    """Two gated residual networks, one of each stream, with or without a shortcut from an earlier pair."""

    def __init__(self, channels: int, has_shortcut: bool, latent_dim: int, dropout: float) -> None:
        super().__init__()
        make = partial(GatedResNet, channels, latent_dim=latent_dim, dropout=dropout)
        self.down = make(num_beside=int(has_shortcut), stream="down")
        self.down_right = make(num_beside=1 + has_shortcut, stream="down_right")

    def forward(self, maps: Maps, shortcut: tuple[Tensor, ...], z: Tensor) -> Maps:
        down = self.down(maps[0], shortcut[:1], z)
        return down, self.down_right(maps[1], (down, *shortcut[1:]), z)


class FirstLayer(nn.Module):
    """Layer from data in [0, 1] to the maps of both streams; no output sees its own pixel.

    A map of ones is concatenated to x, so that the network can distinguish the image from
    the zero padding.
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
        """Scale data from [0, 1] to [-1, 1] and concatenate the map of ones."""
        return torch.cat([2 * x - 1, torch.ones_like(x[:, :1])], 1)


class Shrink(nn.Module):
    """Downsampling of both streams to half the height and width, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = ShiftedConv2d(channels, channels, "down", stride=2)
        self.down_right = ShiftedConv2d(channels, channels, "down_right", stride=2)

    def forward(self, maps: Maps) -> Maps:
        return self.down(maps[0]), self.down_right(maps[1])


class Grow(nn.Module):
    """Upsampling of both streams to `height` and `width`, each twice the input's or one less."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = ShiftedConvTranspose2d(channels, channels, "down")
        self.down_right = ShiftedConvTranspose2d(channels, channels, "down_right")

    def forward(self, maps: Maps, height: int, width: int) -> Maps:
        return self.down(maps[0], height, width), self.down_right(maps[1], height, width)
