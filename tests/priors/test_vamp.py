"""The VampPrior is the mixture that its definition says."""

from __future__ import annotations

from functools import partial

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaebench.data.spec import DataSpec
from vaebench.models.latent import LatentModel
from vaebench.objectives.elbo import ELBO
from vaebench.priors.vamp import VampPrior
from vaebench.testing import latent_model

SPEC = DataSpec("toy", (1, 2, 3), "binary", None)


def model() -> LatentModel:
    torch.manual_seed(0)
    made = latent_model(SPEC, 3, depth=1)
    made.prior = VampPrior(3, SPEC.shape, num_components=4, init_mean=0.5, init_std=1.0)
    return made


def explicit(made: LatentModel) -> MixtureSameFamily:
    q = made.encode(made.prior.pseudo_inputs.clamp(0, 1))
    components = Independent(Normal(q.mean, q.std), 1)  # type: ignore[attr-defined]
    return MixtureSameFamily(Categorical(torch.ones(4)), components)


def test_density_is_the_explicit_mixture_of_posteriors_at_the_pseudo_inputs() -> None:
    made, z = model(), torch.randn(5, 7, 3)
    with torch.no_grad():
        torch.testing.assert_close(made.prior_distribution().log_prob(z), explicit(made).log_prob(z))


def test_draws_have_the_mixtures_mean_and_variance() -> None:
    made = model()
    with torch.no_grad():
        z, truth = made.prior_distribution().rsample(200_000), explicit(made)
    torch.testing.assert_close(z.mean(0), truth.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), truth.variance, atol=0.02, rtol=0)


def test_kl_is_taken_by_monte_carlo_and_reaches_the_pseudo_inputs() -> None:
    made = model()
    terms = made.terms(torch.ones(6, 1, 2, 3), num_samples=2)
    assert terms.kl is None
    objective = partial(ELBO, warmup_epochs=0.0, free_bits=0.0, num_samples=2)(10, made, beta=1.0)
    objective(terms, torch.zeros(()), made).total.backward()
    assert made.prior.pseudo_inputs.grad is not None
    assert made.prior.pseudo_inputs.grad.abs().sum() > 0
