"""The gated PixelCNN as a decoder (van den Oord et al. 2016, arXiv 1606.05328; Skip-VAE's code)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.dense_stack import Init
from vaebench.networks.gated_sampling import GatedSampler
from vaebench.networks.layers import he_init_, image_shape
from vaebench.networks.raster import PixelSampler, draw_in_raster_order
from vaebench.ranges import Count

Entry = Literal["first", "every", "gates"]
"""Where z enters: as a map concatenated to x (the baselines); as a map of its own at every layer and before
the output (Skip-VAE); as a bias in every gate (conditional PixelCNN)."""

Shift = Literal["accumulate", "correct"]
"""What the vertical stack hands on. accumulate: its map already shifted down a row, as Skip-VAE's code does,
so that every layer moves it up one more row, which leaves a blind spot above and to the right; correct: the
map before the shift, as in PixelVAE."""


class GatedLayer(nn.Module):
    """One layer of both stacks: gate(a, b) = tanh(a) sigmoid(b).

    The vertical stack sees rows up to its own, with a (k/2 + 1) x k kernel; shifted down one row it enters
    the horizontal stack, which sees its own row up to the pixel with a 1 x (k/2 + 1) kernel, and in the
    first layer (`is_first`, mask A) only up to the pixel before. Later layers add a 1 x 1 convolution of
    their horizontal input.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, latent_dim: int, is_first: bool, shift: Shift
    ) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.is_first = is_first
        self.shift = shift
        self.vertical = nn.Conv2d(in_channels, 2 * channels, (self.reach + 1, kernel_size))
        self.horizontal = nn.Conv2d(in_channels, 2 * channels, (1, self.reach + 1))
        self.downward = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        self.residual = None if is_first else nn.Conv2d(in_channels, channels, 1)
        self.code = nn.Linear(latent_dim, 4 * channels) if latent_dim else None
        """Biases of both gates from z, where it enters there."""

    def forward(self, v: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of both stacks `[N, C_in, H, W]` to those of the next layer, `[N, C, H, W]`."""
        v_bias, h_bias = self.gate_biases(z)
        unshifted = self.vertical(F.pad(v, (self.reach, self.reach, self.reach, 0)))
        shifted = F.pad(unshifted, (0, 0, 1, 0))[:, :, :-1]
        row = self.horizontal(F.pad(h, (self.reach, 0, 0, 0)))
        if self.is_first:
            row = F.pad(row, (1, 0, 0, 0))[..., :-1]
        next_h = self.output(gate(row + self.downward(shifted) + h_bias))
        if self.residual is not None:
            next_h = next_h + self.residual(h)
        return gate((shifted if self.shift == "accumulate" else unshifted) + v_bias), next_h

    def gate_biases(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What z adds before the vertical and before the horizontal gate, `[N, 2C, 1, 1]`."""
        if self.code is None:
            nothing = z.new_zeros(1, 1, 1, 1)
            return nothing, nothing
        v_bias, h_bias = self.code(z)[:, :, None, None].chunk(2, 1)
        return v_bias, h_bias


class GatedPixelCNNDecoder(nn.Module):
    """`depth` gated layers of `channels` maps and a 1 x 1 output: p(x|z) = prod_i p(x_i | x_<i, z).

    z enters `first`, at `every` layer (Dieng et al. 2019: h_{l+1} = g_l(f_l(h_l), z)) or in the `gates`; as
    a map it is linear in z, with `code_maps` channels, each layer having its own. `init` is of what is linear
    in z. `first_kernel_size` is that of the first layer alone, whose mask is A. `init_from_data` sets the
    output's bias to the log odds of each channel's mean before training, for data that are bits: otherwise
    the first steps teach all pixels to be dark by way of the code, and where no KL holds it back it grows
    until every gate is saturated.
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
        assert x is not None, "an autoregressive decoder needs the data"
        maps = self.maps_of(z)
        v = h = torch.cat([x, maps[0]], 1)
        for layer, code in zip(self.layers, maps[1:], strict=True):
            v, h = layer(v, h, z)
            v, h = torch.cat([v, code], 1), torch.cat([h, code], 1)
        return self.output(h)

    @torch.no_grad()
    def init_from_data(self, x: Tensor) -> None:
        """Before training, from a batch of data."""
        if self.has_data_init:
            # Half a bit of either kind, for a channel of which the batch has one kind only.
            ones, number = x.transpose(0, 1).flatten(1).sum(1), x[:, 0].numel()
            bias = self.output.get_parameter("bias")
            bias.copy_(torch.logit((ones + 0.5) / (number + 1)))

    def maps_of(self, z: Tensor) -> list[Tensor]:
        """What is concatenated to the input of each layer and of the output, `[N, maps or 0, H, W]`."""
        maps = [layer(z).unflatten(1, (self.code_maps, *self.size)) for layer in self.code_layers]
        nothing = z.new_zeros(len(z), 0, *self.size)
        return maps + [nothing] * (len(self.layers) + 1 - len(maps))

    @torch.no_grad()
    def sample(self, z: Tensor, pick: PixelSampler) -> Tensor:
        """x ~ p(x|z) at each `z [N, D]`; every activation is computed once."""
        x = z.new_zeros(len(z), *self.data_shape)
        sampler = GatedSampler(self, z, x)
        return draw_in_raster_order(x, pick, sampler.begin_row, sampler.parameters_at)


def gate(signal: Tensor) -> Tensor:
    a, b = signal.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)
