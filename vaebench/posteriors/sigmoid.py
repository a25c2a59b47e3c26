"""Mean-field Gaussian posterior of Zhao et al. (2017), with bounded standard deviations."""

from __future__ import annotations

import math
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Gt, Lt
from torch import Tensor, nn

from vaebench.distributions import Gaussian
from vaebench.parts import ELBOFunction

Inner = Annotated[float, Gt(0), Lt(1)]


class SigmoidPosterior(nn.Module):
    """q(z|x) = N(mean(x), diag(std(x)^2)), std(x) = max(sigmoid(h(x)), min_std), mean and h linear.

    Without a KL in the objective, nothing else keeps the standard deviations above 0 and the mutual
    information finite.
    """

    is_gaussian = True
    is_amortised = True

    def __init__(self, in_features: int, latent_dim: int, *, min_std: Inner) -> None:
        super().__init__()
        self.mean = nn.Linear(in_features, latent_dim)
        self.std = nn.Linear(in_features, latent_dim)
        """h(x): the standard deviation before the sigmoid."""
        self.min_logvar = 2 * math.log(min_std)

    def forward(self, features: Tensor, elbo: ELBOFunction) -> Gaussian:
        logvar = 2 * F.logsigmoid(self.std(features))
        return Gaussian(self.mean(features), logvar.clamp(min=self.min_logvar))
