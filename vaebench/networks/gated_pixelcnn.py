"""Gated PixelCNN decoder (van den Oord et al. 2016, arXiv 1606.05328; Skip-VAE's code)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vaebench.networks.dense_stack import Init
from vaebench.networks.gated_layers import GatedLayer, Shift
from vaebench.networks.gated_sampling import GatedSampler
from vaebench.networks.layers import he_init_, image_shape
from vaebench.networks.raster import PixelSampler, draw_in_raster_order
from vaebench.ranges import Count

Entry = Literal["first", "every", "gates"]
"""Layers that z enters. first: z is a map concatenated to x (the baselines). every: each layer and the output
have their own map of z, concatenated to their input (Skip-VAE). gates: z is a bias in every gate (conditional
PixelCNN)."""


class GatedPixelCNNDecoder(nn.Module):
    """Autoregressive decoder p(x|z) = prod_i p(x_i | x_<i, z): `depth` gated layers and a 1 x 1 output.

    Each layer has `channels` maps. `z_enters` is the place where z enters (see `Entry`; for `every` see Dieng
    et al. 2019: h_{l+1} = g_l(f_l(h_l), z)). A map of z is linear in z and has `code_maps` channels. `init`
    applies to the dense layers, which are linear in z. `first_kernel_size` is the kernel size of the first
    layer, which has mask A. `init_from_data` sets the output's bias to the log odds of each channel's mean
    before training; the data must be binary. Without it, the first training steps encode the mean of the
    pixels in z. If no KL term limits z, z then grows until every gate saturates.
    """

    is_autoregressive = True

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        depth: Count,
        channels: Count,
        kernel_size: Literal[3, 5, 7],
        first_kernel_size: Literal[3, 5, 7],
        z_enters: Entry,
        code_maps: Count,
        v_shift: Shift,
        init: Init,
        init_from_data: bool,
    ) -> None:
        super().__init__()
        self.has_data_init = init_from_data
        in_channels, *self.size = image_shape(data_shape, "model/decoder=gated_pixelcnn")
        self.data_shape = tuple(data_shape)
        self.code_maps = 0 if z_enters == "gates" else code_maps
        at_every = self.code_maps if z_enters == "every" else 0
        self.layers = nn.ModuleList(
            GatedLayer(
                in_channels + self.code_maps if number == 0 else channels + at_every,
                channels,
                first_kernel_size if number == 0 else kernel_size,
                latent_dim if z_enters == "gates" else 0,
                is_first=number == 0,
                shift=v_shift,
            )
            for number in range(depth)
        )
        self.output = nn.Conv2d(channels + at_every, output_shape[0], 1)
        num_maps = {"first": 1, "every": depth + 1, "gates": 0}[z_enters]
        features = self.code_maps * self.size[0] * self.size[1]
        self.code_layers = nn.ModuleList(nn.Linear(latent_dim, features) for _ in range(num_maps))
        if init == "he":
            he_init_(self)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs x"
        maps = self.maps_of(z)
        v = h = torch.cat([x, maps[0]], 1)
        for layer, code in zip(self.layers, maps[1:], strict=True):
            v, h = layer(v, h, z)
            v, h = torch.cat([v, code], 1), torch.cat([h, code], 1)
        return self.output(h)

    @torch.no_grad()
    def init_from_data(self, x: Tensor) -> None:
        """Set the output's bias from a batch of data `[B, C, H, W]`, if the option asks for it."""
        if self.has_data_init:
            # Add half a one and half a zero: a constant channel would have infinite log odds.
            ones, number = x.transpose(0, 1).flatten(1).sum(1), x[:, 0].numel()
            bias = self.output.get_parameter("bias")
            bias.copy_(torch.logit((ones + 0.5) / (number + 1)))

    def maps_of(self, z: Tensor) -> list[Tensor]:
        """Return the maps of z that enter each layer and the output, `[N, maps or 0, H, W]`."""
        maps = [layer(z).unflatten(1, (self.code_maps, *self.size)) for layer in self.code_layers]
        empty = z.new_zeros(len(z), 0, *self.size)
        return maps + [empty] * (len(self.layers) + 1 - len(maps))

    @torch.no_grad()
    def sample(self, z: Tensor, pick: PixelSampler) -> Tensor:
        """Sample x ~ p(x|z) for each code `z [N, D]`; every activation is computed once."""
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = GatedSampler(self.layers, self.maps_of(z), self.output, z, x)
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)
