"""Diagonal Gaussians, log-mean-exp and the Bernoulli log density, each defined once in the project.

Shapes: S samples, B data, D latent units. Densities are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class Distribution(Protocol):
    """Contract of a posterior q(z|x) or a prior p(z) with known parameters."""

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Return reparameterised samples, `[S, B, D]` (`[S, D]` where there is no batch)."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density of `z`, summed over latent units."""
        ...


class Posterior(Distribution, Protocol):
    """q(z|x) of a batch, which can be sliced and concatenated along the batch: a split is encoded once."""

    @property
    def mean(self) -> Tensor: ...

    def rsample_with_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor | None]:
        """Return reparameterised samples `[S, B, D]`, and their log density `[S, B]` where sampling computes
        it (a flow, whose inverse is slow); None where `log_prob` is as cheap."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor) -> Posterior: ...

    def to(self, device: torch.device | str) -> Posterior: ...

    @staticmethod
    def cat(parts: Sequence[Any]) -> Posterior: ...


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag(exp(logvar))) over the last dimension."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        shape = (num_samples, *self.mean.shape)
        noise = torch.randn(shape, dtype=self.mean.dtype, device=self.mean.device, generator=generator)
        return torch.addcmul(self.mean, self.std, noise)

    def rsample_with_log_prob(self, num_samples: int) -> tuple[Tensor, None]:
        return self.rsample(num_samples), None

    def log_prob(self, z: Tensor) -> Tensor:
        squared = (z - self.mean).square() * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + LOG_2PI).sum(-1)

    def log_prob_pairs(self, z: Tensor) -> Tensor:
        """Return log q_j(z_i) of points `z [M, D]` under each Gaussian of the batch, `[M, B]`, in float64.

        The square is expanded: this needs two matrix products instead of M x B x D numbers. In float64, the
        cancellation is harmless down to standard deviations of 1e-4.
        """
        z, mean, logvar = z.double(), self.mean.double(), self.logvar.double()
        precision = torch.exp(-logvar)
        constant = (mean.square() * precision + logvar + LOG_2PI).sum(-1)
        return z @ (mean * precision).T - 0.5 * (z.square() @ precision.T + constant)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: slice | Tensor) -> Gaussian:
        return Gaussian(self.mean[index], self.logvar[index])

    def to(self, device: torch.device | str) -> Gaussian:
        return Gaussian(self.mean.to(device), self.logvar.to(device))

    @staticmethod
    def cat(parts: Sequence[Gaussian]) -> Gaussian:
        return Gaussian(torch.cat([p.mean for p in parts]), torch.cat([p.logvar for p in parts]))


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I) over `dim` units, as a prior; its own class because its KL and density need no parameters."""

    dim: int
    like: Tensor
    """Any tensor with the dtype and device of the samples."""

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        like = self.like
        return torch.randn(num_samples, self.dim, dtype=like.dtype, device=like.device, generator=generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square().sum(-1) + self.dim * LOG_2PI)


def kl_divergence(q: Distribution, p: Distribution) -> Tensor | None:
    """Return KL(q || p) per latent unit `[B, D]` in nats, or None where there is no closed form.

    Gaussian against N(0, I): ½ (μ² + σ² − log σ² − 1), Kingma & Welling (2014), appendix B.
    """
    if isinstance(q, Gaussian) and isinstance(p, StandardNormal):
        return 0.5 * (q.mean.square() + torch.exp(q.logvar) - q.logvar - 1)
    if isinstance(q, Gaussian) and isinstance(p, Gaussian):
        log_ratio = q.logvar - p.logvar
        shift = (q.mean - p.mean).square() * torch.exp(-p.logvar)
        return 0.5 * (shift + torch.exp(log_ratio) - log_ratio - 1)
    return None


def log_mean_exp(log_values: Tensor, dim: int) -> Tensor:
    """Return the log of the mean of exp(log_values) along `dim`, without overflow."""
    return torch.logsumexp(log_values, dim) - math.log(log_values.shape[dim])


class _BernoulliLogProb(torch.autograd.Function):
    """x l - softplus(l), which backward differentiates any number of times in l, and vmap batches."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, x: Tensor) -> Tensor:
        softplus = logits.abs().neg_().exp_().add_(1).log_().add_(logits.relu())
        return torch.addcmul(softplus.neg_(), x, logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, x = ctx.saved_tensors
        return grad * (x - torch.sigmoid(logits)), None


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Return log p(x) of each binary x under Bernoulli(sigmoid(logits)), to a few 1e-7 nats.

    x gets no gradient. `logits` may have leading dimensions that x lacks. torch's softplus keeps relative
    precision where it is tiny, by a log1p that is scalar on CPUs and costs more than the matrix products of a
    small decoder. A log likelihood needs only absolute precision, which is five times as fast.
    """
    return _BernoulliLogProb.apply(logits, x)
