"""Cached sampling from a gated PixelCNN: its vertical stack row by row, its horizontal one pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vaebench.networks.layer_rows import LayerRows, fits_numpy, operand, steps, tanh_
from vaebench.networks.raster import as_matrix

if TYPE_CHECKING:
    from vaebench.networks.gated_pixelcnn import GatedLayer, GatedPixelCNNDecoder


class _LayerGroup:
    """`L` successive layers of C maps that are alike, at the codes `z [N, D]`: memory, and joined weights.

    What enters a layer at a pixel makes 3C numbers: a and b of its gate, and what passes by the gate. With
    sigmoid(b) = (1 + tanh(b / 2)) / 2 one tanh serves both halves of the gate: the 1/2 within is put into the
    weights before it, the 1/2 outside into those behind. These are `mixes [L, 3C, C]`, from tanh(a),
    tanh(a) tanh(b / 2) and what passed by.
    """

    def __init__(self, layers: list[GatedLayer], z: Tensor, codes: list[Tensor]) -> None:
        channels, self.is_first = layers[0].output.out_channels, layers[0].is_first
        self.codes = torch.stack(codes).permute(0, 3, 1, 4, 2)
        """What is concatenated to the inputs, `[L, H, N, W, maps]`."""
        above, v_bias = _stacked(layer.vertical for layer in layers)
        left, left_bias = _stacked(layer.horizontal for layer in layers)
        downward, h_bias = _stacked(layer.downward for layer in layers)
        mix, passing_bias = _stacked(layer.output for layer in layers)
        passing = torch.zeros_like(left[:, :channels])
        if not self.is_first:
            residual, residual_bias = _stacked(cast("nn.Conv2d", layer.residual) for layer in layers)
            passing[..., -1:] = residual
            passing_bias = passing_bias + residual_bias
        v_code, h_code = (
            torch.stack(each).squeeze(-1).transpose(2, 3)
            for each in zip(*(layer.gate_biases(z) for layer in layers), strict=True)
        )
        self.v_code, self.halves = v_code, z.new_tensor([1.0, 0.5]).repeat_interleave(channels)
        self.left_bias = left_bias * self.halves
        self.h_bias = ((h_bias + left_bias)[:, None, None] + h_code) * self.halves
        self.downward = downward[:, None, :, :, 0, 0].transpose(2, 3) * self.halves
        mix = mix[..., 0, 0].transpose(1, 2) / 2
        self.mixes = torch.cat([mix, mix, torch.eye(channels).to(mix).expand_as(mix)], 1)
        left = torch.cat([left * self.halves[:, None, None, None], passing], 1).squeeze(3)
        self.rows = LayerRows(z, codes[0].shape[3], above, v_bias, left, lag=int(self.is_first))
        self.rows.given[..., 2 * channels :] = passing_bias[:, None, None]
        self.signal = self.rows.given[..., : 2 * channels]

    def push(self, row: Tensor, i: int) -> None:
        """Row i of the vertical inputs, `[L, N, W, C]`, is finished."""
        self.rows.push(torch.cat([row, self.codes[:, i]], -1))

    def begin_row(self, i: int) -> Tensor:
        """Prepare row i from those above it; what the vertical gates make of them, `[L, N, W, C]`."""
        shifted = self.rows.from_above()
        if i == 0:  # there is nothing above, not even the bias
            shifted.zero_()
        torch.add(shifted @ self.downward, self.h_bias, out=self.signal)
        if self.is_first:  # nor is there to the left of its first column
            self.signal[:, :, 0] -= self.left_bias[:, None]
        codes = self.codes[:, i]
        if codes.shape[-1]:
            self.rows.row[..., -codes.shape[-1] :] = codes
        a, b = tanh_((shifted + self.v_code) * self.halves).chunk(2, -1)
        return torch.addcmul(a, a, b) / 2


def _stacked(layers: Iterable[nn.Conv2d]) -> tuple[Tensor, Tensor]:
    """Weights `[L, O, C, kH, kW]` and biases `[L, O]`."""
    pairs = [(layer.weight, cast("Tensor", layer.bias)) for layer in layers]
    weights, biases = zip(*pairs, strict=True)
    return torch.stack(weights), torch.stack(biases)


class GatedSampler:
    """The activations of a `GatedPixelCNNDecoder` at the codes `z [N, D]` while `x [N, C, H, W]` is drawn."""

    def __init__(self, decoder: GatedPixelCNNDecoder, z: Tensor, x: Tensor) -> None:
        self.x = x
        layers = [cast("GatedLayer", layer) for layer in decoder.layers]
        *codes, last_code = decoder.maps_of(z)
        # Where shifts accumulate, no vertical row waits for another layer's: all layers behind the first,
        # whose input differs, are one group.
        self.accumulates = layers[0].shift == "accumulate"
        starts = [0, *range(1, len(layers), len(layers) if self.accumulates else 1)]
        self.groups = [
            _LayerGroup(layers[start:stop], z, codes[start:stop])
            for start, stop in zip(starts, [*starts[1:], None], strict=True)
        ]
        self.in_numpy = fits_numpy(z)
        channels = layers[0].output.out_channels
        mixes = [mix for group in self.groups for mix in group.mixes]
        # The last layer and the output, without a gate between, are one product.
        weight, bias = as_matrix(decoder.output)
        mixes[-1] = mixes[-1] @ weight[:channels]
        self.mixes: list[Any] = [mix.numpy() for mix in mixes] if self.in_numpy else mixes
        self.code_output = (last_code.permute(2, 3, 0, 1) @ weight[channels:] + bias)[..., None, None]
        self.output = z.new_zeros(len(z), len(bias), 1, 1)
        self.steps = steps([group.rows for group in self.groups], channels, self.output[..., 0, 0])
        signal = operand(z.new_zeros(len(z), 3 * channels))
        a, b = signal[..., :channels], signal[..., channels : 2 * channels]
        self.scratch = (signal, signal[..., : 2 * channels], a, b)
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
        signal, gate, a, b = self.scratch
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
