"""Semi-amortised inference: the encoder's Gaussian, refined for each datum (Kim et al. 2018, 1802.02550)."""

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
"""What the encoder learns from, and the decoder beside its own gradient at the refined q. unrolled: the
derivative through all steps, exactly. finite_difference: the same from differences of slopes; noisy in
float32, nothing but noise in bfloat16. as_published: what the authors' code makes of these, whose clips leave
little of the derivative and much of the ELBO's own slopes (second_derivatives.Published).
first_order: as if the way from q_0 to q_K did not depend on q_0 nor on the decoder."""

Together = Literal["datum", "batch"]
"""What one clip is over. batch: the mean (or log variance) of all data, as the authors' code, while the model
trains. datum: each datum's own, at the norm that it has where all in a batch of `divisor` have the same."""


class SVIPosterior(DiagonalPosterior):
    """The diagonal Gaussian of the encoder, mean and log variance then refined by `num_steps` of SVI:

    v_{k+1} = momentum v_k - g_k, lambda_{k+1} = lambda_k + lr v_{k+1}, g_k = -d ELBO / d lambda_k / divisor,

    with the KL weighed as the objective does at this step, and one draw of z. `divisor` stands for the
    authors' batch, over which they take the mean before they differentiate: with 50, a datum's step is 1/50
    of lr, in a batch of any size; with 1 it is lr. g is clipped to `clip_norm`, mean and log variance apart.

    While the model trains, every datum and step has fresh noise. In evaluation the noise of a step is the
    same for all data and at every call, drawn once, from the seed of the model's weights: q is then a
    function of x alone, whatever else is in the batch, and no unit looks active that only moved with noise.
    What another noise would have given is in no standard error; other seeds have other noise.

    With `clip_back` the gradient that comes back through the steps is clipped to `clip_norm` before each of
    them, mean and log variance and all data together, and so is all that a step adds to the gradient of the
    weights, as in the authors' code; without, it is exact, and grows without bound where the steps are long
    for the ELBO's curvature, which they become in training.
    `logvar_range` holds before and after. `epsilon` is the reach of differences.
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
                "model.posterior.gradient=as_published is made of clips; "
                "set model.posterior.clip_norm and clip_back=true."
            )
        self.descent = Descent(num_steps, lr, momentum, self.clip, clip_norm if clip_back else None)
        self.divisor = divisor
        self.clip_norm = clip_norm
        self.clip_over = clip_over
        self.gradient = gradient
        self.epsilon = epsilon
        # Of a generator apart, so that with any number of steps the weights start as they do without.
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
        """-ELBO / divisor, summed over a batch, at mean and log variance `[2, B, D]`."""
        seeds = torch.randint(2**62, (self.descent.num_steps,)).tolist() if self.training else []

        def energy(point: Tensor, step: int) -> Tensor:
            q = self.gaussian(*point)
            with repeatable(seeds[step], point.device) if self.training else nullcontext():
                noise = torch.randn_like(q.mean) if self.training else self.noise[step]
                z = torch.addcmul(q.mean, q.std, noise).unsqueeze(0)
                return -elbo(q, z).sum() / self.divisor

        return energy

    def clip(self, slope: Tensor) -> Tensor:
        """`[2, B, D]`, scaled down where it is longer than `clip_norm`."""
        if self.clip_norm is None:
            return slope
        whole = self.clip_over == "batch" and self.training
        longest = self.clip_norm if whole else self.clip_norm / self.divisor**0.5
        return shortened(slope, longest, dim=(1, 2) if whole else 2)


def twice_differentiable(elbo: ELBOFunction) -> AbstractContextManager[Any]:
    return torch.backends.cudnn.flags(enabled=False) if elbo.is_recurrent else nullcontext()


@contextmanager
def repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Within, the random numbers of `seed`; after, those of before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
