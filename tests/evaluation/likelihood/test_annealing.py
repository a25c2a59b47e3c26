"""Annealed importance weights where the integral is known, in float64."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from vaebench.distributions import Distribution, Gaussian, StandardNormal
from vaebench.evaluation.likelihood.annealing import PILOTS, Annealing, Chains, temperatures
from vaebench.evaluation.likelihood.hmc import Densities
from vaebench.priors.vamp import Mixture
from vaebench.testing import LinearGaussian

TOY = LinearGaussian.make(gains=(1.5, 0.8))
X = TOY.sample(2, seed=1).double()
LOG_PX = TOY.log_px(X)
PRIOR = StandardNormal(2, like=LOG_PX)


def log_px_z(z: Tensor, x: Tensor = X) -> Tensor:
    squared = (x - z @ TOY.weight.T - TOY.bias).square() / TOY.std**2
    return -0.5 * (squared + math.log(2 * math.pi * TOY.std**2)).sum(-1)


def from_prior(z: Tensor) -> tuple[Tensor, Tensor]:
    return PRIOR.log_prob(z), log_px_z(z)


def from_base(base: Distribution, prior: Distribution = PRIOR) -> Densities:
    return lambda z: (base.log_prob(z), log_px_z(z) + prior.log_prob(z) - base.log_prob(z))


def generator(*seeds: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash(seeds) % 2**31)


def forward(annealing: Annealing, densities: Densities, z: Tensor, seed: int = 0) -> Chains:
    chains = annealing.begin(densities, z)
    for number in range(annealing.num):
        annealing.forward(densities, chains, number, generator(seed, number))
    return chains


def backward(annealing: Annealing, densities: Densities, z: Tensor, after: Chains, seed: int = 1) -> Chains:
    chains = annealing.begin(densities, z, after.log_steps)
    for number in range(annealing.num):
        annealing.backward(densities, chains, number, generator(seed, number))
    return chains


def prior_draws(num: int, seed: int = 0) -> Tensor:
    return PRIOR.rsample((PILOTS + num) * 2, generator(seed)).unflatten(0, (PILOTS + num, 2))


def posterior_draws(num: int, seed: int = 0) -> Tensor:
    return TOY.posterior(X).rsample(num, generator(seed))


def assert_mean_is_one(ratios: Tensor, worst_error: float = 0.03) -> None:
    """The mean over chains `[K, B]` is 1 within its standard error, which is small enough to say so."""
    error = ratios.std(0) / len(ratios) ** 0.5
    assert error.max() < worst_error
    assert ((ratios.mean(0) - 1).abs() < 3.5 * error).all()


def test_temperatures_go_from_zero_to_one_evenly_or_as_a_sigmoid():
    assert temperatures("linear", 4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    betas = temperatures("sigmoid", 4)

    def sigmoid(u: float) -> float:
        return 1 / (1 + math.exp(-u))

    expected = [(sigmoid(u) - sigmoid(-4)) / (sigmoid(4) - sigmoid(-4)) for u in (-4, -2, 0, 2, 4)]
    assert betas == pytest.approx(expected, abs=1e-12)
    assert betas[0] == 0
    assert betas[-1] == 1


@pytest.mark.parametrize("schedule", ["linear", "sigmoid"])
@pytest.mark.parametrize("num", [2, 8])
def test_forward_weights_have_the_mean_px(schedule, num):
    annealing = Annealing(temperatures(schedule, num), num_leapfrog=2)
    chains = forward(annealing, from_prior, prior_draws(20_000))
    assert_mean_is_one((chains.log_w[PILOTS:] - LOG_PX).exp(), worst_error=0.06)


def test_backward_weights_have_the_mean_of_one_over_px():
    annealing = Annealing(temperatures("linear", 12), num_leapfrog=2)
    after = forward(annealing, from_prior, prior_draws(4))
    chains = backward(annealing, from_prior, posterior_draws(20_000), after)
    assert_mean_is_one((LOG_PX - chains.log_w).exp())


def test_forward_and_backward_weights_obey_crooks_relation():
    """E_backward[g(w)] = E_forward[g(w) w] / p(x), here for g(w) = 1 / (w + p(x)), which is bounded.

    At temperatures that read otherwise from the other end.
    """
    annealing = Annealing([0.0, 0.02, 0.08, 0.2, 0.5, 1.0], num_leapfrog=2)
    first = forward(annealing, from_prior, prior_draws(20_000))
    last = backward(annealing, from_prior, posterior_draws(20_000), first)
    fermi_forward = torch.sigmoid(first.log_w[PILOTS:] - LOG_PX)
    fermi_backward = torch.sigmoid(LOG_PX - last.log_w)
    error = ((fermi_forward.var(0) + fermi_backward.var(0)) / 20_000).sqrt()
    assert error.max() < 0.005
    assert ((fermi_forward.mean(0) - fermi_backward.mean(0)).abs() < 3.5 * error).all()


def test_one_temperature_is_importance_sampling_from_the_prior():
    z = prior_draws(50)
    annealing = Annealing([0.0, 1.0], num_leapfrog=3)
    chains = forward(annealing, from_prior, z)
    torch.testing.assert_close(chains.log_w, log_px_z(z))
    log_px, ess, acceptance = annealing.log_z(chains, backward=False)
    w = log_px_z(z)[PILOTS:].exp()
    torch.testing.assert_close(log_px, w.mean(0).log())
    torch.testing.assert_close(ess, w.sum(0).square() / w.square().sum(0))
    assert not acceptance.any()
    exact = posterior_draws(7)
    upper, ess, _ = annealing.log_z(backward(annealing, from_prior, exact, chains), backward=True)
    inverse = 1 / log_px_z(exact).exp()
    torch.testing.assert_close(upper, -inverse.mean(0).log())
    torch.testing.assert_close(ess, inverse.sum(0).square() / inverse.square().sum(0))


@pytest.mark.parametrize("num", [1, 5])
def test_from_the_exact_posterior_every_weight_is_px(num):
    densities = from_base(TOY.posterior(X))
    annealing = Annealing(temperatures("sigmoid", num), num_leapfrog=2)
    first = forward(annealing, densities, posterior_draws(PILOTS + 3))
    last = backward(annealing, densities, posterior_draws(3), first)
    for chains in (first, last):
        torch.testing.assert_close(chains.log_w, LOG_PX.expand_as(chains.log_w))


def test_from_a_wrong_posterior_the_weights_still_have_the_mean_px():
    base = TOY.posterior(X, shift=0.5, log_ratio=0.5)
    annealing = Annealing(temperatures("linear", 3), num_leapfrog=2)
    chains = forward(annealing, from_base(base), base.rsample(PILOTS + 20_000, generator(0)))
    assert_mean_is_one((chains.log_w[PILOTS:] - LOG_PX).exp())


def test_a_mixture_prior_is_as_good_as_any():
    """p(x) is the mean over components of N(x; W m + b, W S W' + std^2 I)."""
    components = Gaussian(torch.tensor([[1.0, 0.5], [-1.0, 0.0]]).double(), torch.full((2, 2), -1.0).double())
    prior = Mixture(components)
    noise = TOY.std**2 * torch.eye(6, dtype=torch.float64)
    parts = [
        torch.distributions.MultivariateNormal(
            TOY.weight @ mean + TOY.bias, TOY.weight @ logvar.exp().diag() @ TOY.weight.T + noise
        ).log_prob(X)
        for mean, logvar in zip(components.mean, components.logvar, strict=True)
    ]
    log_px = torch.logsumexp(torch.stack(parts), 0) - math.log(2)
    z = prior.rsample((PILOTS + 20_000) * 2, generator(0)).unflatten(0, (PILOTS + 20_000, 2))
    annealing = Annealing(temperatures("sigmoid", 8), num_leapfrog=2)
    chains = forward(annealing, from_base(prior, prior), z)
    assert_mean_is_one((chains.log_w[PILOTS:] - log_px).exp())


def test_more_temperatures_bring_the_bounds_together():
    gaps = []
    for num in (8, 32, 128):
        annealing = Annealing(temperatures("linear", num), num_leapfrog=3)
        first = forward(annealing, from_prior, prior_draws(500))
        last = backward(annealing, from_prior, posterior_draws(500), first)
        lower, upper = first.log_w[PILOTS:].mean(0), last.log_w.mean(0)
        assert (lower < LOG_PX).all()
        assert (upper > LOG_PX).all()
        gaps.append(float((upper - lower).mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]  # in the limit as 1 / T


def test_step_sizes_follow_the_pilots_alone_and_each_datum_its_own():
    annealing = Annealing(temperatures("linear", 40), num_leapfrog=2)
    z = prior_draws(10)
    other = z.clone()
    other[PILOTS:] = 3 * z[PILOTS:].flip(0)
    run = partial(forward, annealing, from_prior)
    first, second = run(z), run(other)
    torch.testing.assert_close(first.log_steps, second.log_steps, rtol=0, atol=1e-12)
    assert not torch.equal(first.log_w[PILOTS:], second.log_w[PILOTS:])
    other = z.clone()
    other[:PILOTS] += 1
    assert not torch.equal(run(other).log_steps, first.log_steps)
    assert (first.log_steps[-1, 0] - first.log_steps[-1, 1]).abs() > 1e-3


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_step_sizes_reach_the_acceptance_that_is_aimed_at(gain):
    """Also where the target is thirty times as narrow as the prior."""

    def densities(z: Tensor) -> tuple[Tensor, Tensor]:
        return PRIOR.log_prob(z), -0.5 * (gain * z).square().sum(-1)

    annealing = Annealing(temperatures("sigmoid", 200), num_leapfrog=2)
    chains = forward(annealing, densities, prior_draws(30))
    _, _, acceptance = annealing.log_z(chains, backward=False)
    assert acceptance.mean() == pytest.approx(0.65, abs=0.08)
    step = chains.log_steps[-20:].mean().exp()
    assert step == pytest.approx(1.45 / (1 + gain**2) ** 0.5, rel=0.3)


def test_chains_come_back_from_their_arrays():
    annealing = Annealing(temperatures("linear", 3), num_leapfrog=2)
    chains = forward(annealing, from_prior, prior_draws(3))
    back = Chains.of_arrays(chains.arrays(), torch.device("cpu"))
    assert vars(back).keys() == vars(chains).keys()
    for name in ("log_w", "log_steps", "acceptance"):
        assert torch.equal(getattr(back, name), getattr(chains, name))
    for name, value in vars(chains.point).items():
        assert torch.equal(getattr(back.point, name), value)
