"""Evidence lower bound with a KL warm-up of another start or shape."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vaebench.model import Model
from vaebench.objectives.elbo import ELBO
from vaebench.ranges import Count, NonNegative, Positive, UnitInterval

Shape = Literal["linear", "exponential"]
"""linear: beta is reached after `warmup_epochs`. exponential: the distance to beta falls by a factor e in
every `warmup_epochs`."""

ALMOST = 3
"""An exponential warm-up counts as over after this many times `warmup_epochs`: 5 percent are left."""


class AnnealedELBO(ELBO):
    """loss = -E_q[log p(x|z)] + beta_t KL(q(z|x) || p(z)) with beta_t = beta (s + (1 - s) r_t), s = `start`.

    r_t goes from 0 to 1: min(t / T, 1) (Kim et al. 2018, from s = 0.1) or 1 - exp(-t / T) (Zhao et al.'s
    published code, T = 10,000 steps), T being the steps in `warmup_epochs`.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        model: Model,
        *,
        start: UnitInterval,
        shape: Shape,
        beta: NonNegative,
        warmup_epochs: Positive,
        free_bits: NonNegative,
        num_samples: Count,
    ) -> None:
        super().__init__(
            steps_per_epoch,
            model,
            beta=beta,
            warmup_epochs=warmup_epochs,
            free_bits=free_bits,
            num_samples=num_samples,
        )
        self.start = start
        self.shape = shape
        self.scale = warmup_epochs * steps_per_epoch
        if shape == "exponential":
            self.warmup_steps = round(ALMOST * self.scale)

    def warmup(self, step: Tensor) -> Tensor:
        time = step / self.scale
        risen = time.clamp(max=1.0) if self.shape == "linear" else 1 - torch.exp(-time)
        return self.start + (1 - self.start) * risen
