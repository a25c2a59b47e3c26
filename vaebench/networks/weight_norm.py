"""Weight normalisation with data-dependent initialisation (Salimans & Kingma 2016, arXiv 1602.07868)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

CONSTANT = 1e-4  # a map with a smaller standard deviation counts as constant and is not scaled


class WeightNorm(nn.Module):
    """Convolution whose weight is g v / |v| for each output map, with g and v learned (eq. 2).

    While `starting` is true, each forward pass sets g and the bias so that every map has mean 0 and standard
    deviation `start_std` over the batch and its pixels (eq. 6). A map that is constant over the batch is only
    shifted to mean 0.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, start_std: float = 1.0) -> None:
        super().__init__()
        self.layer = weight_norm(layer, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
        self.start_std = start_std
        self.starting = False

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x)
        return self._start(output) if self.starting else output

    @torch.no_grad()
    def _start(self, output: Tensor) -> Tensor:
        std, mean = torch.std_mean(output.float().transpose(0, 1).flatten(1), 1, correction=0)
        factor = torch.where(std > CONSTANT, self.start_std / std, 1.0)
        gain, bias = self.layer.parametrizations.weight.original0, self.layer.bias
        gain.mul_(factor.view_as(gain))
        bias.sub_(mean).mul_(factor)
        return ((output - mean[:, None, None]) * factor[:, None, None]).to(output.dtype)


@contextmanager
def starting(layers: Sequence[WeightNorm]) -> Iterator[None]:
    """Initialise gains and biases of `layers` in the forward passes inside this context."""
    for layer in layers:
        layer.starting = True
    try:
        yield
    finally:
        for layer in layers:
            layer.starting = False
