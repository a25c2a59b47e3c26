"""Posterior by inverse autoregressive flow (Kingma et al. 2016, arXiv 1606.04934)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.distributions import LOG_2PI, Gaussian
from vaebench.networks.layers import Activation
from vaebench.networks.made import MADE
from vaebench.parts import ELBOFunction
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.ranges import AtLeastTwo, Count

OPEN = 1.5  # added to s, so that an untrained step changes z little
CODES_AT_A_TIME = 2**15  # samples in a chunk of the posterior mean


class Flow(nn.Module):
    """T steps z <- sigma z + (1 - sigma) m with (m, s) = MADE(z, h), sigma = sigmoid(s + 1.5): eqs. 10 to 14.

    The order of the units is reversed from one step to the next. Both directions also return
    log |det dz/dz_0|, the sum of log sigma over steps and units.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int,
        *,
        num_steps: Count,
        depth: Count,
        width: Count,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            MADE(
                latent_dim,
                context_dim,
                2,
                depth=depth,
                width=width,
                activation=activation,
                reverse=step % 2 == 1,
            )
            for step in range(num_steps)
        )

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map `z_0 [S, B, D]` and `context [B, F]` to `z_T` and the log determinant `[S, B]`; T passes."""
        log_det = z.new_zeros(z.shape[:-1])
        for step in self.steps:
            mean, gate = step(z, context)
            z = torch.lerp(mean, z, torch.sigmoid(gate + OPEN))
            log_det = log_det + F.logsigmoid(gate + OPEN).sum(-1)
        return z, log_det

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map `z_T` to `z_0` and the log determinant there, unit by unit; T D passes."""
        log_det = z.new_zeros(z.shape[:-1])
        unit = torch.arange(z.shape[-1], device=z.device)
        for step in reversed(self.steps):
            before = torch.zeros_like(z)
            for number in step.order:  # type: ignore[union-attr]
                mean, gate = step(before, context)
                log_sigma = F.logsigmoid(gate + OPEN)
                column = slice(number, number + 1)
                center = mean[..., column]
                value = center + (z[..., column] - center) * torch.exp(-log_sigma[..., column])
                before = torch.where(unit == number, value, before)
            z = before
            # In the last pass, all units that a gate depends on are known.
            log_det = log_det + log_sigma.sum(-1)
        return z, log_det


@dataclass(frozen=True)
class Flowed:
    """q(z|x) as a diagonal Gaussian transformed by a flow: log q(z) = log N(z_0) - log |det dz/dz_0|.

    It refers to the flow, so that it changes with the flow's weights.
    """

    base: Gaussian
    context: Tensor
    """h, `[B, F]`."""
    flow: Flow
    num_mean_draws: int

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return z `[S, B, D]` and log q(z|x) `[S, B]` of noise `[S, B, D]`, or `[S, 1, D]` for all data."""
        z, log_det = self.flow(torch.addcmul(self.base.mean, self.base.std, noise), self.context)
        log_base = -0.5 * (noise.square() + self.base.logvar + LOG_2PI).sum(-1)
        return z, log_base - log_det

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        return self._pushed(num_samples, generator)[0]

    def rsample_with_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        return self._pushed(num_samples, None)

    def _pushed(self, num_samples: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        like = self.base.mean
        shape = (num_samples, *like.shape)
        return self.push(torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z|x) of any z by the inverse flow, T D passes."""
        before, log_det = self.flow.inverse(z, self.context)
        return self.base.log_prob(before) - log_det

    @cached_property
    def mean(self) -> Tensor:
        """E[z], `[B, D]`, by Monte Carlo, without gradient: there is no closed form.

        The noise comes in antithetic pairs, so that the linear part of a flow causes no error. It is the same
        for every datum and at every call: the mean of a datum depends on its q only, and where q does not
        depend on x neither does the mean. The standard error of a unit is below its posterior standard
        deviation / sqrt(num_mean_draws / 2).
        """
        like = self.base.mean
        generator = torch.Generator(like.device).manual_seed(0)
        shape = (-(-self.num_mean_draws // 2), 1, like.shape[-1])
        half = torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
        noise = torch.cat([half, -half])[: self.num_mean_draws]
        size = max(1, CODES_AT_A_TIME // self.num_mean_draws)
        with torch.no_grad():
            parts = [self[first : first + size] for first in range(0, len(self), size)]
            return torch.cat([part.push(noise)[0].mean(0) for part in parts])

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: slice | Tensor) -> Flowed:
        return Flowed(self.base[index], self.context[index], self.flow, self.num_mean_draws)

    def to(self, device: torch.device | str) -> Flowed:
        base = self.base.to(device)
        if base.mean.device == self.base.mean.device:
            return self
        flow = copy.deepcopy(self.flow).to(device)  # the model's own flow stays on its device
        return Flowed(base, self.context.to(device), flow, self.num_mean_draws)

    @staticmethod
    def cat(parts: Sequence[Flowed]) -> Flowed:
        base = Gaussian.cat([part.base for part in parts])
        context = torch.cat([part.context for part in parts])
        return Flowed(base, context, parts[0].flow, parts[0].num_mean_draws)


class IAFPosterior(nn.Module):
    """z_0 ~ N(mean(x), diag(exp(logvar(x)))), then `num_steps` steps of a flow given h(x).

    mean, logvar and h, of `context_dim` features, are linear in the encoder's features. Each step is a MADE
    of `depth` hidden layers. `num_mean_draws` is the number of samples for the posterior mean.
    """

    is_gaussian = False
    is_amortised = True

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        *,
        logvar_range: tuple[float, float] | None,
        context_dim: Count,
        num_steps: Count,
        depth: Count,
        width: Count,
        activation: Activation,
        num_mean_draws: AtLeastTwo,
    ) -> None:
        super().__init__()
        self.base = DiagonalPosterior(in_features, latent_dim, logvar_range=logvar_range)
        self.context = nn.Linear(in_features, context_dim)
        self.flow = Flow(
            latent_dim, context_dim, num_steps=num_steps, depth=depth, width=width, activation=activation
        )
        self.num_mean_draws = num_mean_draws

    def forward(self, features: Tensor, elbo: ELBOFunction) -> Flowed:
        return Flowed(self.base(features, elbo), self.context(features), self.flow, self.num_mean_draws)
