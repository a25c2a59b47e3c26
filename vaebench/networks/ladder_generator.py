"""U-shaped generator of one step of a sequential VAE: it refines an image, given a code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebench.networks.ladder import SLOPE, Trunk, UpConvolution, hidden, level_shapes, start_small


class LadderGenerator(nn.Module):
    """Generator g(z, x') of an image from a code `[B, sum(codes)]` and an image x' `[B, C, H, W]` in [-1, 1].

    Downward path: a trunk and two dense layers of `width` units. The last level's code is concatenated to
    their output. Upward path: two dense layers and transposed convolutions that mirror the trunk. Each level
    of the upward path adds the trunk's maps before the ReLU, then concatenates the level's code, mapped by a
    dense layer. The image is a out + (1 - a) x', where out = 2 sigmoid(.) - 1 and the gate a is a sigmoid per
    pixel (Zhao et al. 2017, arXiv 1702.08658, appendix C.1, and their code). If `sees_image` is false, as in
    the first step, there is no trunk and no gate, and the image is out.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        channels: Sequence[int],
        width: int,
        codes: Sequence[int],
        batch_norm: bool,
        sees_image: bool,
    ) -> None:
        super().__init__()
        self.codes = list(codes)
        self.shapes = level_shapes(shape, channels)
        features = [math.prod(maps) for maps in self.shapes]
        bias = not batch_norm

        def dense(before: int, after: int, slope: float = SLOPE) -> nn.Sequential:
            layer = nn.Linear(before, after, bias=bias)
            return hidden(layer, after=after, batch_norm=batch_norm, slope=slope)

        self.trunk = Trunk(shape, channels, batch_norm) if sees_image else None
        if sees_image:
            self.bottom = nn.Sequential(dense(features[-1], width), dense(width, width))
        rungs = zip(codes, [*features[:-1], width], strict=True)
        self.rungs = nn.ModuleList(dense(units, after) for units, after in rungs)
        joined = 2 * width if sees_image else width
        self.top = nn.Sequential(dense(joined, width, 0.0), dense(width, features[-1], 0.0))
        self.ups, self.merges = nn.ModuleList(), nn.ModuleList()  # from the last level to the first
        norm = partial(hidden, batch_norm=batch_norm)
        for (after, *size), (before, *_) in zip(self.shapes[-2::-1], self.shapes[:0:-1], strict=True):
            self.ups.append(norm(UpConvolution(before, after, 2, size, bias), after=after, slope=None))
            self.merges.append(norm(UpConvolution(2 * after, after, 1, size, bias), after=after))
        self.output = UpConvolution(channels[0], shape[0], 2, shape[1:])
        self.gate = UpConvolution(channels[0], 1, 2, shape[1:]) if sees_image else None
        start_small(self)

    def forward(self, z: Tensor, image: Tensor | None = None) -> Tensor:
        """Return the image, `[B, C, H, W]`; `image` is x', None in the first step."""
        rungs = [rung(code) for rung, code in zip(self.rungs, z.split(self.codes, -1), strict=True)]
        maps: list[Tensor] = []
        top = rungs[-1]
        if self.trunk is not None:
            assert image is not None, "every step after the first needs the image of the step before"
            maps = self.trunk(image)
            top = torch.cat([self.bottom(maps[-1].flatten(1)), top], -1)
        h = self.top(top).unflatten(-1, self.shapes[-1])
        for number, (up, merge) in enumerate(zip(self.ups, self.merges, strict=True), start=2):
            h = F.relu(up(h) + maps[-number]) if maps else F.leaky_relu(up(h), SLOPE)
            h = merge(torch.cat([h, rungs[-number].unflatten(-1, self.shapes[-number])], 1))
        new = 2 * torch.sigmoid(self.output(h)) - 1
        if self.gate is None or image is None:
            return new
        gate = torch.sigmoid(self.gate(h))
        return gate * new + (1 - gate) * image
