"""Causal convolutions of PixelCNN++: they see no row below and, in one stream, no column to the right."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.weight_norm import WeightNorm

Stream = Literal["down", "down_right"]
"""down: a pixel sees rows up to its own, and columns on both sides. down_right: a pixel sees rows up to its
own, and columns up to its own."""

KERNELS = {"down": (2, 3), "down_right": (2, 2)}


class ShiftedConv2d(nn.Module):
    """Convolution from `[N, C_in, H, W]` to `[N, C_out, ceil(H / stride), ceil(W / stride)]`.

    The last row of the kernel is at the pixel's own row. In the stream `down_right` the last column is at the
    pixel's own column.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stream: Stream,
        kernel: tuple[int, int] | None = None,
        stride: int = 1,
        start_std: float = 1.0,
    ) -> None:
        super().__init__()
        height, width = kernel or KERNELS[stream]
        sides = (width // 2, width // 2) if stream == "down" else (width - 1, 0)
        self.padding = (*sides, height - 1, 0)
        self.conv = WeightNorm(nn.Conv2d(in_channels, out_channels, (height, width), stride), start_std)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.padding))


class ShiftedConvTranspose2d(nn.Module):
    """Transposed convolution from `[N, C_in, ceil(H / 2), ceil(W / 2)]` to `[N, C_out, H, W]`.

    Pixel (i, j) sees only row i // 2 and, in the stream `down_right`, only column j // 2 of the input. Those
    input pixels depend on pixels before (2 (i // 2), 2 (j // 2)), which is not after (i, j) in raster order.
    So the transposed convolution is causal.
    """

    def __init__(self, in_channels: int, out_channels: int, stream: Stream) -> None:
        super().__init__()
        self.left = int(stream == "down")
        self.conv = WeightNorm(nn.ConvTranspose2d(in_channels, out_channels, KERNELS[stream], stride=2))

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        return self.conv(x)[:, :, :height, self.left : self.left + width]


def down_shift(x: Tensor) -> Tensor:
    """Shift the maps down by one row; the first row becomes zero."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def right_shift(x: Tensor) -> Tensor:
    """Shift the maps right by one column; the first column becomes zero."""
    return F.pad(x, (1, 0))[..., :-1]
