"""The trunk of convolutions that halve an image, and the encoder with a head at each of its levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

KERNEL = 4
SLOPE = 0.1  # of the leaky ReLUs, below zero


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Over all but the channels, of features `[B, C]` and of images `[B, C, H, W]`; epsilon is TensorFlow's.

    A batch with one number a channel, which the last of an epoch may be, has no variance: it takes the
    running statistics, as evaluation does.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, eps=1e-3)

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if input.numel() > self.num_features:
            return super().forward(input)
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class UpConvolution(nn.Module):
    """The transpose of a padded 4x4 convolution that made `[B, before, ...]` of an image of `size`."""

    def __init__(self, before: int, after: int, stride: int, size: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        self.transposed = nn.ConvTranspose2d(before, after, KERNEL, stride, padding=1, bias=bias)
        self.height, self.width = size

    def forward(self, x: Tensor) -> Tensor:
        return self.transposed(x)[..., : self.height, : self.width]


def convolution(before: int, after: int, stride: int, bias: bool) -> list[nn.Module]:
    """4x4; of n pixels in a row it leaves ceil(n / stride), one more zero behind them than before."""
    return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(before, after, KERNEL, stride, padding=1, bias=bias)]


def hidden(*layer: nn.Module, after: int, batch_norm: bool, slope: float | None = SLOPE) -> nn.Sequential:
    """A layer with `after` channels, batch norm, and a leaky ReLU with that slope below zero unless null."""
    modules = [*layer, BatchNorm(after)] if batch_norm else [*layer]
    return nn.Sequential(*modules, *([] if slope is None else [nn.LeakyReLU(slope)]))


def start_small(network: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 in layers without a bias: those in front of a batch norm."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and module.bias is None:
            nn.init.normal_(module.weight, std=0.02)


def level_shapes(shape: tuple[int, int, int], channels: Sequence[int]) -> list[tuple[int, int, int]]:
    """(C, H, W) of a trunk's levels, each of half the size of the one before, rounded up."""
    _, height, width = shape
    shapes = []
    for after in channels:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        shapes.append((after, height, width))
    return shapes


class Trunk(nn.Module):
    """x `[B, C, H, W]` -> the maps of each level, which `level_shapes` has the shapes of.

    A level is a convolution of stride 2 and one of stride 1, the last level the former alone.
    """

    def __init__(self, shape: tuple[int, int, int], channels: Sequence[int], batch_norm: bool) -> None:
        super().__init__()
        before = shape[0]
        self.levels = nn.ModuleList()
        for number, after in enumerate(channels, start=1):
            units = [
                hidden(*convolution(before, after, 2, not batch_norm), after=after, batch_norm=batch_norm)
            ]
            if number < len(channels):
                again = convolution(after, after, 1, not batch_norm)
                units.append(hidden(*again, after=after, batch_norm=batch_norm))
            self.levels.append(nn.Sequential(*units))
            before = after

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class LadderEncoder(nn.Module):
    """x `[B, C, H, W]` -> mean and log standard deviation of the code, each `[B, sum(codes)]`.

    A trunk with two linear heads of `codes[l]` units at each level but the last, and behind a dense layer of
    `width` units at the last. Standard deviations are sigmoids: below 1 (Zhao et al.'s published code).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        channels: Sequence[int],
        width: int,
        codes: Sequence[int],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(shape, channels, batch_norm)
        features = [math.prod(maps) for maps in level_shapes(shape, channels)]
        dense = nn.Linear(features[-1], width, bias=not batch_norm)
        self.top = hidden(dense, after=width, batch_norm=batch_norm)
        heads = list(zip([*features[:-1], width], codes, strict=True))
        self.means = nn.ModuleList(nn.Linear(before, units) for before, units in heads)
        self.stds = nn.ModuleList(nn.Linear(before, units) for before, units in heads)
        start_small(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = [maps.flatten(1) for maps in self.trunk(x)]
        levels[-1] = self.top(levels[-1])

        def read(heads: Any) -> Tensor:
            return torch.cat([head(h) for head, h in zip(heads, levels, strict=True)], -1)

        return read(self.means), nn.functional.logsigmoid(read(self.stds))
