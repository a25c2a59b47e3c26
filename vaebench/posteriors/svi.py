"""Semi-amortised posterior: the encoder's Gaussian, refined by SVI (Kim et al. 2018, arXiv 1802.02550)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from vaebench.distributions import Gaussian
from vaebench.errors import UserError
from vaebench.parts import ELBOFunction
from vaebench.posteriors.descent import Descent
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.posteriors.second_derivatives import Energy, shortened
from vaebench.ranges import Count, Momentum, NonNegativeInt, Positive

Gradient = Literal["unrolled", "finite_difference", "as_published", "first_order"]
"""Gradient through the refinement, for the encoder, and for the decoder in addition to its gradient at the
refined q. unrolled: the exact derivative through all steps. finite_difference: the same by differences of
gradients; noisy in float32, useless in bfloat16. as_published: that of the authors' code, whose
clips leave little of the derivative and much of the ELBO's own gradients (second_derivatives.Published).
first_order: q_K - q_0 is treated as independent of q_0 and of the decoder."""

Together = Literal["datum", "batch"]
"""Scope of one clip. batch: the mean (or log variance) of all data, as in the authors' code, in training; in
evaluation, the same as datum. datum: each datum on its own, to clip_norm / sqrt(divisor), which is the norm
of each of `divisor` data of equal norm whose joint norm is clip_norm."""


class SVIPosterior(DiagonalPosterior):
    """Diagonal Gaussian of the encoder, whose mean and log variance are then refined by `num_steps` of SVI:

    v_{k+1} = momentum v_k - g_k, lambda_{k+1} = lambda_k + lr v_{k+1}, g_k = -d ELBO / d lambda_k / divisor,

    with the objective's KL weight at this training step, and one sample of z. `divisor` is the batch size of
    the authors, who average over the batch before they differentiate: with 50, the step of a datum is 1/50 of
    lr, in a batch of any size; with 1 it is lr. g is clipped to `clip_norm`, separately for mean and log
    variance.

    In training, every datum and step has fresh noise. In evaluation, the noise of a step is the same for all
    data and at every call; it is sampled once, from the seed of the model's weights. So q depends on x alone,
    not on the rest of the batch, and shared noise cannot make a unit look active. No standard error includes
    the effect of this noise; other seeds have other noise.

    With `clip_back`, the gradient that comes back through the steps is clipped to `clip_norm` at each of
    them, mean, log variance and all data together; so is the contribution of each step to the gradient of the
    weights, as in the authors' code. Without it the gradient is exact, and grows without bound where the
    steps are too long for the ELBO's curvature, which happens during training.
    `logvar_range` holds before and after the refinement. `epsilon` is the step of the finite differences.
    """

    is_amortised = False

    noise: Tensor

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        *,
        logvar_range: tuple[float, float] | None,
        num_steps: NonNegativeInt,
        lr: Positive,
        momentum: Momentum,
        divisor: Count,
        clip_norm: Positive | None,
        clip_over: Together,
        clip_back: bool,
        gradient: Gradient,
        epsilon: Positive,
    ) -> None:
        super().__init__(in_features, latent_dim, logvar_range=logvar_range)
        if gradient == "as_published" and (clip_norm is None or not clip_back):
            raise UserError(
                "model.posterior.gradient=as_published requires clip_norm and clip_back=true; set "
                "model.posterior.clip_norm=5 and model.posterior.clip_back=true."
            )
        self.descent = Descent(num_steps, lr, momentum, self.clip, clip_norm if clip_back else None)
        self.divisor = divisor
        self.clip_norm = clip_norm
        self.clip_over = clip_over
        self.gradient = gradient
        self.epsilon = epsilon
        # A separate generator, so that the initial weights do not depend on the number of steps.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        self.register_buffer("noise", torch.randn(num_steps, latent_dim, generator=generator))

    def forward(self, features: Tensor, elbo: ELBOFunction) -> Gaussian:
        start = torch.stack([self.mean(features), self.logvar(features)])
        energy = self.energy(elbo)
        if not torch.is_grad_enabled():
            refined = self.descent.end(energy, start)
        elif self.gradient == "unrolled":
            with twice_differentiable(elbo):
                refined = self.descent.unrolled(energy, start, elbo.parameters)
        elif self.gradient == "finite_difference":
            refined = self.descent.by_differences(energy, start, elbo.parameters, self.epsilon)
        elif self.gradient == "as_published":
            refined = self.descent.as_published(energy, start, elbo.parameters, self.epsilon)
        else:
            refined = start + (self.descent.end(energy, start) - start).detach()
        return self.gaussian(*refined)

    def energy(self, elbo: ELBOFunction) -> Energy:
        """Return -ELBO / divisor, summed over a batch, as a function of `[mean, logvar]`, `[2, B, D]`."""
        seeds = torch.randint(2**62, (self.descent.num_steps,)).tolist() if self.training else []

        def energy(point: Tensor, step: int) -> Tensor:
            q = self.gaussian(*point)
            with repeatable(seeds[step], point.device) if self.training else nullcontext():
                noise = torch.randn_like(q.mean) if self.training else self.noise[step]
                z = torch.addcmul(q.mean, q.std, noise).unsqueeze(0)
                return -elbo(q, z).sum() / self.divisor

        return energy

    def clip(self, slope: Tensor) -> Tensor:
        """Return `slope [2, B, D]`, clipped to the norm `clip_norm`."""
        if self.clip_norm is None:
            return slope
        whole = self.clip_over == "batch" and self.training
        longest = self.clip_norm if whole else self.clip_norm / self.divisor**0.5
        return shortened(slope, longest, dim=(1, 2) if whole else 2)


def twice_differentiable(elbo: ELBOFunction) -> AbstractContextManager[Any]:
    """Return a context without cuDNN for recurrent decoders: its LSTM has no second derivatives."""
    return torch.backends.cudnn.flags(enabled=False) if elbo.is_recurrent else nullcontext()


@contextmanager
def repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Use the random numbers of `seed` within the context, and restore the former state after it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
