"""Cached sampling from a gated PixelCNN: its vertical stack row by row, its horizontal one pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vaebench.networks.raster import RowCache, as_matrix

if TYPE_CHECKING:
    from vaebench.networks.gated_pixelcnn import GatedLayer, GatedPixelCNNDecoder


class _CachedLayer:
    """One layer's memory, and its weights as matrices.

    With sigmoid(b) = (1 + tanh(b / 2)) / 2 one tanh serves both halves of a gate: the 1/2 within is put into
    the weights before it, the 1/2 outside into those behind.
    """

    def __init__(self, layer: GatedLayer, z: Tensor, code: Tensor) -> None:
        num, _, _, width = code.shape
        channels, in_channels = layer.output.out_channels, layer.horizontal.in_channels
        self.layer = layer
        self.code = code
        self.v_bias, self.h_bias = layer.gate_biases(z)
        self.halves = torch.cat([z.new_ones(channels), z.new_full((channels,), 0.5)])
        self.kernel = layer.horizontal.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1) * self.halves
        weight, self.bias = as_matrix(layer.output)
        self.mix = 0.5 * weight
        if layer.residual is not None:
            residual, bias = as_matrix(layer.residual)
            self.mix, self.bias = torch.cat([residual, self.mix]), self.bias + bias
        self.v = RowCache(z, num, in_channels, width, reach=0, rows=layer.reach + 1)
        self.h = RowCache(z, num, in_channels, width, reach=layer.reach + layer.is_first, rows=0)
        self.given = z.new_zeros(num, width, 2 * channels)
        """What each pixel of the row gets from the rows above, from the biases and from z."""
        self.signal = z.new_zeros(num, 2 * channels)
        self.gated = z.new_zeros(num, channels)

    def begin_row(self, i: int) -> Tensor:
        """Take in row i's code and what comes from above; the vertical map, shifted, `[N, 2C, 1, W]`."""
        layer, above = self.layer, self.v.above
        shifted = layer.vertical(F.pad(above, (layer.reach, layer.reach, 0, 0)))
        if i == 0:  # there is nothing above, not even the bias
            shifted = torch.zeros_like(shifted)
        assert layer.horizontal.bias is not None
        signal = layer.downward(shifted) + self.h_bias + layer.horizontal.bias[:, None, None]
        if layer.is_first:  # nor is there to the left of its first column
            signal[..., 0] -= layer.horizontal.bias[:, None]
        self.given.copy_(signal.squeeze(2).transpose(1, 2) * self.halves)
        self.h.fill_last(self.code[:, :, i])
        return shifted

    def step(self, j: int, destination: Tensor) -> tuple[Tensor, ...]:
        """Operands of the products at column j: views that stay where they are for the whole image."""
        layer, channels = self.layer, self.gated.shape[1]
        window = self.h.window(j - layer.is_first, layer.reach + 1)
        gated = behind = self.gated
        if layer.residual is not None:  # gate's output goes right behind the input: one vector, one product
            gated, behind = self.h.column(j + 1, channels), self.h.window(j, 1, after=channels)
        tanh, sigmoid = self.signal.chunk(2, 1)
        before_gate = (self.given[:, j], window, self.kernel, self.signal)
        return (*before_gate, tanh, sigmoid, gated, self.bias, behind, self.mix, destination)


class GatedSampler:
    """The activations of a `GatedPixelCNNDecoder` at the codes `z [N, D]` while `x [N, C, H, W]` is drawn."""

    def __init__(self, decoder: GatedPixelCNNDecoder, z: Tensor, x: Tensor) -> None:
        self.x = x
        layers = [cast("GatedLayer", layer) for layer in decoder.layers]
        self.accumulates = layers[0].shift == "accumulate"
        *codes, self.last_code = decoder.maps_of(z)
        self.layers = [_CachedLayer(layer, z, code) for layer, code in zip(layers, codes, strict=True)]
        self.weight, self.bias = as_matrix(decoder.output)
        width = x.shape[3]
        self.last = RowCache(z, len(z), decoder.output.in_channels, width, reach=0, rows=0)
        inputs = [layer.h for layer in self.layers[1:]] + [self.last]
        self.steps = [
            [
                layer.step(j, after.column(j, layer.gated.shape[1]))
                for layer, after in zip(self.layers, inputs, strict=True)
            ]
            for j in range(width)
        ]

    def begin_row(self, i: int) -> None:
        """The vertical stack's part in row i, from the rows above it."""
        first = self.layers[0]
        if i > 0:
            first.v.push_row(torch.cat([self.x[:, :, i - 1], first.code[:, :, i - 1]], 1))
        self.last.fill_last(self.last_code[:, :, i])
        # What a layer hands on is its successor's row i - 1, which that needs now, or, shifted, its row i,
        # which that must not see before its own turn is over.
        row = i if self.accumulates else i - 1
        numbers = range(len(self.layers))
        for number in reversed(numbers) if self.accumulates else numbers:
            layer = self.layers[number]
            shifted = layer.begin_row(i)
            if number + 1 < len(self.layers) and row >= 0:
                after = self.layers[number + 1]
                a, b = (shifted + layer.v_bias).squeeze(2).chunk(2, 1)
                after.v.push_row(torch.cat([torch.tanh(a) * torch.sigmoid(b), after.code[:, :, row]], 1))

    def parameters_at(self, i: int, j: int) -> Tensor:
        """The likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        if j > 0:
            self.layers[0].h.column(j - 1, self.x.shape[1]).copy_(self.x[:, :, i, j - 1])
        for given, window, kernel, signal, tanh, sigmoid, gated, bias, behind, mix, after in self.steps[j]:
            torch.addmm(given, window, kernel, out=signal)
            signal.tanh_()
            torch.addcmul(tanh, tanh, sigmoid, out=gated)
            torch.addmm(bias, behind, mix, out=after)
        return torch.addmm(self.bias, self.last.window(j, 1), self.weight)[:, :, None, None]
