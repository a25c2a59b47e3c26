"""Small pieces that several networks share."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

Activation = Literal["relu", "gelu", "elu", "tanh", "softplus"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def stack(sizes: list[int], activation: Activation) -> nn.Sequential:
    """Linear layers of the given sizes, each followed by its activation."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
