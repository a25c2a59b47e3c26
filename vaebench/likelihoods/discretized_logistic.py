"""The discretised logistic likelihood of 8-bit images."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = 255  # the levels are 0, ..., 255, and x = level / 255


def log_mass(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log P(x) of each 8-bit x under a logistic law in 256 bins, in nats; all broadcast.

    x = k/255 stands for the interval from (k - 1/2)/255 to (k + 1/2)/255, and the first and the last bin are
    open to the outside, so that the masses sum to 1 (Salimans et al. 2017, arXiv 1701.05517, eq. 2). With
    the bin's edges at a > b scales from the mean, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b)
    (1 - e^(b-a)): nothing cancels, and nothing underflows however far the mean is.
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
    """E[min(max(y, 0), 1)] of logistic y: scale (softplus(mean/scale) - softplus((mean - 1)/scale)).

    The mean over the 256 levels is within (1/255)^2 / (96 scale) of it: 1.5e-5 at a scale of e^-4.5.
    """
    scale = torch.exp(log_scale)
    return (scale * (F.softplus(mean / scale) - F.softplus((mean - 1) / scale))).clamp(0, 1)


def draw(mean: Tensor, log_scale: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws of the 256 levels by the law of `log_mass`, as x = k/255, each by one uniform number."""
    uniform = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    y = mean + torch.exp(log_scale) * torch.logit(uniform)
    return (y * LAST).round().clamp(0, LAST) / LAST


class DiscretizedLogistic(nn.Module):
    """p(x|z) = prod_d P(x_d), each x_d = k/255 the bin of a logistic variable of its own mean and scale.

    Parameters are `[..., 2C, H, W]`: the means' logits, then log scales. As in the VampPrior's and the Fisher
    auto-encoder's code means are clamped to [1/512, 1 - 1/512] and log scales to `log_scale_range`; that
    code's bins are (k/256, (k + 1)/256), and do not have k/255 at their centres.
    """

    kinds: ClassVar = frozenset({"uint8"})

    def __init__(self, shape: tuple[int, ...], *, log_scale_range: tuple[float, float]) -> None:
        super().__init__()
        channels, height, width = shape
        self.parameter_shape = (2 * channels, height, width)
        self.log_scale_range = log_scale_range

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        return log_mass(x, *self._law(parameters)).sum((-3, -2, -1))

    def mean(self, parameters: Tensor) -> Tensor:
        return censored_mean(*self._law(parameters))

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return draw(*self._law(parameters), generator)

    def _law(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale, each `[..., C, H, W]`."""
        logits, log_scale = parameters.chunk(2, -3)
        mean = torch.sigmoid(logits).clamp(1 / 512, 1 - 1 / 512)
        return mean, log_scale.clamp(*self.log_scale_range)
