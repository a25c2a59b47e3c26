"""Memory and products of causal layers that are alike, for drawing images pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def fits_numpy(z: Tensor) -> bool:
    """Whether to compute pixels in NumPy: for one image on the CPU calls are the cost, a third of torch's."""
    return len(z) == 1 and z.device.type == "cpu"


def operand(memory: Tensor) -> Any:
    """Memory `[N, ...]` as a pixel's products take it: in NumPy an array on it, without the image's axis."""
    return memory[0].numpy() if fits_numpy(memory) else memory


def tanh_(x: Tensor) -> Tensor:
    """tanh in place, on the CPU by NumPy's, which is several times as fast as torch's."""
    if x.device.type != "cpu":
        return x.tanh_()
    np.tanh(x.numpy(), out=x.numpy())
    return x


class LayerRows:
    """The inputs of `L` causal layers that are alike, while a row is drawn: rows above, and the row so far.

    A kernel has two parts: `above [L, O, C, rows, columns]`, with `bias [L, O]`, of the rows above the pixel,
    whose product is taken for all layers and the whole row at once, and `left [L, O', C, columns]`, of the
    pixel's own row up to its own column or, with `lag` 1, up to the one before.

    The row lies in memory column after column, each with its channels together, behind as many columns of
    zeros as a kernel reaches back: what it sees from a column is then a view, and a convolution one product.
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
        """What each pixel gets from elsewhere, `[L, N, W, O']`; its steps add what it gets from its row."""
        kernels: Any = left.permute(0, 3, 2, 1).flatten(1, 2).contiguous()
        self._kernels = kernels.numpy() if fits_numpy(z) else kernels
        self._givens, self._inputs = [operand(m) for m in self.given], [operand(m) for m in row]

    def push(self, row: Tensor) -> None:
        """A finished row `[L, N, W, C]` becomes the last of the rows above."""
        self._rows[:, :, :-1] = self._rows[:, :, 1:].clone()
        self._finished.copy_(row)

    def from_above(self) -> Tensor:
        """What each pixel of the row gets from the rows above, and the bias, `[L, N, W, O]`."""
        num, width = self._windows.shape[1:3]
        patches = self._windows.flatten(3).flatten(1, 2)
        return torch.baddbmm(self._bias, patches, self._above).unflatten(1, (num, width))

    def products(self, j: int) -> list[tuple[Any, Any, Any]]:
        """Each layer's given, inputs and kernel at column j, of which it makes given + inputs kernel.

        They lie where they do for the whole image.
        """
        stop = self._start + (j + 1 - self._lag) * self._channels
        start = stop - self._taps * self._channels
        return [
            (given[..., j, :], row[..., start:stop], kernel)
            for given, row, kernel in zip(self._givens, self._inputs, self._kernels, strict=True)
        ]

    def inputs(self, j: int, channels: int) -> list[Any]:
        """The first `channels` inputs of each layer at column j, to write to."""
        start = self._start + j * self._channels
        return [row[..., start : start + channels] for row in self._inputs]


def steps(groups: list[LayerRows], channels: int, output: Tensor) -> list[list[tuple[Any, ...]]]:
    """For each column, of each layer after the other: given, inputs, kernel, and where its maps go.

    That is the next layer's inputs, and for the last layer `output [N, P]`.
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
