"""Cached sampling from a gated PixelCNN: vertical stack row by row, horizontal stack pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vaebench.networks.gated_layers import GatedLayer
from vaebench.networks.layer_rows import LayerRows, fits_numpy, operand, steps, tanh_
from vaebench.networks.raster import as_matrix


class _LayerGroup:
    """Caches and merged weights of `L` successive layers of equal shape, with C maps, at codes `z [N, D]`.

    The input of a layer at a pixel is mapped to 3C numbers: a and b of the gate, and the residual branch.
    Since sigmoid(b) = (1 + tanh(b / 2)) / 2, one tanh computes both halves of the gate. The 1/2 inside the
    tanh is merged into the weights before the gate, the 1/2 outside into the weights after it. The latter are
    `mixes [L, 3C, C]`; their inputs are tanh(a), tanh(a) tanh(b / 2) and the residual branch.
    """

    def __init__(self, layers: list[GatedLayer], z: Tensor, codes: list[Tensor]) -> None:
        channels, self.is_first = layers[0].output.out_channels, layers[0].is_first
        self.codes = torch.stack(codes).permute(0, 3, 1, 4, 2)
        """Maps of z, concatenated to the inputs, `[L, H, N, W, maps]`."""
        above, v_bias = _stacked(layer.vertical for layer in layers)
        left, left_bias = _stacked(layer.horizontal for layer in layers)
        downward, h_bias = _stacked(layer.downward for layer in layers)
        mix, residual_bias = _stacked(layer.output for layer in layers)
        residual = torch.zeros_like(left[:, :channels])
        if not self.is_first:
            weight, bias = _stacked(cast("nn.Conv2d", layer.residual) for layer in layers)
            residual[..., -1:] = weight
            residual_bias = residual_bias + bias
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
        left = torch.cat([left * self.halves[:, None, None, None], residual], 1).squeeze(3)
        self.rows = LayerRows(z, codes[0].shape[3], above, v_bias, left, lag=int(self.is_first))
        self.rows.given[..., 2 * channels :] = residual_bias[:, None, None]
        self.signal = self.rows.given[..., : 2 * channels]

    def push(self, row: Tensor, i: int) -> None:
        """Store row i of the vertical inputs, `[L, N, W, C]`, once it is complete."""
        self.rows.push(torch.cat([row, self.codes[:, i]], -1))

    def begin_row(self, i: int) -> Tensor:
        """Compute the terms of row i that depend on the rows above.

        Returns the output of the vertical gates, `[L, N, W, C]`.
        """
        shifted = self.rows.from_above()
        if i == 0:  # the shift puts a row of zeros here, without the bias
            shifted.zero_()
        torch.add(shifted @ self.downward, self.h_bias, out=self.signal)
        if self.is_first:  # the shift of the first layer puts a zero in column 0, without the bias
            self.signal[:, :, 0] -= self.left_bias[:, None]
        codes = self.codes[:, i]
        if codes.shape[-1]:
            self.rows.row[..., -codes.shape[-1] :] = codes
        a, b = tanh_((shifted + self.v_code) * self.halves).chunk(2, -1)
        return torch.addcmul(a, a, b) / 2


def _stacked(layers: Iterable[nn.Conv2d]) -> tuple[Tensor, Tensor]:
    """Stack the layers' weights `[L, O, C, kH, kW]` and biases `[L, O]`."""
    pairs = [(layer.weight, cast("Tensor", layer.bias)) for layer in layers]
    weights, biases = zip(*pairs, strict=True)
    return torch.stack(weights), torch.stack(biases)


class GatedSampler:
    """Activations of a gated PixelCNN at codes `z [N, D]`, updated while `x [N, C, H, W]` is sampled.

    `layers` are `GatedLayer`s, `output` is the 1 x 1 convolution after them. `maps` are the maps of z that
    are concatenated to the input of each layer and of the output, `[N, maps, H, W]`.
    """

    def __init__(
        self, layers: Iterable[nn.Module], maps: Sequence[Tensor], output: nn.Conv2d, z: Tensor, x: Tensor
    ) -> None:
        self.x = x
        gated = [cast("GatedLayer", layer) for layer in layers]
        *codes, last_code = maps
        # If shifts accumulate, a vertical row needs no other layer's output for the same row. Then all layers
        # after the first, whose input differs, are one group.
        self.accumulates = gated[0].shift == "accumulate"
        starts = [0, *range(1, len(gated), len(gated) if self.accumulates else 1)]
        self.groups = [
            _LayerGroup(gated[start:stop], z, codes[start:stop])
            for start, stop in zip(starts, [*starts[1:], None], strict=True)
        ]
        self.in_numpy = fits_numpy(z)
        channels = gated[0].output.out_channels
        mixes = [mix for group in self.groups for mix in group.mixes]
        # No gate lies between the last layer and the output, so that they are one matrix product.
        weight, bias = as_matrix(output)
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
        """Compute the vertical stack for row i, from the rows above it."""
        self.pixels, self.code_row = self.x[:, :, i].unbind(2), self.code_output[i].unbind(0)
        first, *others = self.groups
        if i > 0:
            first.push(self.x[:, :, i - 1].transpose(1, 2)[None], i - 1)
        row = first.begin_row(i)
        for group in others:
            if self.accumulates:  # `row` is row i of the next layer's input, needed from row i + 1 on
                group.push(torch.cat([row, group.begin_row(i)])[:-1], i)
            else:  # `row` is row i - 1 of the next layer's input, needed now
                if i > 0:
                    group.push(row, i - 1)
                row = group.begin_row(i)

    def parameters_at(self, i: int, j: int) -> Tensor:
        """Return the likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
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
