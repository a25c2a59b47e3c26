"""Densities, divergences and numerics against torch's own, Monte Carlo and finite differences."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl
from torch.nn import functional as F

from vaebench.distributions import Gaussian, StandardNormal, bernoulli_log_prob, kl_divergence, log_mean_exp
from vaebench.testing import Opaque


def gaussian(batch: int, dim: int, seed: int, std: float = 1.0) -> Gaussian:
    """Random means, and log variances spread around that of `std`; float64."""
    generator = torch.Generator().manual_seed(seed)
    mean, spread = torch.randn(2, batch, dim, generator=generator, dtype=torch.float64)
    return Gaussian(mean, 2 * math.log(std) + spread)


def standard(dim: int) -> StandardNormal:
    return StandardNormal(dim, like=torch.zeros((), dtype=torch.float64))


def as_torch(p: Gaussian | StandardNormal) -> Normal:
    if isinstance(p, StandardNormal):
        return Normal(torch.zeros(p.dim, dtype=torch.float64), torch.ones(p.dim, dtype=torch.float64))
    return Normal(p.mean, p.std)


@pytest.mark.parametrize("p", [gaussian(5, 3, seed=1), standard(3)], ids=["gaussian", "standard"])
def test_log_prob_is_torchs_summed_over_units(p):
    z = gaussian(5, 3, seed=2).rsample(4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(p.log_prob(z), as_torch(p).log_prob(z).sum(-1))


@pytest.mark.parametrize("p", [standard(4), gaussian(6, 4, seed=3)], ids=["standard", "gaussian"])
def test_closed_form_kl_is_torchs_per_unit(p):
    q = gaussian(6, 4, seed=4)
    torch.testing.assert_close(kl_divergence(q, p), torch_kl(as_torch(q), as_torch(p)))


@pytest.mark.parametrize("p", [standard(3), gaussian(1, 3, seed=5)], ids=["standard", "gaussian"])
def test_closed_form_kl_is_the_mean_log_ratio_of_draws(p):
    q = gaussian(1, 3, seed=6)
    z = q.rsample(200_000, torch.Generator().manual_seed(1))
    ratio = (as_torch(q).log_prob(z) - as_torch(p).log_prob(z)).squeeze(1)
    error = ratio.std(0) / len(ratio) ** 0.5
    assert ((kl_divergence(q, p).squeeze(0) - ratio.mean(0)).abs() < 4 * error).all()


def test_kl_without_closed_form_is_none():
    q = gaussian(2, 3, seed=0)
    assert kl_divergence(Opaque(q), standard(3)) is None
    assert kl_divergence(standard(3), q) is None


@pytest.mark.parametrize("p", [gaussian(1, 3, seed=7, std=0.3), standard(3)], ids=["gaussian", "standard"])
def test_draws_have_the_moments_of_the_distribution_and_follow_the_generator(p):
    z = p.rsample(100_000, torch.Generator().manual_seed(2)).reshape(-1, 3)
    assert torch.equal(z, p.rsample(100_000, torch.Generator().manual_seed(2)).reshape(-1, 3))
    law = as_torch(p)
    assert ((z.mean(0) - law.mean).abs() < 4 * law.stddev / len(z) ** 0.5).all()
    torch.testing.assert_close(z.std(0), law.stddev.reshape(3), rtol=0.01, atol=0)


def test_draws_are_reparameterised():
    """dz/dmean = 1 and dz/dlogvar = (z - mean) / 2."""
    mean, logvar = (part.requires_grad_() for part in (torch.randn(4, 2), torch.randn(4, 2)))
    z = Gaussian(mean, logvar).rsample(3)
    by_mean, by_logvar = torch.autograd.grad(z.sum(), [mean, logvar])
    torch.testing.assert_close(by_mean, torch.full((4, 2), 3.0))
    torch.testing.assert_close(by_logvar, ((z - mean) / 2).sum(0))


@pytest.mark.parametrize("std", [1.0, 1e-2, 1e-4])
def test_pair_densities_are_those_of_each_pair(std):
    """The expanded square cancels; what is left must be right where it matters, at a Gaussian's own draws."""
    q = gaussian(20, 5, seed=8, std=std)
    z = q.rsample(1, torch.Generator().manual_seed(3))[0]
    direct = Normal(q.mean, q.std).log_prob(z.unsqueeze(1)).sum(-1)  # [M, B]
    pairs = q.log_prob_pairs(z)
    torch.testing.assert_close(pairs, direct, rtol=1e-9, atol=1e-5)
    torch.testing.assert_close(pairs.diagonal(), direct.diagonal(), rtol=0, atol=1e-5)


def test_pair_densities_of_float32_parameters_are_in_float64():
    q = gaussian(4, 2, seed=9)
    low = Gaussian(q.mean.float(), q.logvar.float())
    high = Gaussian(low.mean.double(), low.logvar.double())
    assert torch.equal(low.log_prob_pairs(low.mean), high.log_prob_pairs(high.mean))


def test_a_batch_cut_and_joined_is_the_batch():
    q = gaussian(7, 2, seed=10)
    joined = Gaussian.cat([q[:3], q[torch.arange(3, 7)]])
    assert len(joined) == 7
    assert torch.equal(joined.mean, q.mean)
    assert torch.equal(joined.logvar, q.logvar)


def softplus(logits):
    """-log p(0)."""
    return -bernoulli_log_prob(torch.zeros_like(logits), logits)


@pytest.mark.parametrize(
    ("dtype", "atol", "rtol"), [(torch.float64, 1e-14, 1e-14), (torch.float32, 2e-7, 1.2e-7)]
)
def test_bernoulli_log_prob_of_zero_is_minus_softplus_to_the_rounding_of_its_type(dtype, atol, rtol):
    """2e-7 absolute in float32; above 1, where float32 itself is coarser, to one unit in the last place."""
    x = torch.cat(
        [torch.linspace(-100, 100, 200_001, dtype=dtype), torch.tensor([-1e4, 0.0, 1e4], dtype=dtype)]
    )
    expected = F.softplus(x.double(), threshold=500)  # above which it returns x
    torch.testing.assert_close(softplus(x).double(), expected, atol=atol, rtol=rtol)


def test_bernoulli_log_prob_has_right_first_and_second_derivatives():
    x = torch.tensor([-30.0, -2.0, -0.1, 0.3, 5.0, 40.0], dtype=torch.float64, requires_grad=True)
    bits = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: bernoulli_log_prob(bits, logits), x)
    assert torch.autograd.gradgradcheck(lambda logits: bernoulli_log_prob(bits, logits), x)


def test_bernoulli_log_prob_and_its_derivatives_are_batched_by_vmap():
    x = torch.linspace(-5, 5, 12, dtype=torch.float64).view(3, 4)
    slope = torch.sigmoid(x)
    first = torch.func.grad(lambda row: softplus(row).sum())
    second = torch.func.grad(lambda row: first(row).sum())
    torch.testing.assert_close(torch.vmap(softplus)(x), F.softplus(x))
    torch.testing.assert_close(torch.vmap(first)(x), slope)
    torch.testing.assert_close(torch.vmap(second)(x), slope * (1 - slope))


@pytest.mark.parametrize("offset", [0.0, 1000.0, -1000.0])
def test_log_mean_exp_neither_overflows_nor_underflows(offset):
    values = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]], dtype=torch.float64)
    expected = values.exp().mean(1).log() + offset
    torch.testing.assert_close(log_mean_exp(values + offset, dim=1), expected)
