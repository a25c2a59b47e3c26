"""Mutual autoencoder: an ELBO with a penalty that holds a bound on the mutual information at a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaebench.distributions import Gaussian
from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.objectives.elbo import ELBO
from vaebench.parts import Loss
from vaebench.ranges import Count, NonNegative
from vaebench.terms import Terms

Estimator = Literal["straight_through", "mean"]
"""Input of r. straight_through: samples from p(x|z), with the gradient of their mean (exact where the noise
is added to the mean, biased for binary x). mean: E[x|z]; Ihat is then a bound on I(z; E[x|z]), which no noise
limits, and no longer on I(x; z)."""


class MAE(ELBO):
    """loss = -ELBO + weight |Ihat - M|, Phuong et al. (2018); Zheng et al. (2019, arXiv 1807.03723), eq. 14.

    Ihat = H(z) + E log r_w(z|x) over z ~ p(z), x ~ p(x|z) is a lower bound on the model's I(x; z), with
    equality at r = p(z|x) (Barber & Agakov 2003). `information` is M, in nats. H(z) is estimated by -log p(z)
    at the samples of z: this works for every prior, and has no noise where r is the prior. I(x; z) may exceed
    the differential entropy H(z), and so may Ihat, but not with an r whose log variances are above
    -log(2 pi).

    r_w is a separate encoder, `network`, with Gaussian heads, whose log variance is clamped to
    `logvar_range`. It always maximises E log r, at the constant learning rate of `optimizer`; the penalty
    trains only the decoder (and a prior that has parameters). Raises UserError for autoregressive decoders.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        model: Model,
        *,
        information: NonNegative,
        weight: NonNegative,
        estimator: Estimator,
        network: Callable[..., Any],
        logvar_range: tuple[float, float] | None,
        optimizer: Callable[..., torch.optim.Optimizer],
        beta: NonNegative,
        warmup_epochs: NonNegative,
        free_bits: NonNegative,
        num_samples: Count,
    ) -> None:
        if not (model.has_density and model.decodes_in_parallel):
            raise UserError(
                "model.objective: MAE samples x at every step, so it needs a non-autoregressive decoder; "
                "use model/decoder=mlp."
            )
        super().__init__(
            steps_per_epoch,
            model,
            beta=beta,
            warmup_epochs=warmup_epochs,
            free_bits=free_bits,
            num_samples=num_samples,
        )
        self.information = information
        self.weight = weight
        self.estimator = estimator
        self.inverse = Inverse(network(model.spec.shape), model.latent_dim, logvar_range)
        self.optimizer = optimizer

    def auxiliary_optimizer(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())

    def forward(self, terms: Terms, step: Tensor, model: Model) -> Loss:
        elbo = super().forward(terms, step, model)
        z = terms.p.rsample(len(terms.q))  # [B, D]
        x = self.read(z, model)
        # Above M, the penalty would make r worse, and Ihat would no longer be near I(x; z).
        constant = {name: parameter.detach() for name, parameter in self.inverse.named_parameters()}
        log_r = functional_call(self.inverse, constant, (x,)).log_prob(z)
        mi_bound = (log_r - terms.p.log_prob(z)).mean()
        penalty = (mi_bound - self.information).abs()
        return Loss(
            total=elbo.total + self.weight * penalty,
            parts=elbo.parts | {"mi_bound": mi_bound, "penalty": penalty},
            auxiliary=-self.inverse(x.detach()).log_prob(z.detach()).mean(),
        )

    def read(self, z: Tensor, model: Model) -> Tensor:
        """Return the input of r for each code `z [B, D]`, `[B, *shape]`, with a gradient in the decoder."""
        mean = model.decode_mean(z.unsqueeze(0)).squeeze(0)
        if self.estimator == "mean":
            return mean
        with torch.no_grad():
            sample = model.sample_x(z)
        return sample + (mean - mean.detach())


class Inverse(nn.Module):
    """r_w(z|x) = N(mean(x), diag(exp(logvar(x)))), both heads linear in an encoder's features."""

    def __init__(self, network: Any, latent_dim: int, logvar_range: tuple[float, float] | None) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Linear(network.out_features, latent_dim)
        self.logvar = nn.Linear(network.out_features, latent_dim)
        self.logvar_range = logvar_range

    def forward(self, x: Tensor) -> Gaussian:
        features = self.network(x)
        logvar = self.logvar(features)
        if self.logvar_range is not None:
            logvar = logvar.clamp(*self.logvar_range)
        return Gaussian(self.mean(features), logvar)
