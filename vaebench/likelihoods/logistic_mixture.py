"""PixelCNN++'s likelihood of 8-bit images: a mixture of discretised logistics for each pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vaebench.likelihoods.discretized_logistic import censored_mean, draw, log_mass
from vaebench.ranges import Count


class Components(NamedTuple):
    """What a pixel's parameters say. K components, C channels."""

    logits: Tensor
    """Of the weights, `[..., K, H, W]`."""
    mean: Tensor
    """Before the terms of the channels before it, `[..., K, C, H, W]`."""
    log_scale: Tensor
    """`[..., K, C, H, W]`."""
    coefficients: Tensor
    """Of channel c in channel d > c, at d (d - 1)/2 + c: `[..., K, C (C - 1)/2, H, W]`."""

    def channel_mean(self, channel: int, earlier: Sequence[Tensor]) -> Tensor:
        """mean_d + sum_{c < d} coefficient_dc (x_c - 1/2), where `earlier` are the x_c."""
        mean = self.mean[..., channel, :, :]
        for c, x in enumerate(earlier):
            mean = mean + self.coefficients[..., channel * (channel - 1) // 2 + c, :, :] * (x - 0.5)
        return mean


class LogisticMixture(nn.Module):
    """P(x) = sum_k w_k prod_c P(x_c | x_<c, k) at each pixel (Salimans et al. 2017, arXiv 1701.05517, eq. 3).

    Each factor is a discretised logistic whose mean is linear in the channels before it; one component is
    chosen for all channels of a pixel. Parameters are `[..., P, H, W]`: K logits, K C means, K C log scales
    and K C (C - 1)/2 coefficients, which pass a tanh. Means and log scales are those of data from -1 to 1,
    as in the authors' code, which clamps log scales below at -7; `log_scale_range` also has an upper end.
    Nothing mixes pixels: H and W may be any, and 1 for one pixel.
    """

    kinds: ClassVar = frozenset({"uint8"})

    def __init__(
        self, shape: tuple[int, ...], *, num_components: Count, log_scale_range: tuple[float, float]
    ) -> None:
        super().__init__()
        self.channels, height, width = shape
        self.num_components = num_components
        self.log_scale_range = log_scale_range
        per_component = 1 + 2 * self.channels + math.comb(self.channels, 2)
        self.parameter_shape = (num_components * per_component, height, width)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        law = self._components(parameters)
        channels = x.unsqueeze(-4).unbind(-3)
        log_joint = torch.log_softmax(law.logits, -3)
        for number, channel in enumerate(channels):
            mean = law.channel_mean(number, channels[:number])
            log_joint = log_joint + log_mass(channel, mean, law.log_scale[..., number, :, :])
        return torch.logsumexp(log_joint, -3).sum((-2, -1))

    def mean(self, parameters: Tensor) -> Tensor:
        """The weighted mean of the components' means, `[..., C, H, W]`.

        The expected x for one channel, up to what `censored_mean` says. With more, a component's later
        channels are taken at the mean of its earlier ones: exact where no mass is censored at 0 or 1.
        """
        law = self._components(parameters)
        means: list[Tensor] = []
        for number in range(self.channels):
            mean = law.channel_mean(number, means)
            means.append(censored_mean(mean, law.log_scale[..., number, :, :]))
        weights = torch.softmax(law.logits, -3).unsqueeze(-3)
        return (weights * torch.stack(means, -3)).sum(-4)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        law = self._components(parameters)
        # The least of exponential variables over their rates is each one with its rate's share.
        waiting = torch.empty_like(law.logits).exponential_(generator=generator).log() - law.logits
        chosen = waiting.argmin(-3, keepdim=True).unsqueeze(-3)
        law = Components(law.logits, *(part.take_along_dim(chosen, -4).squeeze(-4) for part in law[1:]))
        x: list[Tensor] = []
        for number in range(self.channels):
            x.append(draw(law.channel_mean(number, x), law.log_scale[..., number, :, :], generator))
        return torch.stack(x, -3)

    def _components(self, parameters: Tensor) -> Components:
        k, c = self.num_components, self.channels
        sizes = [k, k * c, k * c, k * math.comb(c, 2)]
        logits, mean, log_scale, coefficients = parameters.split(sizes, -3)
        # From data in [-1, 1] to data in [0, 1].
        mean = (mean.unflatten(-3, (k, c)) + 1) / 2
        log_scale = log_scale.unflatten(-3, (k, c)).clamp(*self.log_scale_range) - math.log(2)
        return Components(logits, mean, log_scale, torch.tanh(coefficients.unflatten(-3, (k, -1))))
