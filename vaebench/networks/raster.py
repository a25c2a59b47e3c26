"""Drawing images pixel by pixel, in raster order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PixelSampler = Callable[[Tensor], Tensor]
"""The parameters of one pixel, `[N, P, 1, 1]`, to a draw of it, `[N, C, 1, 1]`."""


def draw_in_raster_order(
    x: Tensor,
    pick: PixelSampler,
    begin_row: Callable[[int], None],
    parameters_at: Callable[[int, int], Tensor],
) -> Tensor:
    """Fill `x [N, C, H, W]` in place: rows downwards, each from left to right.

    `begin_row(i)` is called when the rows above i are drawn, `parameters_at(i, j)`, `[N, P, 1, 1]`, when all
    pixels before (i, j) are.
    """
    for i, row in enumerate(x.split(1, 2)):
        begin_row(i)
        for j, pixel in enumerate(row.split(1, 3)):
            pixel.copy_(pick(parameters_at(i, j)))
    return x


@torch.no_grad()
def generate_naively(decoder: Any, z: Tensor, data_shape: tuple[int, ...], pick: PixelSampler) -> Tensor:
    """x ~ p(x|z) by a full pass for every pixel: what the faster samplers are checked against."""
    x = z.new_zeros(len(z), *data_shape)
    return draw_in_raster_order(
        x, pick, lambda i: None, lambda i, j: decoder(z, x)[:, :, i : i + 1, j : j + 1]
    )


def as_matrix(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """The weight of a 1 x 1 convolution as a matrix `[C_in, C_out]`, and its bias."""
    assert layer.bias is not None
    return layer.weight[:, :, 0, 0].T, layer.bias


class RowCache:
    """The input of one causal layer while a row is drawn: the rows above, and the row so far.

    The row lies in memory column after column, each with its `channels` together, behind `reach` columns of
    zeros: what a kernel of one row sees from column j, `window(j)`, is then a view, and a convolution one
    matrix product.
    """

    def __init__(self, like: Tensor, num: int, channels: int, width: int, reach: int, rows: int) -> None:
        self.channels = channels
        self.reach = reach
        self.row = like.new_zeros(num, (reach + width) * channels)
        self.above = like.new_zeros(num, channels, rows, width)
        """The `rows` rows above the current one, oldest first."""

    def window(self, j: int, columns: int) -> Tensor:
        """The last `columns` columns up to and with j, as a view."""
        stop = (self.reach + j + 1) * self.channels
        return self.row[:, stop - columns * self.channels : stop]

    def column(self, j: int, channels: int) -> Tensor:
        """The first `channels` numbers of column j, to write to."""
        start = (self.reach + j) * self.channels
        return self.row[:, start : start + channels]

    def push_row(self, row: Tensor) -> None:
        """A finished row `[N, C, W]` becomes the last of the rows above."""
        self.above = torch.cat([self.above[:, :, 1:], row.unsqueeze(2)], 2)

    def finished_row(self) -> Tensor:
        """The row as drawn, `[N, C, W]`."""
        return self.row.unflatten(1, (-1, self.channels))[:, self.reach :].transpose(1, 2)
