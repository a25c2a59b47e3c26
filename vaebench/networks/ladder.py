"""Trunk of convolutions that halve the resolution at each level, and the ladder encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

KERNEL = 4
SLOPE = 0.1  # of the leaky ReLUs, for negative inputs


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of features `[B, C]` or images `[B, C, H, W]`, with TensorFlow's epsilon.

    The variance of a batch with one number per channel is undefined; the last batch of an epoch may be such a
    batch. It is normalised with the running statistics, as in evaluation.
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
    """Transposed 4x4 convolution of maps `[B, before, ...]`, cropped to the height and width in `size`."""

    def __init__(self, before: int, after: int, stride: int, size: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        self.transposed = nn.ConvTranspose2d(before, after, KERNEL, stride, padding=1, bias=bias)
        self.height, self.width = size

    def forward(self, x: Tensor) -> Tensor:
        return self.transposed(x)[..., : self.height, : self.width]


def convolution(before: int, after: int, stride: int, bias: bool) -> list[nn.Module]:
    """Return a 4x4 convolution; n pixels in a row become ceil(n / stride).

    The right and the bottom are padded with one more zero than the left and the top.
    """
    return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(before, after, KERNEL, stride, padding=1, bias=bias)]


def hidden(*layer: nn.Module, after: int, batch_norm: bool, slope: float | None = SLOPE) -> nn.Sequential:
    """Return a layer with `after` channels, batch norm and a leaky ReLU of slope `slope`; None: no ReLU."""
    modules = [*layer, BatchNorm(after)] if batch_norm else [*layer]
    return nn.Sequential(*modules, *([] if slope is None else [nn.LeakyReLU(slope)]))


def start_small(network: nn.Module) -> None:
    """Initialise layers without a bias, which precede a batch norm, with normal weights of std 0.02."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and module.bias is None:
            nn.init.normal_(module.weight, std=0.02)


def level_shapes(shape: tuple[int, int, int], channels: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (C, H, W) of a trunk's levels; each halves height and width of the one before, rounded up."""
    _, height, width = shape
    shapes = []
    for after in channels:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        shapes.append((after, height, width))
    return shapes


class Trunk(nn.Module):
    """Convolutions from x `[B, C, H, W]` to the maps of each level; `level_shapes` gives their shapes.

    A level has a convolution of stride 2 and one of stride 1. The last level has no convolution of stride 1.
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
    """Encoder from x `[B, C, H, W]` to mean and log standard deviation of z, each `[B, sum(codes)]`.

    Each level l of the trunk has two linear heads of `codes[l]` units. At the last level a dense layer of
    `width` units precedes the heads. Standard deviations are sigmoids, thus below 1 (Zhao et al.'s published
    code).
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
