"""Activations, initialisations and shape checks that several networks share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.errors import UserError

Activation = Literal["relu", "leaky_relu", "gelu", "elu", "tanh", "softplus"]
"""leaky_relu has slope 0.1 for negative inputs."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def concat_elu(x: Tensor) -> Tensor:
    """Concatenate elu(x) and elu(-x) along the channels, which are the second dimension."""
    return F.elu(torch.cat([x, -x], 1))


def he_init_(network: nn.Module) -> None:
    """Initialise every dense layer with normal weights of variance 2 / fan_in (He et al. 2015).

    Biases keep PyTorch's initialisation, as in the published code of Skip-VAE and of the VampPrior.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


@torch.no_grad()
def uniform_init_(network: nn.Module, reach: float) -> None:
    """Initialise all parameters, also biases and embeddings, from U[-reach, reach] (Zaremba et al. 2014)."""
    for parameter in network.parameters():
        parameter.uniform_(-reach, reach)


def image_shape(shape: tuple[int, ...], option: str, other: str = "mlp") -> tuple[int, int, int]:
    """Return `shape` as (C, H, W). Raises UserError if it is not the shape of an image.

    `option` is the choice that needs images, such as `model/encoder=resnet`; the message suggests
    `model/encoder=<other>` instead.
    """
    if len(shape) != 3:
        raise UserError(
            f"{option} works on images [C, H, W], but the data have shape {list(shape)}; "
            f"use {option.split('=')[0]}={other}."
        )
    channels, height, width = shape
    return channels, height, width
