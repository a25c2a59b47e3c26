"""Likelihood of PixelCNN++ for 8-bit images: a mixture of discretised logistics for each pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vaebench.likelihoods.discretized_logistic import censored_mean, draw, log_mass
from vaebench.ranges import Count


class Components(NamedTuple):
    """Parameters of the mixture at each pixel, with K components and C channels."""

    logits: Tensor
    """Logits of the mixture weights, `[..., K, H, W]`."""
    mean: Tensor
    """Mean without the terms of earlier channels, `[..., K, C, H, W]`."""
    log_scale: Tensor
    """`[..., K, C, H, W]`."""
    coefficients: Tensor
    """Coefficients of channel c in channel d > c, at d (d - 1)/2 + c: `[..., K, C (C - 1)/2, H, W]`."""

    def channel_mean(self, channel: int, earlier: Sequence[Tensor]) -> Tensor:
        """Compute mean_d + sum_{c < d} coefficient_dc (x_c - 1/2); `earlier` are the x_c."""
        mean = self.mean[..., channel, :, :]
        for c, x in enumerate(earlier):
            mean = mean + self.coefficients[..., channel * (channel - 1) // 2 + c, :, :] * (x - 0.5)
        return mean


class LogisticMixture(nn.Module):
    """Mixture P(x) = sum_k w_k prod_c P(x_c | x_<c, k) at each pixel (Salimans et al. 2017, eq. 3).

    Each factor is a discretised logistic, whose mean is linear in earlier channels. All channels of a pixel
    share the component k. Parameters are `[..., P, H, W]`: K logits, K C means, K C log scales and
    K C (C - 1)/2 coefficients, to which a tanh is applied. Means and log scales refer to data in [-1, 1], as
    in the authors' code. That code clamps log scales from below at -7; `log_scale_range` has an upper limit
    too. Pixels are independent given the parameters, so that H and W are arbitrary: 1 x 1 for one pixel.
    Reference: arXiv 1701.05517.
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
        components = self._components(parameters)
        channels = x.unsqueeze(-4).unbind(-3)
        log_joint = torch.log_softmax(components.logits, -3)
        for number, channel in enumerate(channels):
            mean = components.channel_mean(number, channels[:number])
            log_joint = log_joint + log_mass(channel, mean, components.log_scale[..., number, :, :])
        return torch.logsumexp(log_joint, -3).sum((-2, -1))

    def mean(self, parameters: Tensor) -> Tensor:
        """Compute the weighted mean of the components' means, `[..., C, H, W]`.

        For one channel it is E[x], up to the error of `censored_mean`. For more channels, each component's
        later channels are evaluated at the mean of its earlier ones. This is exact if no probability
        mass is censored at 0 or 1.
        """
        components = self._components(parameters)
        means: list[Tensor] = []
        for number in range(self.channels):
            mean = components.channel_mean(number, means)
            means.append(censored_mean(mean, components.log_scale[..., number, :, :]))
        weights = torch.softmax(components.logits, -3).unsqueeze(-3)
        return (weights * torch.stack(means, -3)).sum(-4)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        components = self._components(parameters)
        # Of exponential variables with rates w_k, variable k is the smallest with probability w_k / sum w.
        exponential = torch.empty_like(components.logits).exponential_(generator=generator)
        k = (exponential.log() - components.logits).argmin(-3, keepdim=True).unsqueeze(-3)
        selected = (part.take_along_dim(k, -4).squeeze(-4) for part in components[1:])
        components = Components(components.logits, *selected)
        x: list[Tensor] = []
        for number in range(self.channels):
            mean = components.channel_mean(number, x)
            x.append(draw(mean, components.log_scale[..., number, :, :], generator))
        return torch.stack(x, -3)

    def _components(self, parameters: Tensor) -> Components:
        k, c = self.num_components, self.channels
        sizes = [k, k * c, k * c, k * math.comb(c, 2)]
        logits, mean, log_scale, coefficients = parameters.split(sizes, -3)
        # Rescale from data in [-1, 1] to data in [0, 1].
        mean = (mean.unflatten(-3, (k, c)) + 1) / 2
        log_scale = log_scale.unflatten(-3, (k, c)).clamp(*self.log_scale_range) - math.log(2)
        return Components(logits, mean, log_scale, torch.tanh(coefficients.unflatten(-3, (k, -1))))
