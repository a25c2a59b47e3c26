"""Tests of PixelCNN++'s mixture: channels by hand, probabilities by enumeration, samples by counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.likelihoods.test_discretized_logistic import LEVELS, chi_square_z, levels, naive_mass, normal
from vaebench.likelihoods.logistic_mixture import LogisticMixture


def mixture(channels: int = 3, num_components: int = 4, height: int = 2, width: int = 3) -> LogisticMixture:
    shape = (channels, height, width)
    return LogisticMixture(shape, num_components=num_components, log_scale_range=(-7, 7))


def parameters_of(model: LogisticMixture, *leading: int, height: int = 2, width: int = 3) -> Tensor:
    """Return random parameters with scales of 3 to 50 levels."""
    parameters = normal(*leading, model.parameter_shape[0], height, width)
    k, c = model.num_components, model.channels
    parameters[..., k + k * c : k + 2 * k * c, :, :] -= 2
    return parameters


def by_hand(x: Tensor, p: Tensor, k: int) -> float:
    """Compute log P of one pixel `x [C]` under `p [P]` with the formula of the paper, for data in [-1, 1]."""
    c, total = len(x), 0.0
    y = 2 * x - 1
    weights = torch.softmax(p[:k], 0)
    means, log_scales = p[k : k + k * c].view(k, c), p[k + k * c : k + 2 * k * c].view(k, c).clamp(-7, 7)
    coefficients = torch.tanh(p[k + 2 * k * c :]).view(k, -1)
    for i in range(k):
        mean = [means[i, d] for d in range(c)]
        if c == 3:
            alpha, beta, gamma = coefficients[i]
            mean[1] = mean[1] + alpha * y[0]
            mean[2] = mean[2] + beta * y[0] + gamma * y[1]
        product = weights[i]
        for d in range(c):
            # The naive mass is written for data from 0 to 1.
            product = product * naive_mass(x[d], (mean[d] + 1) / 2, log_scales[i, d] - math.log(2))
        total += float(product)
    return math.log(total)


@pytest.mark.parametrize("channels", [1, 3])
def test_log_prob_is_the_papers_sum_over_components_and_pixels(channels: int) -> None:
    model, x = mixture(channels), levels(5, channels, 2, 3)
    p = parameters_of(model, 2, 5)
    assert model.parameter_shape == ((4 * 3, 2, 3) if channels == 1 else (4 * 10, 2, 3))
    found = model.log_prob(x, p)
    assert found.shape == (2, 5)
    for s, b in ((0, 0), (1, 3)):
        expected = sum(by_hand(x[b, :, i, j], p[s, b, :, i, j], 4) for i in range(2) for j in range(3))
        assert float(found[s, b]) == pytest.approx(expected, rel=1e-8)


def test_one_components_mixture_of_one_channel_sums_to_one_and_so_do_many() -> None:
    for num in (1, 10):
        model = mixture(1, num, 1, 1)
        p = parameters_of(model, 7, height=1, width=1)
        total = model.log_prob(LEVELS.view(256, 1, 1, 1, 1), p).logsumexp(0)
        torch.testing.assert_close(total, torch.zeros(7).double(), rtol=0, atol=1e-10)


def marginal(model: LogisticMixture, p: Tensor, known: Tensor) -> Tensor:
    """Compute log P of the first channels `known [N, c]` of a pixel: the mixture without later factors."""
    k, c = model.num_components, known.shape[-1]
    fewer = mixture(c, k, 1, 1)
    logits, mean, log_scale, coefficients = p.flatten().split([k, 3 * k, 3 * k, 3 * k])
    kept = [
        mean.view(k, 3)[:, :c],
        log_scale.view(k, 3)[:, :c],
        coefficients.view(k, 3)[:, : c * (c - 1) // 2],
    ]
    parameters = torch.cat([logits, *(part.flatten() for part in kept)]).view(-1, 1, 1)
    return fewer.log_prob(known.view(-1, c, 1, 1), parameters)


def test_each_channel_sums_to_one_given_those_before_it() -> None:
    """P sums to 1 over 256^3 colours: sum_b P(r, g, b) = P(r, g), sum_g P(r, g) = P(r), sum_r P(r) = 1."""
    model = mixture(3, 4, 1, 1)
    p = parameters_of(model, height=1, width=1)
    known = levels(5, 3)
    for c in (3, 2, 1):
        joint = []
        for x in known:
            last = torch.cat([x[: c - 1].expand(256, c - 1), LEVELS.unsqueeze(1)], 1)
            log_prob = model.log_prob(last.view(256, 3, 1, 1), p) if c == 3 else marginal(model, p, last)
            joint.append(log_prob.logsumexp(0))
        before = marginal(model, p, known[:, : c - 1]) if c > 1 else torch.zeros(5).double()
        torch.testing.assert_close(torch.stack(joint), before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_are_finite_for_every_level_and_extreme_parameters(
    channels: int, dtype: torch.dtype
) -> None:
    model = mixture(channels, 3, 1, 1)
    size = torch.tensor([1.0, 100.0, 1e4], dtype=dtype).view(3, 1, 1, 1)
    parameters = (parameters_of(model, 3, height=1, width=1).to(dtype) * size).requires_grad_()
    x = LEVELS.to(dtype).view(256, 1, 1, 1, 1).expand(256, 1, channels, 1, 1)
    log_prob = model.log_prob(x, parameters)
    assert log_prob.isfinite().all()
    (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
    assert gradient.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    model, x = mixture(3, 2, 1, 1), LEVELS[[0, 77, 255]].view(3, 1, 1)
    parameters = parameters_of(model, 2, height=1, width=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: model.log_prob(x, p), (parameters,))


def test_single_precision_is_near_double() -> None:
    model, x = mixture(3), levels(5, 3, 2, 3)
    p = parameters_of(model, 5)
    single = model.log_prob(x.float(), p.float()).double()
    torch.testing.assert_close(single, model.log_prob(x, p), rtol=1e-5, atol=1e-3)


def test_mean_of_one_channel_is_the_mean_over_the_levels() -> None:
    model = mixture(1, 4, 1, 1)
    p = parameters_of(model, 9, height=1, width=1)
    masses = model.log_prob(LEVELS.view(256, 1, 1, 1, 1), p).exp()
    exact = (masses * LEVELS.unsqueeze(1)).sum(0)
    torch.testing.assert_close(model.mean(p).flatten(), exact, rtol=0, atol=1e-4)


def narrow() -> tuple[LogisticMixture, Tensor]:
    """Return two components of three channels, a few levels wide and inside [0, 1]: nothing is censored."""
    model, generator = mixture(3, 2, 1, 1), torch.Generator().manual_seed(5)
    logits, log_scales = torch.tensor([0.4, -0.3]), torch.full((6,), -4.5)
    means, coefficients = 0.15 * torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    return model, torch.cat([logits, means, log_scales, 2 * coefficients]).double().view(-1, 1, 1)


def test_mean_of_three_channels_is_that_of_many_draws() -> None:
    model, p = narrow()
    draws = model.sample(p.expand(40_000, *p.shape), torch.Generator().manual_seed(0)).view(-1, 3)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - model.mean(p).flatten()).abs() < 4 * error).all()


def test_draws_of_three_channels_follow_the_joint_masses_which_sum_to_one() -> None:
    """Counts blocks of 4 x 4 x 4 colours in a box that holds almost all of the probability."""
    model, p = narrow()
    draws = model.sample(p.expand(20_000, *p.shape), torch.Generator().manual_seed(0)).view(-1, 3)
    level = (draws * 255).round().long()
    first = level.min(0).values - 8
    blocks = (level.max(0).values + 8 - first) // 4 + 1
    axes = [start + torch.arange(4 * int(n)) for start, n in zip(first, blocks, strict=True)]
    colours = torch.cartesian_prod(*axes)
    assert 0 <= int(colours.min()) <= int(colours.max()) <= 255

    def counted(level: Tensor, weights: Tensor) -> Tensor:
        r, g, b = ((level - first) // 4).unbind(1)
        number = (r * blocks[1] + g) * blocks[2] + b
        return torch.bincount(number, weights, minlength=int(blocks.prod()))

    masses = model.log_prob((colours / 255).double().view(-1, 3, 1, 1), p).exp()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-4)
    counts = counted(level, torch.ones(len(level)).double())
    assert abs(chi_square_z(counts, counted(colours, masses))) < 4


@pytest.mark.parametrize("num_components", [1, 4])
def test_draws_of_one_channel_follow_the_masses(num_components: int) -> None:
    model = mixture(1, num_components, 1, 1)
    p = parameters_of(model, height=1, width=1)
    draws = model.sample(p.expand(50_000, *p.shape), torch.Generator().manual_seed(0))
    counts = torch.bincount((draws.flatten() * 255).round().long(), minlength=256)
    assert abs(chi_square_z(counts, model.log_prob(LEVELS.view(256, 1, 1, 1), p).exp())) < 4


def test_pixels_are_drawn_and_measured_one_by_one_as_the_whole_is() -> None:
    model, x = mixture(3), levels(5, 3, 2, 3)
    p = parameters_of(model, 5)
    total = torch.zeros(5).double()
    for i in range(2):
        for j in range(3):
            pixel = p[..., i : i + 1, j : j + 1]
            total = total + model.log_prob(x[..., i : i + 1, j : j + 1], pixel)
            assert model.sample(pixel).shape == (5, 3, 1, 1)
            torch.testing.assert_close(model.mean(pixel), model.mean(p)[..., i : i + 1, j : j + 1])
    torch.testing.assert_close(total, model.log_prob(x, p))


def test_draws_are_levels_by_a_generator() -> None:
    model = mixture(3)
    p = parameters_of(model, 5)
    first, again = (model.sample(p, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (5, 3, 2, 3)
    assert torch.equal(first, again)
    torch.testing.assert_close(first, (first * 255).round() / 255, rtol=0, atol=0)
