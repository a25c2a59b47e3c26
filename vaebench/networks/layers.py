"""Small pieces that several networks share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.errors import UserError

Activation = Literal["relu", "leaky_relu", "gelu", "elu", "tanh", "softplus"]
"""leaky_relu has slope 0.1 below zero."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def concat_elu(x: Tensor) -> Tensor:
    """elu of x and of -x, one behind the other: twice the channels, whose dimension is the second."""
    return F.elu(torch.cat([x, -x], 1))


def he_init_(network: nn.Module) -> None:
    """Normal weights of variance 2 / fan_in (He et al. 2015) in every dense layer of it.

    Biases stay PyTorch's, as in the codes of Skip-VAE and of the VampPrior.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


@torch.no_grad()
def uniform_init_(network: nn.Module, reach: float) -> None:
    """Every parameter of it uniform in [-reach, reach], biases and embeddings too (Zaremba et al. 2014)."""
    for parameter in network.parameters():
        parameter.uniform_(-reach, reach)


def image_shape(shape: tuple[int, ...], option: str, other: str = "mlp") -> tuple[int, int, int]:
    """(C, H, W) of a datum. Raises UserError where it is no image, in the name of `model/encoder=resnet`,
    and offers `model/encoder=<other>`."""
    if len(shape) != 3:
        raise UserError(
            f"{option} works on images [C, H, W], and the data have shape {list(shape)}; "
            f"use {option.split('=')[0]}={other}."
        )
    channels, height, width = shape
    return channels, height, width
