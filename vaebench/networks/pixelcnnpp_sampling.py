"""Cached sampling from PixelCNN++: the stream `down` row by row, `down_right` pixel by pixel.

At half the resolution a row begins with every second row, and a pixel is computed with every second pixel of
such a row: what it sees lies before that pixel, and what sees it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vaebench.networks.layers import concat_elu
from vaebench.networks.raster import RowCache, as_matrix

if TYPE_CHECKING:
    from vaebench.networks.pixelcnnpp import GatedResNet, Pair, PixelCNNPPDecoder
    from vaebench.networks.shifted_conv import ShiftedConv2d


class _RowConv:
    """A convolution of the stream `down`: a row of its input, and its memory of the row above, to a row."""

    def __init__(self, layer: ShiftedConv2d, num: int, width: int) -> None:
        conv: Any = layer.conv.layer
        self.weight, self.bias, self.stride = conv.weight, conv.bias, conv.stride
        self.sides = (*layer.padding[:2], 0, 0)
        self.above = self.weight.new_zeros(num, conv.in_channels, 1, width)

    def __call__(self, row: Tensor) -> Tensor:
        rows = torch.cat([self.above, row], 2)
        self.above = row
        return F.conv2d(F.pad(rows, self.sides), self.weight, self.bias, self.stride)


class _RowResNet:
    """A gated residual network of the stream `down`, a row `[N, C, 1, W]` at a time."""

    def __init__(self, net: GatedResNet, z: Tensor, width: int) -> None:
        self.first, self.second = _RowConv(net.first, len(z), width), _RowConv(net.second, len(z), width)
        self.beside = net.beside
        self.code = net.code(z)[:, :, None, None]

    def __call__(self, x: Tensor, beside: Sequence[Tensor]) -> Tensor:
        c = self.first(concat_elu(x))
        if self.beside is not None:
            c = c + self.beside(torch.cat([concat_elu(maps) for maps in beside], 1))
        a, b = (self.second(concat_elu(c)) + self.code).chunk(2, 1)
        return torch.addcmul(x, a, torch.sigmoid(b))


class _PixelConv:
    """A 2 x 2 convolution of the stream `down_right`, its part in the row above computed once a row."""

    def __init__(self, layer: ShiftedConv2d, source: RowCache) -> None:
        conv: Any = layer.conv.layer
        weight, self.bias = conv.weight, conv.bias
        self.stride = conv.stride[0]
        self.upper = weight[:, :, :1]
        self.kernel = weight[:, :, 1].permute(2, 1, 0).flatten(0, 1)
        self.source = source
        self.given = weight

    def begin_row(self, more: Tensor | float = 0.0) -> None:
        """`more [N, C, 1, W]` is added to every pixel of the row."""
        above = F.conv2d(F.pad(self.source.above, (1, 0)), self.upper, self.bias, (1, self.stride))
        self.given = (above + more).squeeze(2).permute(2, 0, 1).contiguous()

    def at(self, j: int) -> Tensor:
        """Column j of its output, `[N, C]`."""
        return torch.addmm(self.given[j], self.source.window(j * self.stride, 2), self.kernel)


class _PixelResNet:
    """A gated residual network of the stream `down_right`, a pixel `[N, C]` at a time.

    Caches hold what convolutions see: `entering` concat_elu of its input, `leaving` that of its output, for
    whoever comes after it; None where nobody wants that.
    """

    def __init__(
        self, net: GatedResNet, z: Tensor, entering: RowCache, shortcut: RowCache | None, middle: RowCache,
        leaving: RowCache | None,
    ) -> None:  # fmt: skip
        self.first, self.second = _PixelConv(net.first, entering), _PixelConv(net.second, middle)
        assert net.beside is not None
        beside, doubled = cast(Any, net.beside.layer), entering.channels
        self.of_rows, self.bias = beside.weight[:, :doubled], beside.bias
        self.of_shortcut = beside.weight[:, doubled:, 0, 0].T
        self.code = net.code(z)[:, :, None, None]
        self.shortcut, self.middle, self.leaving = shortcut, middle, leaving

    def begin_row(self, row: Tensor) -> None:
        """`row [N, C, 1, W]` of the other stream stands beside this one's."""
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
    """concat_elu(x) into column j."""
    cache.column(j, cache.channels).copy_(concat_elu(x))


class _Below:
    """The way to half the resolution, what is there, and the way back."""

    def __init__(self, decoder: PixelCNNPPDecoder, z: Tensor, number: int, entering: RowCache) -> None:
        width = entering.above.shape[3]
        self.level = _Level(decoder, z, number, -(-width // 2))
        shrink: Any = decoder.shrink[number - 1]
        grow: Any = decoder.grow[len(decoder.grow) - number]
        self.shrink_row = _RowConv(shrink.down, len(z), width)
        self.shrink_pixel = _PixelConv(shrink.down_right, entering)
        self.grow_rows = partial(grow.down, height=2, width=width)
        transposed = grow.down_right.conv.layer
        self.kernel, self.bias = transposed.weight.permute(2, 3, 0, 1), transposed.bias
        self.entering = entering
        self.rows = z.new_zeros(0)
        """Of the stream `down` at this resolution, the two that a row below gives."""
        self.pixels = z.new_zeros(-(-width // 2), len(z), entering.channels)
        """Of the stream `down_right`, the last computed row below."""

    def begin_row(self, i: int, row: Tensor) -> Tensor:
        if i % 2 == 0:
            self.shrink_pixel.begin_row()
            self.rows = self.grow_rows(self.level.begin_row(i // 2, self.shrink_row(row)))
        else:
            self.shrink_row.above = row
        return self.rows[:, :, i % 2 : i % 2 + 1]

    def at(self, i: int, j: int, x: Tensor) -> Tensor:
        self.entering.column(j, x.shape[1]).copy_(x)
        if i % 2 == 0 and j % 2 == 0:
            self.pixels[j // 2] = self.level.at(i // 2, j // 2, self.shrink_pixel.at(j // 2))
        return torch.addmm(self.bias, self.pixels[j // 2], self.kernel[i % 2, j % 2])


class _Level:
    """The activations of one resolution, and `below` it those of the others."""

    def __init__(self, decoder: PixelCNNPPDecoder, z: Tensor, number: int, width: int) -> None:
        there, back = (cast(Any, stages) for stages in (decoder.there, decoder.back))
        there, back = there[number], back[len(back) - 1 - number]
        channels = decoder.output.layer.in_channels
        self.caches: list[RowCache] = []

        def cache(of: int = 2 * channels) -> RowCache:
            self.caches.append(RowCache(z, len(z), of, width, reach=1, rows=1))
            return self.caches[-1]

        def pair_of(
            pair: Pair, entering: RowCache, shortcut: RowCache | None, leaving: RowCache | None
        ) -> tuple[_RowResNet, _PixelResNet]:
            pixels = _PixelResNet(pair.down_right, z, entering, shortcut, cache(), leaving)
            return _RowResNet(pair.down, z, width), pixels

        seen = [cache() for _ in range(len(there) + 1)]
        self.entering = seen[0]
        self.there = [pair_of(pair, seen[n], None, seen[n + 1]) for n, pair in enumerate(there)]
        is_last = number + 1 == len(decoder.there)
        self.below = None if is_last else _Below(decoder, z, number + 1, cache(channels))
        self.returning = seen.pop() if is_last else cache()
        after = [cache() for _ in back[1:]]
        ways = zip(back, [self.returning, *after], reversed(seen), [*after, None], strict=True)
        self.back = [pair_of(*way) for way in ways]

    def begin_row(self, i: int, row: Tensor) -> Tensor:
        """Row i of the stream `down` as it comes to this resolution, `[N, C, 1, W]`, to that as it leaves."""
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
        """The same for pixel (i, j) of the stream `down_right`, `[N, C]`."""
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
    """The activations of a `PixelCNNPPDecoder` at the codes `z [N, D]` while `x [N, C, H, W]` is drawn."""

    def __init__(self, decoder: PixelCNNPPDecoder, z: Tensor, x: Tensor) -> None:
        first = decoder.first
        self.x, self.scaled = x, first.scaled
        self.level = _Level(decoder, z, 0, x.shape[3])
        above, row_above, left = (
            cast(Any, layer.conv.layer) for layer in (first.above, first.row_above, first.left)
        )
        self.above = partial(F.conv2d, weight=above.weight, bias=above.bias)
        self.row_above = partial(F.conv2d, weight=row_above.weight, bias=row_above.bias)
        self.left_above = partial(F.conv2d, weight=left.weight[:, :, :1], bias=left.bias)
        self.left = left.weight[:, :, 1, 0].T
        self.given = z.new_zeros(x.shape[3], len(z), len(left.weight))
        """What each pixel of the row gets in the first layer from the rows above."""
        self.weight, self.bias = as_matrix(cast(Any, decoder.output.layer))

    def begin_row(self, i: int) -> None:
        """What depends on the rows above i alone."""
        above = self.scaled(self.x[:, :, max(0, i - 2) : i])
        rows = F.pad(above, (1, 1, 2 - above.shape[2], 0))
        given = F.pad(self.left_above(rows[:, :, 1:, 1:-2]), (1, 0))
        row = torch.zeros_like(given)
        if i > 0:  # over the first row there is nothing, not even a bias
            given, row = given + self.row_above(rows[:, :, 1:]), self.above(rows)
        self.given = given.squeeze(2).permute(2, 0, 1).contiguous()
        self.level.begin_row(i, row)

    def parameters_at(self, i: int, j: int) -> Tensor:
        """The likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        x = self.given[j]
        if j > 0:
            x = torch.addmm(x, self.scaled(self.x[:, :, i : i + 1, j - 1 : j])[:, :, 0, 0], self.left)
        x = F.elu(self.level.at(i, j, x))
        return torch.addmm(self.bias, x, self.weight)[:, :, None, None]
