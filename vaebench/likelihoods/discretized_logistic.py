"""Discretised logistic likelihood of 8-bit images."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = 255  # the levels are 0, ..., 255, and x = level / 255


def log_mass(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute log P(x) in nats of 8-bit x under a logistic distribution in 256 bins; arguments broadcast.

    x = k/255 is the bin from (k - 1/2)/255 to (k + 1/2)/255. The first bin extends to -infinity and the last
    one to infinity, so that the probabilities sum to 1 (Salimans et al. 2017, arXiv 1701.05517, eq. 2). Let a
    and b, a > b, be the distances of the bin's edges from the mean, in scales. Then the probability is
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b-a)). The second form has no cancellation and no
    underflow, whatever the mean.
    """
    level = (x * LAST).round()
    precision = torch.exp(-log_scale)
    upper = ((level + 0.5) / LAST - mean) * precision
    width = precision / LAST
    below_upper = F.logsigmoid(upper)
    above_lower = F.logsigmoid(width - upper)
    first, last = level <= 0, level >= LAST
    inner = below_upper + above_lower + torch.log(-torch.expm1(-width))
    return torch.where(first, below_upper, torch.where(last, above_lower, inner))


def censored_mean(mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute E[min(max(y, 0), 1)] of logistic y: scale (softplus(mean/scale) - softplus((mean - 1)/scale)).

    It differs from the mean over the 256 levels by at most (1/255)^2 / (96 scale): 1.5e-5 at scale e^-4.5.
    """
    scale = torch.exp(log_scale)
    return (scale * (F.softplus(mean / scale) - F.softplus((mean - 1) / scale))).clamp(0, 1)


def draw(mean: Tensor, log_scale: Tensor, generator: torch.Generator | None) -> Tensor:
    """Sample x = k/255 from the distribution of `log_mass`, with one uniform number per value."""
    uniform = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    y = mean + torch.exp(log_scale) * torch.logit(uniform)
    return (y * LAST).round().clamp(0, LAST) / LAST


class DiscretizedLogistic(nn.Module):
    """Likelihood p(x|z) = prod_d P(x_d): each x_d = k/255 is a bin of a logistic variable.

    Each variable has its own mean and scale. Parameters are `[..., 2C, H, W]`: logits of the means, then log
    scales. As in the code of the VampPrior and the Fisher auto-encoder, means are clamped to [1/512,
    1 - 1/512] and log scales to `log_scale_range`. The bins differ from that code: there they are (k/256,
    (k + 1)/256), which are not centred at k/255.
    """

    kinds: ClassVar = frozenset({"uint8"})

    def __init__(self, shape: tuple[int, ...], *, log_scale_range: tuple[float, float]) -> None:
        super().__init__()
        channels, height, width = shape
        self.parameter_shape = (2 * channels, height, width)
        self.log_scale_range = log_scale_range

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        return log_mass(x, *self._mean_and_log_scale(parameters)).sum((-3, -2, -1))

    def mean(self, parameters: Tensor) -> Tensor:
        return censored_mean(*self._mean_and_log_scale(parameters))

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return draw(*self._mean_and_log_scale(parameters), generator)

    def _mean_and_log_scale(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log scale, `[..., C, H, W]` each."""
        logits, log_scale = parameters.chunk(2, -3)
        mean = torch.sigmoid(logits).clamp(1 / 512, 1 - 1 / 512)
        return mean, log_scale.clamp(*self.log_scale_range)
