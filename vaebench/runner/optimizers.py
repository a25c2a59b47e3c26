"""The optimisers that the papers used, by the names that their configs give them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from vaebench.ranges import Decay, NonNegative, Positive


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: Positive,
    betas: tuple[Decay, Decay],
    weight_decay: NonNegative,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), all parameters updated by one fused kernel."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trained)
    return torch.optim.Adam(trained, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
