"""Cached sampling from PixelCNN++: stream `down` row by row, stream `down_right` pixel by pixel.

At half the resolution a row is computed at every second row, and a pixel at every second pixel of such a row.
Its inputs come before the current pixel in raster order, and only the current and later pixels depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.pixelcnnpp_cached import PixelConv, PixelResNet, RowConv, RowResNet, write
from vaebench.networks.pixelcnnpp_layers import FirstLayer, Grow, Pair, Shrink
from vaebench.networks.raster import RowCache, as_matrix
from vaebench.networks.weight_norm import WeightNorm


class _Stage(NamedTuple):
    """Modules of one resolution."""

    there: Sequence[Pair]
    back: Sequence[Pair]
    shrink: Shrink | None
    """Downsampling to this resolution; None at the first one."""
    grow: Grow | None
    """Upsampling from this resolution; None at the first one."""


class _Below:
    """Cached activations of all lower resolutions, and of the layers to and from the next one.

    `stages[0]` is the resolution that the layers lead to; `entering` is the cache of their input.
    """

    def __init__(self, stages: Sequence[_Stage], z: Tensor, entering: RowCache) -> None:
        width = entering.above.shape[3]
        self.level = _Level(stages, entering.channels, z, -(-width // 2))
        shrink, grow = stages[0].shrink, stages[0].grow
        assert shrink is not None
        assert grow is not None
        self.shrink_row = RowConv(shrink.down, len(z), width)
        self.shrink_pixel = PixelConv(shrink.down_right, entering)
        self.grow_rows = partial(grow.down, height=2, width=width)
        transposed: Any = grow.down_right.conv.layer
        self.kernel, self.bias = transposed.weight.permute(2, 3, 0, 1), transposed.bias
        self.entering = entering
        self.rows = z.new_zeros(0)
        """Upsampled rows of the stream `down`: the two that come from one row of the lower resolution."""
        self.pixels = z.new_zeros(-(-width // 2), len(z), entering.channels)
        """Last computed row of the stream `down_right` at the lower resolution."""

    def begin_row(self, i: int, row: Tensor) -> Tensor:
        """Map row i of the stream `down`, `[N, C, 1, W]`, to the upsampled row i."""
        if i % 2 == 0:
            self.shrink_pixel.begin_row()
            self.rows = self.grow_rows(self.level.begin_row(i // 2, self.shrink_row(row)))
        else:
            self.shrink_row.above = row
        return self.rows[:, :, i % 2 : i % 2 + 1]

    def at(self, i: int, j: int, x: Tensor) -> Tensor:
        """Map pixel (i, j) of the stream `down_right`, `[N, C]`, to the upsampled pixel (i, j)."""
        self.entering.column(j, x.shape[1]).copy_(x)
        if i % 2 == 0 and j % 2 == 0:
            self.pixels[j // 2] = self.level.at(i // 2, j // 2, self.shrink_pixel.at(j // 2))
        return torch.addmm(self.bias, self.pixels[j // 2], self.kernel[i % 2, j % 2])


class _Level:
    """Cached activations of the resolution `stages[0]`, and of the lower ones in `below`."""

    def __init__(self, stages: Sequence[_Stage], channels: int, z: Tensor, width: int) -> None:
        stage, *lower = stages
        self.caches: list[RowCache] = []

        def cache(num_channels: int = 2 * channels) -> RowCache:
            self.caches.append(RowCache(z, len(z), num_channels, width, reach=1, rows=1))
            return self.caches[-1]

        def pair_of(
            pair: Pair, entering: RowCache, shortcut: RowCache | None, leaving: RowCache | None
        ) -> tuple[RowResNet, PixelResNet]:
            pixels = PixelResNet(pair.down_right, z, entering, shortcut, cache(), leaving)
            return RowResNet(pair.down, z, width), pixels

        inputs = [cache() for _ in range(len(stage.there) + 1)]
        self.entering = inputs[0]
        self.there = [pair_of(pair, inputs[n], None, inputs[n + 1]) for n, pair in enumerate(stage.there)]
        self.below = _Below(lower, z, cache(channels)) if lower else None
        self.returning = cache() if lower else inputs.pop()
        after = [cache() for _ in stage.back[1:]]
        caches = zip(stage.back, [self.returning, *after], reversed(inputs), [*after, None], strict=True)
        self.back = [pair_of(*row) for row in caches]

    def begin_row(self, i: int, row: Tensor) -> Tensor:
        """Map row i of the stream `down`, `[N, C, 1, W]`, from the input to the output of this resolution."""
        for cache in self.caches:
            cache.push_row(cache.finished_row())
        rows = [row]
        for row_net, pixel_net in self.there:
            rows.append(row_net(rows[-1], ()))
            pixel_net.begin_row(rows[-1])
        row = rows.pop() if self.below is None else self.below.begin_row(i, rows[-1])
        for row_net, pixel_net in self.back:
            row = row_net(row, (rows.pop(),))
            pixel_net.begin_row(row)
        return row

    def at(self, i: int, j: int, x: Tensor) -> Tensor:
        """Map pixel (i, j) of the stream `down_right`, `[N, C]`, in the same way."""
        write(self.entering, j, x)
        for _, pixel_net in self.there:
            x = pixel_net.at(j, x)
        if self.below is not None:
            x = self.below.at(i, j, x)
            write(self.returning, j, x)
        for _, pixel_net in self.back:
            x = pixel_net.at(j, x)
        return x


class PixelCNNPPSampler:
    """Activations of PixelCNN++ at codes `z [N, D]`, updated while `x [N, C, H, W]` is sampled.

    `there` and `back` are lists of lists of `Pair`s, one per resolution, in the order of the forward pass.
    """

    def __init__(
        self, first: FirstLayer, there: nn.ModuleList, back: nn.ModuleList, shrink: nn.ModuleList,
        grow: nn.ModuleList, output: WeightNorm, z: Tensor, x: Tensor,
    ) -> None:  # fmt: skip
        self.x, self.scaled = x, first.scaled
        stages: Any = zip(there, reversed(back), [None, *shrink], [None, *reversed(grow)], strict=True)
        convolution: Any = output.layer
        self.level = _Level([_Stage(*stage) for stage in stages], convolution.in_channels, z, x.shape[3])
        above, row_above, left = (
            cast(Any, layer.conv.layer) for layer in (first.above, first.row_above, first.left)
        )
        self.above = partial(F.conv2d, weight=above.weight, bias=above.bias)
        self.row_above = partial(F.conv2d, weight=row_above.weight, bias=row_above.bias)
        self.left_above = partial(F.conv2d, weight=left.weight[:, :, :1], bias=left.bias)
        self.left = left.weight[:, :, 1, 0].T
        self.given = z.new_zeros(x.shape[3], len(z), len(left.weight))
        """Terms of the first layer that depend on the rows above, for each pixel of the row."""
        self.weight, self.bias = as_matrix(convolution)

    def begin_row(self, i: int) -> None:
        """Compute the terms of row i that depend on the rows above."""
        above = self.scaled(self.x[:, :, max(0, i - 2) : i])
        rows = F.pad(above, (1, 1, 2 - above.shape[2], 0))
        given = F.pad(self.left_above(rows[:, :, 1:, 1:-2]), (1, 0))
        row = torch.zeros_like(given)
        if i > 0:  # the shift puts zeros into row 0, without the bias
            given, row = given + self.row_above(rows[:, :, 1:]), self.above(rows)
        self.given = given.squeeze(2).permute(2, 0, 1).contiguous()
        self.level.begin_row(i, row)

    def parameters_at(self, i: int, j: int) -> Tensor:
        """Return the likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        x = self.given[j]
        if j > 0:
            x = torch.addmm(x, self.scaled(self.x[:, :, i : i + 1, j - 1 : j])[:, :, 0, 0], self.left)
        x = F.elu(self.level.at(i, j, x))
        return torch.addmm(self.bias, x, self.weight)[:, :, None, None]
