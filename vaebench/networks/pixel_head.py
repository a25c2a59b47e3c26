"""Masked convolutions over another decoder's output, as in PixelVAE (Gulrajani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import image_shape
from vaebench.networks.raster import Pick, RowCache, as_matrix, draw_in_raster_order
from vaebench.ranges import Count

Factory = Callable[..., Any]


class MaskedConv2d(nn.Conv2d):
    """A k x k convolution that sees the pixels before its own in raster order; its own too, but with mask A.

    The mask is the same for all channels: pixels, not channels, are ordered.
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
    """p(x|z) = prod_i p(x_i | x_<i, g(z)): any decoder's `maps` beside x, through masked convolutions.

    `depth` layers of `channels` maps, the first with mask A and the others with B, each with batch norm and
    ReLU, and a 1 x 1 output, as in the VampPrior code's PixelCNN (SCVAE, section 6.3: "8 pixel layers, by
    concatenation"). The masks hold for the decoder's maps as for x.
    """

    sees_data = True

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
        self.base = base(latent_dim, (maps, *size), data_shape)
        self.reach = kernel_size // 2
        sizes = [in_channels + maps] + [channels] * depth
        self.layers = nn.ModuleList(
            MaskedConv2d(before, channels, kernel_size, "B" if number else "A")
            for number, before in enumerate(sizes[:-1])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(depth))
        self.output = nn.Conv2d(channels, output_shape[0], 1)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs the data"
        h = torch.cat([self.base(z, None), x], 1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = F.relu(norm(layer(h)))
        return self.output(h)

    @torch.no_grad()
    def generate(self, z: Tensor, pick: Pick) -> Tensor:
        """x ~ p(x|z) at each `z [N, D]`, with running statistics; every activation is computed once."""
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = _PixelHeadSampler(self, z, x)
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)


class _PixelHeadSampler:
    """The activations of a `PixelHeadDecoder` at the codes `z [N, D]` while `x [N, C, H, W]` is drawn."""

    def __init__(self, decoder: PixelHeadDecoder, z: Tensor, x: Tensor) -> None:
        self.x = x
        self.maps = decoder.base(z, None)
        width = x.shape[3]
        self.reach = reach = decoder.reach
        self.upper, self.shifts, self.caches, self.given, self.steps = [], [], [], [], []
        for layer, norm in zip(decoder.layers, decoder.norms, strict=True):
            assert isinstance(layer, MaskedConv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = layer.weight * layer.mask * scale[:, None, None, None]
            self.upper.append(weight[:, :, :reach])
            self.shifts.append((norm.bias - norm.running_mean * scale)[:, None])
            self.caches.append(RowCache(z, len(z), weight.shape[1], width, reach + 1, reach))
            self.given.append(z.new_zeros(len(z), width, len(weight)))
            seen = weight[:, :, reach, : reach + (layer.kind == "B")]  # of its own row
            self.steps.append((layer.kind == "A", seen.permute(2, 1, 0).flatten(0, 1)))
        self.last = RowCache(z, len(z), decoder.output.in_channels, width, 0, 0)
        self.weight, self.bias = as_matrix(decoder.output)

    def begin_row(self, i: int) -> None:
        """What every pixel of row i gets from the rows above it."""
        first = self.caches[0]
        if i > 0:
            first.push_row(torch.cat([self.maps[:, :, i - 1], self.x[:, :, i - 1]], 1))
            for cache in self.caches[1:]:
                cache.push_row(cache.finished_row())
        for upper, shift, cache, given in zip(self.upper, self.shifts, self.caches, self.given, strict=True):
            above = F.conv2d(F.pad(cache.above, (self.reach, self.reach, 0, 0)), upper).squeeze(2)
            given.copy_((above + shift).transpose(1, 2))

    def parameters_at(self, i: int, j: int) -> Tensor:
        """The likelihood's parameters of pixel (i, j), `[N, P, 1, 1]`."""
        if j > 0:
            before = torch.cat([self.maps[:, :, i, j - 1], self.x[:, :, i, j - 1]], 1)
            self.caches[0].column(j - 1, before.shape[1]).copy_(before)
        inputs = [*self.caches[1:], self.last]
        for (is_first, kernel), cache, given, after in zip(
            self.steps, self.caches, self.given, inputs, strict=True
        ):
            window = cache.window(j - is_first, len(kernel) // cache.channels)
            destination = after.column(j, after.channels)
            torch.addmm(given[:, j], window, kernel, out=destination)
            destination.relu_()
        return torch.addmm(self.bias, self.last.window(j, 1), self.weight)[:, :, None, None]
