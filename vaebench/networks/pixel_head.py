"""Masked convolutions over another decoder's output, as in PixelVAE (Gulrajani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.errors import UserError
from vaebench.networks.layer_rows import LayerRows, fits_numpy, operand, steps
from vaebench.networks.layers import image_shape
from vaebench.networks.raster import PixelSampler, as_matrix, draw_in_raster_order
from vaebench.part_checks import require_decoder
from vaebench.ranges import Count

Factory = Callable[..., Any]


class MaskedConv2d(nn.Conv2d):
    """k x k convolution that sees earlier pixels in raster order; with mask B also the pixel itself.

    The mask is the same for all channels: it orders pixels, not channels.
    """

    mask: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, kind: Literal["A", "B"]
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.kind = kind
        centre = kernel_size // 2
        mask = torch.ones(kernel_size, kernel_size)
        mask[centre, centre + (kind == "B") :] = 0
        mask[centre + 1 :] = 0
        self.register_buffer("mask", mask.expand_as(self.weight).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, None)


class PixelHeadDecoder(nn.Module):
    """Autoregressive decoder p(x|z) = prod_i p(x_i | x_<i, g(z)) over any other decoder g, the `base`.

    The base's output of `maps` maps is concatenated to x. `depth` masked convolutions of `channels` maps
    follow, the first with mask A and the others with mask B, each with batch norm and ReLU, then a 1 x 1
    output, as in the VampPrior code's PixelCNN (SCVAE, section 6.3: "8 pixel layers, by concatenation"). The
    masks apply to the base's maps as well as to x.
    """

    is_autoregressive = True

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        base: Factory,
        maps: Count,
        depth: Count,
        channels: Count,
        kernel_size: Literal[3, 5, 7],
    ) -> None:
        super().__init__()
        in_channels, *size = image_shape(data_shape, "model/decoder=pixel_head")
        self.data_shape = tuple(data_shape)
        self.base = require_decoder(base(latent_dim, (maps, *size), data_shape), "model.decoder.base")
        if self.base.is_autoregressive:
            raise UserError(
                "model.decoder.base is autoregressive; model/decoder=pixel_head needs a base that is not; "
                "use model/decoder@model.decoder.base=mlp, residual_mlp or gated_conv."
            )
        self.reach = kernel_size // 2
        sizes = [in_channels + maps] + [channels] * depth
        self.layers = nn.ModuleList(
            MaskedConv2d(before, channels, kernel_size, "B" if number else "A")
            for number, before in enumerate(sizes[:-1])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(depth))
        self.output = nn.Conv2d(channels, output_shape[0], 1)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs x"
        h = torch.cat([self.base(z, None), x], 1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = F.relu(norm(layer(h)))
        return self.output(h)

    @torch.no_grad()
    def sample(self, z: Tensor, pick: PixelSampler) -> Tensor:
        """Sample x ~ p(x|z) for each code `z [N, D]`, with the running statistics of the batch norms.

        Every activation is computed once.
        """
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = _PixelHeadSampler(self, z, x)
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)


class _PixelHeadSampler:
    """Activations of a `PixelHeadDecoder` at codes `z [N, D]`, updated while `x [N, C, H, W]` is sampled."""

    def __init__(self, decoder: PixelHeadDecoder, z: Tensor, x: Tensor) -> None:
        self.x = x
        self.maps = decoder.base(z, None).permute(2, 0, 3, 1)
        """Output of the base, `[H, N, W, maps]`."""
        layers = [cast("MaskedConv2d", layer) for layer in decoder.layers]
        norms = [cast("nn.BatchNorm2d", norm) for norm in decoder.norms]
        # The terms from the rows above do not depend on other layers' output for the same row. All layers
        # after the first, whose input differs, are computed together.
        parts = [part for part in (slice(0, 1), slice(1, None)) if layers[part]]
        self.rows = [_layer_rows(layers[part], norms[part], z, x.shape[3]) for part in parts]
        self.x_row = self.rows[0].row[0, :, :, -x.shape[1] :]
        self.columns = self.x_row.unbind(1)
        weight, bias = as_matrix(decoder.output)
        self.bias = bias[:, None, None]
        self.output = z.new_zeros(len(z), len(bias), 1, 1)
        hidden, output = z.new_zeros(len(z), len(weight)), self.output[..., 0, 0]
        self.steps = steps(self.rows, len(weight), hidden)
        self.in_numpy = fits_numpy(z)
        self.last: Any = (
            operand(hidden),
            weight.detach().numpy() if self.in_numpy else weight,
            operand(output),
        )
        self.zeros = operand(torch.zeros_like(hidden))

    def begin_row(self, i: int) -> None:
        """Compute the terms of row i that depend on the rows above, in every layer."""
        if i > 0:
            self.x_row.copy_(self.x[:, :, i - 1].transpose(1, 2))
            for rows in self.rows:
                rows.push(rows.row)
        self.rows[0].row[0, :, :, : -self.x.shape[1]] = self.maps[i]
        for rows in self.rows:
            rows.given.copy_(rows.from_above())
        self.pixels = self.x[:, :, i].unbind(2)

    def parameters_at(self, i: int, j: int) -> Tensor:
        """Return the likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        if j > 0:
            self.columns[j - 1].copy_(self.pixels[j - 1])
        hidden, weight, output = self.last
        if self.in_numpy:
            for given, inputs, kernel, after in self.steps[j]:
                inputs.dot(kernel, after)
                np.add(after, given, after)
                np.maximum(after, self.zeros, out=after)
            hidden.dot(weight, output)
        else:
            for given, inputs, kernel, after in self.steps[j]:
                torch.addmm(given, inputs, kernel, out=after).relu_()
            torch.mm(hidden, weight, out=output)
        return self.output + self.bias


def _layer_rows(layers: list[MaskedConv2d], norms: list[nn.BatchNorm2d], z: Tensor, width: int) -> LayerRows:
    """Return the caches of layers of equal shape, with the batch norms merged into their weights."""
    weights, biases = [], []
    for layer, norm in zip(layers, norms, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weights.append(layer.weight * scale[:, None, None, None])
        biases.append(norm.bias - norm.running_mean * scale)
    weight, reach, lag = torch.stack(weights), layers[0].kernel_size[0] // 2, int(layers[0].kind == "A")
    left = weight[..., reach, : reach + 1 - lag]
    return LayerRows(z, width, weight[..., :reach, :], torch.stack(biases), left, lag)
