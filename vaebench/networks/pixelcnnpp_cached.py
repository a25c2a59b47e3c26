"""Convolutions and gated residual networks of PixelCNN++ with cached inputs, for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vaebench.networks.layers import concat_elu
from vaebench.networks.pixelcnnpp_layers import GatedResNet
from vaebench.networks.raster import RowCache
from vaebench.networks.shifted_conv import ShiftedConv2d


class RowConv:
    """Convolution of the stream `down`, a row at a time, with a cache of the input's row above."""

    def __init__(self, layer: ShiftedConv2d, num: int, width: int) -> None:
        conv: Any = layer.conv.layer
        self.weight, self.bias, self.stride = conv.weight, conv.bias, conv.stride
        self.sides = (*layer.padding[:2], 0, 0)
        self.above = self.weight.new_zeros(num, conv.in_channels, 1, width)

    def __call__(self, row: Tensor) -> Tensor:
        rows = torch.cat([self.above, row], 2)
        self.above = row
        return F.conv2d(F.pad(rows, self.sides), self.weight, self.bias, self.stride)


class RowResNet:
    """Gated residual network of the stream `down`, a row `[N, C, 1, W]` at a time."""

    def __init__(self, net: GatedResNet, z: Tensor, width: int) -> None:
        self.first, self.second = RowConv(net.first, len(z), width), RowConv(net.second, len(z), width)
        self.beside = net.beside
        self.code = net.code(z)[:, :, None, None]

    def __call__(self, x: Tensor, beside: Sequence[Tensor]) -> Tensor:
        c = self.first(concat_elu(x))
        if self.beside is not None:
            c = c + self.beside(torch.cat([concat_elu(maps) for maps in beside], 1))
        a, b = (self.second(concat_elu(c)) + self.code).chunk(2, 1)
        return torch.addcmul(x, a, torch.sigmoid(b))


class PixelConv:
    """2 x 2 convolution of the stream `down_right`; the terms of the row above are computed once per row."""

    def __init__(self, layer: ShiftedConv2d, source: RowCache) -> None:
        conv: Any = layer.conv.layer
        weight, self.bias = conv.weight, conv.bias
        self.stride = conv.stride[0]
        self.upper = weight[:, :, :1]
        self.kernel = weight[:, :, 1].permute(2, 1, 0).flatten(0, 1)
        self.source = source
        self.given = weight

    def begin_row(self, more: Tensor | float = 0.0) -> None:
        """Compute the terms of the row above; add `more [N, C, 1, W]` to the row's output."""
        above = F.conv2d(F.pad(self.source.above, (1, 0)), self.upper, self.bias, (1, self.stride))
        self.given = (above + more).squeeze(2).permute(2, 0, 1).contiguous()

    def at(self, j: int) -> Tensor:
        """Return column j of the output, `[N, C]`."""
        return torch.addmm(self.given[j], self.source.window(j * self.stride, 2), self.kernel)


class PixelResNet:
    """Gated residual network of the stream `down_right`, a pixel `[N, C]` at a time.

    The caches hold inputs of convolutions: `entering` has concat_elu of the network's input, `middle` that of
    c (see `GatedResNet`), `leaving` that of the network's output. `leaving` is None if no later network reads
    it. `shortcut` is the cache of an earlier network's maps, or None.
    """

    def __init__(
        self, net: GatedResNet, z: Tensor, entering: RowCache, shortcut: RowCache | None, middle: RowCache,
        leaving: RowCache | None,
    ) -> None:  # fmt: skip
        self.first, self.second = PixelConv(net.first, entering), PixelConv(net.second, middle)
        assert net.beside is not None
        beside, doubled = cast(Any, net.beside.layer), entering.channels
        self.of_rows, self.bias = beside.weight[:, :doubled], beside.bias
        self.of_shortcut = beside.weight[:, doubled:, 0, 0].T
        self.code = net.code(z)[:, :, None, None]
        self.shortcut, self.middle, self.leaving = shortcut, middle, leaving

    def begin_row(self, row: Tensor) -> None:
        """Compute the terms of the row above, and those of `row [N, C, 1, W]` of the other stream."""
        self.first.begin_row(F.conv2d(concat_elu(row), self.of_rows, self.bias))
        self.second.begin_row(self.code)

    def at(self, j: int, x: Tensor) -> Tensor:
        c = self.first.at(j)
        if self.shortcut is not None:
            c.addmm_(self.shortcut.window(j, 1), self.of_shortcut)
        write(self.middle, j, c)
        a, b = self.second.at(j).chunk(2, 1)
        x = torch.addcmul(x, a, torch.sigmoid(b))
        if self.leaving is not None:
            write(self.leaving, j, x)
        return x


def write(cache: RowCache, j: int, x: Tensor) -> None:
    """Write concat_elu(x) to column j of the cache."""
    cache.column(j, cache.channels).copy_(concat_elu(x))
