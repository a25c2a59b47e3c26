"""Caches and matrix products of causal layers of equal shape, for sampling images pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def fits_numpy(z: Tensor) -> bool:
    """Return true for one image on the CPU, where a NumPy call takes a third of the time of a torch call."""
    return len(z) == 1 and z.device.type == "cpu"


def operand(memory: Tensor) -> Any:
    """Return `memory [N, ...]` as the products of a pixel need it.

    That is the tensor itself, or for NumPy an array that shares its memory, without the axis of images.
    """
    return memory[0].numpy() if fits_numpy(memory) else memory


def tanh_(x: Tensor) -> Tensor:
    """Compute tanh in place; on the CPU with NumPy, which is several times as fast as torch."""
    if x.device.type != "cpu":
        return x.tanh_()
    np.tanh(x.numpy(), out=x.numpy())
    return x


class LayerRows:
    """Cached inputs of `L` causal layers of equal shape while a row is sampled: rows above, and row so far.

    A kernel has two parts. `above [L, O, C, rows, columns]`, with `bias [L, O]`, covers the rows above the
    pixel; its product is computed for all layers and the whole row at once. `left [L, O', C, columns]` covers
    the pixel's own row, up to its own column or, with `lag` 1, up to the column before.

    The row is stored column by column, with the channels of a column adjacent, after as many columns of zeros
    as a kernel extends to the left. The inputs of a kernel are then a view, and a convolution is one matrix
    product.
    """

    def __init__(self, z: Tensor, width: int, above: Tensor, bias: Tensor, left: Tensor, lag: int) -> None:
        layers, outputs, channels, self._taps = left.shape
        num, rows, reach = len(z), above.shape[3], above.shape[4] // 2
        self._above, self._bias = above.permute(0, 3, 4, 2, 1).flatten(1, 3), bias[:, None]
        self._rows = z.new_zeros(layers, num, rows, reach + width + reach, channels)
        self._finished = self._rows[:, :, -1, reach : reach + width]
        self._windows = self._rows.unfold(3, above.shape[4], 1).permute(0, 1, 3, 2, 5, 4)
        self._channels, self._lag = channels, lag
        self._start = (self._taps - 1 + lag) * channels
        row = z.new_zeros(layers, num, self._start + width * channels)
        self.row = row[:, :, self._start :].unflatten(2, (width, channels))
        """The row so far, `[L, N, W, C]`."""
        self.given = z.new_zeros(layers, num, width, outputs)
        """Terms of each pixel that do not depend on its row, `[L, N, W, O']`; the steps add those that do."""
        kernels: Any = left.permute(0, 3, 2, 1).flatten(1, 2).contiguous()
        self._kernels = kernels.numpy() if fits_numpy(z) else kernels
        self._givens, self._inputs = [operand(m) for m in self.given], [operand(m) for m in row]

    def push(self, row: Tensor) -> None:
        """Append a complete row `[L, N, W, C]` to the rows above, and drop the oldest."""
        self._rows[:, :, :-1] = self._rows[:, :, 1:].clone()
        self._finished.copy_(row)

    def from_above(self) -> Tensor:
        """Compute the sum of the bias and the terms from the rows above, for each pixel, `[L, N, W, O]`."""
        num, width = self._windows.shape[1:3]
        patches = self._windows.flatten(3).flatten(1, 2)
        return torch.baddbmm(self._bias, patches, self._above).unflatten(1, (num, width))

    def products(self, j: int) -> list[tuple[Any, Any, Any]]:
        """Return (given, inputs, kernel) of each layer at column j; the layer computes given + inputs kernel.

        These are views of memory that stays the same for the whole image.
        """
        stop = self._start + (j + 1 - self._lag) * self._channels
        start = stop - self._taps * self._channels
        return [
            (given[..., j, :], row[..., start:stop], kernel)
            for given, row, kernel in zip(self._givens, self._inputs, self._kernels, strict=True)
        ]

    def inputs(self, j: int, channels: int) -> list[Any]:
        """Return views of the first `channels` inputs of each layer at column j, to write to."""
        start = self._start + j * self._channels
        return [row[..., start : start + channels] for row in self._inputs]


def steps(groups: list[LayerRows], channels: int, output: Tensor) -> list[list[tuple[Any, ...]]]:
    """Return, for each column and each layer in order, (given, inputs, kernel, target).

    The layer writes its maps to `target`: the next layer's inputs, or `output [N, P]` for the last layer.
    """
    return [
        [
            (*product, after)
            for product, after in zip(
                [product for group in groups for product in group.products(j)],
                [place for group in groups for place in group.inputs(j, channels)][1:] + [operand(output)],
                strict=True,
            )
        ]
        for j in range(groups[0].row.shape[2])
    ]
