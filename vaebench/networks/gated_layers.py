"""Layers of the gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328; Skip-VAE's code)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shift = Literal["accumulate", "correct"]
"""Vertical maps that the next layer gets. correct: the maps before the shift, as in PixelVAE. accumulate: the
maps after the shift by one row, as in Skip-VAE's code; then each layer adds a row of shift, which leaves a
blind spot above and to the right of the pixel."""


class GatedLayer(nn.Module):
    """Layer of the vertical and the horizontal stack, with gate(a, b) = tanh(a) sigmoid(b).

    The vertical stack sees the rows up to its own, with a (k/2 + 1) x k kernel. Its output, shifted down by
    one row, enters the horizontal stack. The horizontal stack sees its own row up to the pixel itself, with a
    1 x (k/2 + 1) kernel. In the first layer (`is_first`, mask A) it sees the row up to the pixel before.
    Later layers add a 1 x 1 convolution of their horizontal input.
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
        """Biases of both gates, linear in z; None if z does not enter the gates."""

    def forward(self, v: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map the maps of both stacks `[N, C_in, H, W]` to those of the next layer, `[N, C, H, W]`."""
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
        """Return the terms that z adds before the vertical and the horizontal gate, `[N, 2C, 1, 1]` each.

        Without a code layer both are a zero `[1, 1, 1, 1]`.
        """
        if self.code is None:
            zero = z.new_zeros(1, 1, 1, 1)
            return zero, zero
        v_bias, h_bias = self.code(z)[:, :, None, None].chunk(2, 1)
        return v_bias, h_bias


def gate(signal: Tensor) -> Tensor:
    """Return tanh(a) sigmoid(b), where a and b are the halves of the channels of `signal`."""
    a, b = signal.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)
