"""PixelCNN++ decoder (Salimans et al. 2017, arXiv 1701.05517; conditional as in Zhao et al. 2017)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.layers import image_shape
from vaebench.networks.pixelcnnpp_layers import FirstLayer, Grow, Maps, Pair, Shrink
from vaebench.networks.pixelcnnpp_sampling import PixelCNNPPSampler
from vaebench.networks.raster import PixelSampler, draw_in_raster_order
from vaebench.networks.weight_norm import WeightNorm
from vaebench.ranges import Count, UnitInterval


class PixelCNNPPDecoder(nn.Module):
    """Autoregressive decoder p(x|z) = prod_i p(x_i | x_<i, z); the likelihood models the channels of a pixel.

    The encoder path `there` has `resnets` pairs of gated residual networks at each of the `resolutions`; each
    resolution has half the height and width of the one before. The decoder path `back` returns through the
    resolutions, with one more pair at all but the lowest. Each of its pairs has a shortcut from a map of the
    encoder path. z is a linear bias in every network. Weights are normalised, with data-dependent
    initialisation (see networks.weight_norm).
    """

    is_autoregressive = True

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        channels: Count,
        resnets: Count,
        resolutions: Count,
        dropout: UnitInterval,
    ) -> None:
        super().__init__()
        in_channels, *_ = image_shape(data_shape, "model/decoder=pixelcnnpp")
        self.data_shape = tuple(data_shape)

        def stage(num: int, has_shortcut: bool) -> nn.ModuleList:
            return nn.ModuleList(Pair(channels, has_shortcut, latent_dim, dropout) for _ in range(num))

        self.first = FirstLayer(in_channels, channels)
        self.there = nn.ModuleList(stage(resnets, False) for _ in range(resolutions))
        self.back = nn.ModuleList(stage(resnets + (n > 0), True) for n in range(resolutions))
        self.shrink = nn.ModuleList(Shrink(channels) for _ in range(resolutions - 1))
        self.grow = nn.ModuleList(Grow(channels) for _ in range(resolutions - 1))
        self.output = WeightNorm(nn.Conv2d(channels, output_shape[0], 1))

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs x"
        maps = self.first(x)
        shortcuts: list[Maps] = [maps]
        for number, stage in enumerate(cast("list[nn.ModuleList]", self.there)):
            if number > 0:
                maps = self.shrink[number - 1](maps)
                shortcuts.append(maps)
            for pair in stage:
                maps = pair(maps, (), z)
                shortcuts.append(maps)
        maps = shortcuts.pop()
        for number, stage in enumerate(cast("list[nn.ModuleList]", self.back)):
            if number > 0:
                maps = self.grow[number - 1](maps, *shortcuts[-1][0].shape[2:])
            for pair in stage:
                maps = pair(maps, shortcuts.pop(), z)
        return self.output(F.elu(maps[1]))

    @torch.no_grad()
    def sample(self, z: Tensor, pick: PixelSampler) -> Tensor:
        """Sample x ~ p(x|z) for each code `z [N, D]`, without dropout; every activation is computed once."""
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = PixelCNNPPSampler(
            self.first, self.there, self.back, self.shrink, self.grow, self.output, z, x
        )
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)
