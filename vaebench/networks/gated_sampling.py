"""Cached sampling from a gated PixelCNN: its vertical stack row by row, its horizontal one pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from vaebench.networks.raster import LayerRows, as_matrix, fits_numpy, steps, tanh_

if TYPE_CHECKING:
    from vaebench.networks.gated_pixelcnn import GatedLayer, GatedPixelCNNDecoder


class _Weights(NamedTuple):
    """A layer's weights as its step takes them, or those of `L` layers, stacked.

    With sigmoid(b) = (1 + tanh(b / 2)) / 2 one tanh serves both halves of a gate: the 1/2 within is put into
    the weights before it, the 1/2 outside into those behind.
    """

    above: Tensor
    """`[2C, C_in, rows, columns]`."""
    v_bias: Tensor
    v_code: Tensor
    """Of z, `[N or 1, 1, 2C]`."""
    downward: Tensor
    h_bias: Tensor
    """With what z adds, `[N or 1, 1, 2C]`."""
    left: Tensor
    """`[3C, C_in, columns]`: to a and b of the gate, and to what passes by it."""
    left_bias: Tensor
    """The part of `h_bias` that belongs to `left`, `[2C]`."""
    passing_bias: Tensor
    mix: Tensor
    """`[3C, C]`, from tanh(a), tanh(a) tanh(b / 2) and what passes by."""


def _weights(layer: GatedLayer, z: Tensor) -> _Weights:
    halves, channels = _halves(layer.output.weight), layer.output.out_channels
    assert layer.vertical.bias is not None
    assert layer.horizontal.bias is not None
    v_code, h_code = (code.flatten(1)[:, None] for code in layer.gate_biases(z))
    downward, bias = as_matrix(layer.downward)
    mix, passing_bias = as_matrix(layer.output)
    left = layer.horizontal.weight[:, :, 0]
    passing = torch.zeros_like(left[:channels])
    if layer.residual is not None:
        residual, residual_bias = as_matrix(layer.residual)
        passing[..., -1] = residual.T
        passing_bias = passing_bias + residual_bias
    return _Weights(
        above=layer.vertical.weight,
        v_bias=layer.vertical.bias,
        v_code=v_code,
        downward=downward * halves,
        h_bias=(bias + layer.horizontal.bias + h_code) * halves,
        left=torch.cat([left * halves[:, None, None], passing]),
        left_bias=layer.horizontal.bias * halves,
        passing_bias=passing_bias,
        mix=torch.cat([mix / 2, mix / 2, torch.eye(channels).to(mix)]),
    )


def _halves(weight: Tensor) -> Tensor:
    return torch.cat([weight.new_ones(len(weight)), weight.new_full((len(weight),), 0.5)])


class _LayerGroup:
    """`L` successive layers of C maps that are alike, at the codes `z [N, D]`."""

    def __init__(self, layers: list[GatedLayer], z: Tensor, codes: list[Tensor]) -> None:
        self.is_first = layers[0].is_first
        self.codes = torch.stack(codes).permute(0, 3, 1, 4, 2)
        """What is concatenated to the inputs, `[L, H, N, W, maps]`."""
        stacked = zip(*(_weights(layer, z) for layer in layers), strict=True)
        self.weights = weights = _Weights(*map(torch.stack, stacked))
        self.rows = LayerRows(
            z, codes[0].shape[3], weights.above, weights.v_bias, weights.left, int(self.is_first)
        )
        channels = weights.mix.shape[-1]
        self.rows.given[..., 2 * channels :] = weights.passing_bias[:, None, None]
        self.signal = self.rows.given[..., : 2 * channels]
        self.halves = _halves(layers[0].output.weight)

    def push(self, row: Tensor, i: int) -> None:
        """Row i of the vertical inputs, `[L, N, W, C]`, is finished."""
        self.rows.push(torch.cat([row, self.codes[:, i]], -1))

    def begin_row(self, i: int) -> Tensor:
        """Prepare row i from those above it; what the vertical gates make of them, `[L, N, W, C]`."""
        weights, codes = self.weights, self.codes[:, i]
        shifted = self.rows.from_above()
        if i == 0:  # there is nothing above, not even the bias
            shifted.zero_()
        torch.add(shifted @ weights.downward[:, None], weights.h_bias, out=self.signal)
        if self.is_first:  # nor is there to the left of its first column
            self.signal[:, :, 0] -= weights.left_bias[:, None]
        if codes.shape[-1]:
            self.rows.row[..., -codes.shape[-1] :] = codes
        a, b = tanh_((shifted + weights.v_code) * self.halves).chunk(2, -1)
        return torch.addcmul(a, a, b) / 2


class GatedSampler:
    """The activations of a `GatedPixelCNNDecoder` at the codes `z [N, D]` while `x [N, C, H, W]` is drawn."""

    def __init__(self, decoder: GatedPixelCNNDecoder, z: Tensor, x: Tensor) -> None:
        self.x = x
        layers = [cast("GatedLayer", layer) for layer in decoder.layers]
        *codes, last_code = decoder.maps_of(z)
        # Where shifts accumulate, no layer's row waits for another's: all behind the first, whose input
        # differs, are one group.
        self.accumulates = layers[0].shift == "accumulate"
        starts = [0, *range(1, len(layers), len(layers) if self.accumulates else 1)]
        self.groups = [
            _LayerGroup(layers[start:stop], z, codes[start:stop])
            for start, stop in zip(starts, [*starts[1:], None], strict=True)
        ]
        self.in_numpy = fits_numpy(z)
        channels = layers[0].output.out_channels
        mixes = [mix for group in self.groups for mix in group.weights.mix]
        # The last layer and the output, without a gate between, are one product.
        weight, bias = as_matrix(decoder.output)
        mixes[-1] = mixes[-1] @ weight[:channels]
        self.mixes: list[Any] = [mix.numpy() for mix in mixes] if self.in_numpy else mixes
        self.code_output = (last_code.permute(2, 3, 0, 1) @ weight[channels:] + bias)[..., None, None]
        self.output = z.new_zeros(len(z), len(bias), 1, 1)
        self.steps = steps([group.rows for group in self.groups], channels, self.output[..., 0, 0])
        signal = z.new_zeros(len(z), 3 * channels)
        self.signal: Any = signal[0].numpy() if self.in_numpy else signal
        self.entry = self.groups[0].rows.row[0, :, :, : x.shape[1]].unbind(1)

    def begin_row(self, i: int) -> None:
        """The vertical stack's part in row i, from the rows above it."""
        self.pixels, self.code_row = self.x[:, :, i].unbind(2), self.code_output[i].unbind(0)
        first, *others = self.groups
        if i > 0:
            first.push(self.x[:, :, i - 1].transpose(1, 2)[None], i - 1)
        row = first.begin_row(i)
        for group in others:
            if self.accumulates:  # shifted, it is the next layer's row i, after that one's turn
                group.push(torch.cat([row, group.begin_row(i)])[:-1], i)
            else:  # it is the next layer's row i - 1, before that one's turn
                if i > 0:
                    group.push(row, i - 1)
                row = group.begin_row(i)

    def parameters_at(self, i: int, j: int) -> Tensor:
        """The likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        if j > 0:
            self.entry[j - 1].copy_(self.pixels[j - 1])
        signal, channels = self.signal, self.signal.shape[-1] // 3
        gate, a, b = signal[..., : 2 * channels], signal[..., :channels], signal[..., channels : 2 * channels]
        if self.in_numpy:
            for (given, inputs, kernel, after), mix in zip(self.steps[j], self.mixes, strict=True):
                inputs.dot(kernel, signal)
                np.add(signal, given, signal)
                np.tanh(gate, gate)
                np.multiply(a, b, b)
                signal.dot(mix, after)
        else:
            for (given, inputs, kernel, after), mix in zip(self.steps[j], self.mixes, strict=True):
                torch.addmm(given, inputs, kernel, out=signal)
                tanh_(gate)
                b.mul_(a)
                torch.mm(signal, mix, out=after)
        return self.output + self.code_row[j]
