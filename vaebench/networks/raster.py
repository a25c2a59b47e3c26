"""Sampling of images pixel by pixel, in raster order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PixelSampler = Callable[[Tensor], Tensor]
"""Function from the parameters of one pixel, `[N, P, 1, 1]`, to a sample of the pixel, `[N, C, 1, 1]`."""


def draw_in_raster_order(
    x: Tensor,
    pick: PixelSampler,
    begin_row: Callable[[int], None],
    parameters_at: Callable[[int, int], Tensor],
) -> Tensor:
    """Sample `x [N, C, H, W]` in place: rows from top to bottom, each from left to right; return x.

    `begin_row(i)` is called once the rows above i are sampled. `parameters_at(i, j)` returns `[N, P, 1, 1]`
    and is called once all pixels before (i, j) are sampled.
    """
    for i, row in enumerate(x.split(1, 2)):
        begin_row(i)
        for j, pixel in enumerate(row.split(1, 3)):
            pixel.copy_(pick(parameters_at(i, j)))
    return x


@torch.no_grad()
def generate_naively(decoder: Any, z: Tensor, data_shape: tuple[int, ...], pick: PixelSampler) -> Tensor:
    """Sample x ~ p(x|z) with a full forward pass per pixel; tests compare the faster samplers with it."""
    x = z.new_zeros(len(z), *data_shape)
    return draw_in_raster_order(
        x, pick, lambda i: None, lambda i, j: decoder(z, x)[:, :, i : i + 1, j : j + 1]
    )


def as_matrix(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the weight of a 1 x 1 convolution as a matrix `[C_in, C_out]`, and its bias."""
    assert layer.bias is not None
    return layer.weight[:, :, 0, 0].T, layer.bias


class RowCache:
    """Cached input of one causal layer while a row is sampled: the rows above, and the row so far.

    The row is stored column by column, with the `channels` of a column adjacent, after `reach` columns of
    zeros. The inputs of a kernel of one row at column j, `window(j)`, are then a view, and a convolution is
    one matrix product.
    """

    def __init__(self, like: Tensor, num: int, channels: int, width: int, reach: int, rows: int) -> None:
        self.channels = channels
        self.reach = reach
        self.row = like.new_zeros(num, (reach + width) * channels)
        self.above = like.new_zeros(num, channels, rows, width)
        """The `rows` rows above the current one, from top to bottom."""

    def window(self, j: int, columns: int) -> Tensor:
        """Return a view of the last `columns` columns up to j, j included."""
        stop = (self.reach + j + 1) * self.channels
        return self.row[:, stop - columns * self.channels : stop]

    def column(self, j: int, channels: int) -> Tensor:
        """Return a view of the first `channels` numbers of column j, to write to."""
        start = (self.reach + j) * self.channels
        return self.row[:, start : start + channels]

    def push_row(self, row: Tensor) -> None:
        """Append a complete row `[N, C, W]` to the rows above, and drop the oldest."""
        self.above = torch.cat([self.above[:, :, 1:], row.unsqueeze(2)], 2)

    def finished_row(self) -> Tensor:
        """Return the current row, `[N, C, W]`."""
        return self.row.unflatten(1, (-1, self.channels))[:, self.reach :].transpose(1, 2)
