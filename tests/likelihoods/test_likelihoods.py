"""Tests of the Bernoulli and Gaussian likelihoods against torch's distributions and enumeration."""

import itertools

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.likelihoods.gaussian import Gaussian

SHAPE = (1, 2, 3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bernoulli_log_prob_is_minus_the_cross_entropy_of_each_sample_and_datum():
    logits, x = 3 * normal(4, 5, *SHAPE), normal(5, *SHAPE, seed=1).gt(0).double()
    loss = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    torch.testing.assert_close(Bernoulli(SHAPE).log_prob(x, logits), -loss.sum((-3, -2, -1)))


def test_bernoulli_probabilities_of_all_binary_vectors_sum_to_one():
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    log_prob = Bernoulli((3,)).log_prob(x, 2 * normal(3))
    torch.testing.assert_close(log_prob.exp().sum(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_with_extreme_logits_is_neither_clamped_nor_infinite(dtype):
    likelihood, logits = Bernoulli((2,)), torch.tensor([1000.0, -1000.0], dtype=dtype, requires_grad=True)
    wrong = likelihood.log_prob(torch.tensor([0.0, 1.0], dtype=dtype), logits)
    assert wrong.item() == -2000
    assert likelihood.log_prob(torch.tensor([1.0, 0.0], dtype=dtype), logits).item() == 0
    (gradient,) = torch.autograd.grad(wrong, logits)
    assert gradient.tolist() == [-1, 1]


def test_bernoulli_mean_and_draws_follow_the_logits():
    likelihood, logits = Bernoulli((3,)), torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(likelihood.mean(logits), 1 / (1 + torch.exp(-logits)))
    draws = likelihood.sample(logits.expand(40_000, 3), torch.Generator().manual_seed(0))
    assert set(draws.unique().tolist()) == {0, 1}
    torch.testing.assert_close(draws.mean(0), torch.sigmoid(logits), rtol=0, atol=0.01)


@pytest.mark.parametrize("std", [0.1, 0.5**0.5, 3.0])
def test_gaussian_log_prob_is_torchs_summed_over_pixels(std):
    mean, x = normal(4, 5, *SHAPE), normal(5, *SHAPE, seed=1)
    likelihood = Gaussian(SHAPE, std=std, learn_std=False, mean="linear").double()
    expected = Normal(mean, torch.tensor(std, dtype=torch.float64)).log_prob(x).sum((-3, -2, -1))
    torch.testing.assert_close(likelihood.log_prob(x, mean), expected, rtol=1e-6, atol=1e-6)


def test_gaussian_with_variance_one_half_is_the_squared_error_up_to_a_constant():
    x, mean = normal(8, *SHAPE), normal(8, *SHAPE, seed=1)
    rest = Gaussian(SHAPE, std=0.5**0.5, learn_std=False, mean="linear").log_prob(x, mean) + (
        x - mean
    ).square().sum((1, 2, 3))
    torch.testing.assert_close(rest, rest[:1].expand(8))


def test_gaussian_learns_its_std_by_the_gradient_of_the_log_density():
    """d/dlog_std of sum_d log N(x_d; m_d, std^2) is sum_d (x_d - m_d)^2 / std^2 - 1."""
    x, mean = normal(*SHAPE), normal(*SHAPE, seed=1)
    likelihood = Gaussian(SHAPE, std=0.8, learn_std=True, mean="linear").double()
    likelihood.log_prob(x, mean).backward()
    expected = ((x - mean).square() / 0.8**2 - 1).sum()
    torch.testing.assert_close(likelihood.log_std.grad, expected, rtol=1e-6, atol=0)


def test_gaussian_with_a_fixed_std_has_nothing_to_learn():
    assert not any(
        p.requires_grad for p in Gaussian(SHAPE, std=1.0, learn_std=False, mean="linear").parameters()
    )


def test_gaussian_draws_have_its_std_and_its_mean_is_the_decoders():
    likelihood, mean = Gaussian((3,), std=0.3, learn_std=False, mean="linear"), torch.tensor([-1.0, 0.0, 5.0])
    assert torch.equal(likelihood.mean(mean), mean)
    noise = likelihood.sample(mean.expand(40_000, 3), torch.Generator().manual_seed(0)) - mean
    torch.testing.assert_close(noise.std(0), torch.full((3,), 0.3), rtol=0.02, atol=0)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), rtol=0, atol=0.01)


def test_gaussian_with_a_squashed_mean_is_the_linear_one_at_the_sigmoid_of_the_output():
    output, x = 3 * normal(4, 5, *SHAPE), normal(5, *SHAPE, seed=1).sigmoid()
    squashed, linear = (
        Gaussian(SHAPE, std=0.3, learn_std=False, mean=mean).double() for mean in ("sigmoid", "linear")
    )
    mean = 1 / (1 + torch.exp(-output))
    torch.testing.assert_close(squashed.mean(output), mean)
    torch.testing.assert_close(squashed.log_prob(x, output), linear.log_prob(x, mean))
    draws = [
        each.sample(at, torch.Generator().manual_seed(0)) for each, at in ((squashed, output), (linear, mean))
    ]
    torch.testing.assert_close(*draws)
