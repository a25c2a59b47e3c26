"""Tests of the discretised logistic against torch's logistic, exact arithmetic and enumeration."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor
from torch.distributions import AffineTransform, SigmoidTransform, TransformedDistribution, Uniform

from vaebench.likelihoods.discretized_logistic import DiscretizedLogistic, censored_mean, draw, log_mass

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def levels(*shape: int) -> Tensor:
    return LEVELS[torch.randint(256, shape, generator=torch.Generator().manual_seed(3))]


def likelihood(*shape: int) -> DiscretizedLogistic:
    return DiscretizedLogistic(shape, log_scale_range=(-4.5, 0))


def naive_mass(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute the difference of torch's distribution function at the edges of each bin."""
    base = Uniform(torch.zeros_like(mean), torch.ones_like(mean))
    logistic = TransformedDistribution(
        base, [SigmoidTransform().inv, AffineTransform(mean, log_scale.exp())], validate_args=False
    )
    upper = torch.where(x == 1, 1.0, logistic.cdf(x + 0.5 / 255))
    return upper - torch.where(x == 0, 0.0, logistic.cdf(x - 0.5 / 255))


def exact_log_mass(level: int, mean: float, log_scale: float) -> float:
    with localcontext() as context:
        context.prec = 400

        def cdf(edge: str) -> Decimal:
            z = (Decimal(edge) / 255 - Decimal(mean)) / Decimal(log_scale).exp()
            return 1 / (1 + (-z).exp())

        upper = cdf(f"{level}.5") if level < 255 else Decimal(1)
        lower = cdf(f"{level - 1}.5") if level > 0 else Decimal(0)
        return float((upper - lower).ln())


def test_mass_is_the_difference_of_torchs_distribution_function() -> None:
    mean, log_scale = uniform(20, 1), -3 * uniform(20, 1, seed=1)
    x = LEVELS.expand(20, 256)
    expected = naive_mass(x, mean.expand_as(x), log_scale.expand_as(x))
    torch.testing.assert_close(log_mass(x, mean, log_scale).exp(), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("log_scale", [-6.0, -4.5, 0.0, 8.0])
@pytest.mark.parametrize("mean", [-0.3, 0.25, 1.0])
def test_log_mass_is_exact_in_the_tails_and_at_both_ends(mean: float, log_scale: float) -> None:
    level = [0, 1, 63, 64, 128, 254, 255]
    x = torch.tensor(level, dtype=torch.float64) / 255
    expected = torch.tensor([exact_log_mass(k, mean, log_scale) for k in level], dtype=torch.float64)
    found = log_mass(x, *torch.tensor([mean, log_scale], dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    single = log_mass(x.float(), torch.tensor(mean), torch.tensor(log_scale)).double()
    torch.testing.assert_close(single, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("log_scale", [-20.0, -7.0, -4.5, 0.0, 7.0])
@pytest.mark.parametrize("mean", [-1e4, -0.2, 0.0, 0.501, 1.0, 1e4])
def test_masses_of_256_levels_sum_to_one(mean: float, log_scale: float) -> None:
    log_masses = log_mass(LEVELS, torch.tensor(mean).double(), torch.tensor(log_scale).double())
    assert float(log_masses.logsumexp(0).abs()) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_for_every_level_and_extreme_parameters(dtype: torch.dtype) -> None:
    extremes = torch.tensor([-1e6, -30.0, 0.0, 0.7, 30.0, 1e6], dtype=dtype)
    parameters = torch.cartesian_prod(extremes, extremes).view(-1, 2, 1, 1).requires_grad_()
    x = LEVELS.to(dtype).view(256, 1, 1, 1, 1)
    log_prob = likelihood(1, 1, 1).log_prob(x, parameters)
    assert log_prob.isfinite().all()
    (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
    assert gradient.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    x, parameters = LEVELS[[0, 3, 200, 255]].view(4, 1, 1, 1), normal(4, 2, 1, 1).requires_grad_()
    parameters = (parameters - torch.tensor([0.0, 2.0]).view(2, 1, 1)).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: likelihood(1, 1, 1).log_prob(x, p), (parameters,))


def test_means_pass_a_sigmoid_and_both_are_clamped() -> None:
    model, x = likelihood(3, 1, 1), LEVELS[[9, 120, 250]].view(3, 1, 1)
    logits, log_scale = torch.tensor([-50.0, 0.4, 50.0]).double(), torch.tensor([-9.0, -2.0, 5.0]).double()
    parameters = torch.cat([logits, log_scale]).view(6, 1, 1)
    mean = torch.tensor([1 / 512, 1 / (1 + 2.718281828459045**-0.4), 511 / 512]).double()
    expected = naive_mass(x.flatten(), mean, torch.tensor([-4.5, -2.0, 0.0]).double()).log().sum()
    torch.testing.assert_close(model.log_prob(x, parameters), expected, rtol=1e-7, atol=0)


def test_log_prob_sums_over_pixels_for_each_sample_and_datum() -> None:
    model, parameters = likelihood(2, 3, 4), normal(5, 6, 4, 3, 4)
    parameters[:, :, 2:] = parameters[:, :, 2:].abs() - 2.5  # no mass that torch's difference loses
    x = levels(6, 2, 3, 4)
    assert model.parameter_shape == (4, 3, 4)
    mean = torch.sigmoid(parameters[:, :, :2]).clamp(1 / 512, 511 / 512)
    log_scale = parameters[:, :, 2:].clamp(-4.5, 0)
    expected = naive_mass(x.expand_as(mean), mean, log_scale).log().sum((2, 3, 4))
    torch.testing.assert_close(model.log_prob(x, parameters), expected, rtol=1e-7, atol=0)


def test_stored_levels_in_single_precision_stay_in_their_bins() -> None:
    """Data are uint8 * (1/255) in float32: rounding must not move a level to another bin."""
    x = torch.arange(256, dtype=torch.uint8).float() * (1 / 255)
    mean, log_scale = torch.tensor(0.4), torch.tensor(-3.0)
    expected = log_mass(LEVELS, mean.double(), log_scale.double())
    found = log_mass(x, mean, log_scale)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for rounding in (-1e-6, 1e-6):
        assert torch.equal(log_mass(x + rounding, mean, log_scale), found)


def test_mean_is_the_mean_over_the_levels() -> None:
    parameters = torch.cartesian_prod(torch.linspace(-8, 8, 17), torch.linspace(-5, 1, 7))
    parameters = parameters.double().view(-1, 2, 1, 1)
    model = likelihood(1, 1, 1)
    masses = model.log_prob(LEVELS.view(256, 1, 1, 1, 1), parameters).exp()
    exact = (masses * LEVELS.unsqueeze(-1)).sum(0)
    torch.testing.assert_close(model.mean(parameters).flatten(), exact, rtol=0, atol=1.5e-5)


def test_mean_of_extreme_laws_stays_in_range() -> None:
    mean = censored_mean(torch.tensor([-1e6, 0.3, 0.3, 1e6]), torch.tensor([-4.5, -20.0, 7.0, 7.0]))
    torch.testing.assert_close(mean, torch.tensor([0.0, 0.3, 0.5, 1.0]), rtol=0, atol=1e-3)


def chi_square_z(counts: Tensor, probabilities: Tensor) -> float:
    """Compute (chi^2 - df) / sqrt(2 df) over levels expected at least five times; the rest is one cell."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts = torch.cat([counts[~rare], counts[rare].sum().view(1)]).double()
    expected = torch.cat([expected[~rare], expected[rare].sum().view(1)])
    if expected[-1] < 5:
        assert counts[-1] < 20
        counts, expected = counts[:-1], expected[:-1]
    degrees = max(len(counts) - 1, 1)
    return float(((counts - expected).square() / expected).sum() - degrees) / (2 * degrees) ** 0.5


@pytest.mark.parametrize(("logit", "log_scale"), [(0.3, -3.0), (-4.0, -2.0), (6.0, -4.5), (0.0, 0.0)])
def test_draws_follow_the_masses(logit: float, log_scale: float) -> None:
    model, parameters = likelihood(1, 1, 1), torch.tensor([logit, log_scale]).view(1, 2, 1, 1).double()
    draws = model.sample(parameters.expand(50_000, 2, 1, 1), torch.Generator().manual_seed(0))
    counts = torch.bincount((draws.flatten() * 255).round().long(), minlength=256)
    torch.testing.assert_close(draws, (draws * 255).round() / 255, rtol=0, atol=0)
    masses = model.log_prob(LEVELS.view(256, 1, 1, 1), parameters).exp()
    assert abs(chi_square_z(counts, masses)) < 4


def test_draws_are_of_the_decoders_shape_and_a_generators() -> None:
    model, parameters = likelihood(3, 2, 2), normal(5, 6, 2, 2)
    first, again = (model.sample(parameters, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (5, 3, 2, 2)
    assert torch.equal(first, again)
    pixel = model.sample(parameters[..., :1, :1], torch.Generator().manual_seed(1))
    assert pixel.shape == (5, 3, 1, 1)


def test_the_least_uniform_number_gives_the_first_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert draw(torch.tensor([0.7]), torch.tensor([-2.0]), None).tolist() == [0.0]
