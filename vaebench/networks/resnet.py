"""Image encoder of Skip-VAE (Dieng et al. 2019, arXiv 1807.04863): residual blocks and downsampling."""

from __future__ import annotations

from torch import Tensor, nn

from vaebench.errors import UserError
from vaebench.networks.layers import image_shape
from vaebench.ranges import Count


class ResidualBlock(nn.Module):
    """Block relu(BN(conv(relu(BN(conv(x))))) + shortcut(x)), `[B, C, H, W]` to `[B, C', H, W]`.

    The convolutions are 3x3. They have biases before the batch norm, as in the authors' code. The shortcut is
    the identity, or a 1x1 convolution if C and C' differ.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class ResNetEncoder(nn.Module):
    """Encoder of `blocks` x [residual block, 2x2 convolution of stride 2].

    Three blocks of 64 maps reduce 28 x 28 pixels to 14, 7 and 3 per side: 576 features. Convolutions have
    PyTorch's initialisation, as in the authors' code. Raises UserError if the data are not images, or are too
    small for that many blocks.
    """

    def __init__(self, input_shape: tuple[int, ...], *, blocks: Count, channels: Count) -> None:
        super().__init__()
        before, height, width = image_shape(input_shape, "model/encoder=resnet")
        if min(height, width) < 2**blocks:
            most = min(height, width).bit_length() - 1
            raise UserError(
                f"model.encoder.blocks = {blocks}: each block halves the image, which {height} x {width} "
                f"pixels allow {most} times; expected {most} or less, or model/encoder=mlp."
            )
        modules: list[nn.Module] = []
        for _ in range(blocks):
            modules += [ResidualBlock(before, channels), nn.Conv2d(channels, channels, 2, stride=2)]
            before = channels
        self.blocks = nn.Sequential(*modules)
        self.out_features = channels * (height >> blocks) * (width >> blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).flatten(1)
