"""InfoVAE: its MMD against the definition and closed forms, its corners against the ELBO."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.config.helpers import config_of, problems_of
from vaebench.errors import UserError
from vaebench.models.latent import LatentModel
from vaebench.objectives.elbo import ELBO
from vaebench.objectives.infovae import InfoVAE, Kernel, squared_mmd
from vaebench.terms import Terms
from vaebench.testing import latent_model, toy_spec

STEP = torch.zeros((), dtype=torch.int64)
KERNELS: list[Kernel] = ["rbf", "imq"]


def infovae(model: Any = None, **options: Any) -> InfoVAE:
    known = {"alpha": 0.25, "weight": 3.0, "kernel": "rbf", "bandwidth": 0.5, "num_samples": 1}
    return InfoVAE(10, model, **(known | options))


def similarity(u: list[float], v: list[float], kernel: Kernel, scale: float) -> float:
    squared = sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
    return math.exp(-squared / scale) if kernel == "rbf" else scale / (scale + squared)


def by_double_loop(a: Tensor, b: Tensor, kernel: Kernel, scale: float) -> float:
    """Gretton et al. (2012), eq. 3, term by term."""
    x, y, n = a.tolist(), b.tolist(), len(a)
    value = 0.0
    for i, j in product(range(n), repeat=2):
        if i != j:
            within = similarity(x[i], x[j], kernel, scale) + similarity(y[i], y[j], kernel, scale)
            value += within / (n * (n - 1))
        value -= 2 * similarity(x[i], y[j], kernel, scale) / n**2
    return value


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_the_double_loop_over_pairs(kernel: Kernel) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 9, 3, dtype=torch.float64), 0.5 * torch.randn(4, 9, 3, dtype=torch.float64) + 1
    expected = [by_double_loop(u, v, kernel, 1.7) for u, v in zip(a, b, strict=True)]
    assert squared_mmd(a, b, kernel, 1.7).tolist() == pytest.approx(expected, abs=1e-12)


def many(num: int, mean: float, std: float, repeats: int = 4000, dim: int = 2) -> Tensor:
    return mean + std * torch.randn(repeats, num, dim, dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_laws_have_zero_mmd_in_expectation(kernel: Kernel) -> None:
    """Five draws: one that counts each draw's distance to itself is 0.2 too high."""
    torch.manual_seed(0)
    values = squared_mmd(many(5, 1.0, 0.7), many(5, 1.0, 0.7), kernel, 2.0)
    error = float(values.std()) / len(values) ** 0.5
    assert abs(float(values.mean())) < 4 * error < 0.02
    assert (values < 0).any()


def expected_rbf(mean: float, variance: float, scale: float, dim: int) -> float:
    """E exp(-|u|^2 / h) for u ~ N(mean, variance I)."""
    spread = scale + 2 * variance
    return ((scale / spread) ** 0.5 * math.exp(-(mean**2) / spread)) ** dim


@pytest.mark.parametrize(("mean", "std"), [(1.0, 1.0), (0.0, 0.4), (-0.5, 2.0)])
def test_mmd_of_two_gaussians_is_the_closed_form(mean: float, std: float) -> None:
    torch.manual_seed(0)
    values = squared_mmd(many(10, mean, std), many(10, 0.0, 1.0), "rbf", 2.0)
    truth = (
        expected_rbf(0, 2 * std**2, 2.0, 2)
        + expected_rbf(0, 2.0, 2.0, 2)
        - 2 * expected_rbf(mean, 1 + std**2, 2.0, 2)
    )
    error = float(values.std()) / len(values) ** 0.5
    assert truth > 5 * error
    assert float(values.mean()) == pytest.approx(truth, abs=4 * error)


def test_imq_falls_to_a_half_at_its_scale_and_rbf_to_one_over_e() -> None:
    """Two points at the origin and two at distance sqrt(h): MMD^2 = 2 - 2 k(h)."""
    a, b = torch.zeros(2, 1), torch.full((2, 1), 3**0.5)
    assert float(squared_mmd(a, b, "imq", 3.0)) == pytest.approx(1.0)
    assert float(squared_mmd(a, b, "rbf", 3.0)) == pytest.approx(2 - 2 / math.e)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_has_the_gradient_of_finite_differences_also_where_draws_coincide(kernel: Kernel) -> None:
    torch.manual_seed(0)
    a = torch.randn(4, 2, dtype=torch.float64)
    a[1] = a[0]
    a.requires_grad_()
    b = torch.randn(4, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda u: squared_mmd(u, b, kernel, 1.3), (a,))


def test_one_draw_says_nothing_of_its_law() -> None:
    assert squared_mmd(torch.ones(3, 1, 2), torch.zeros(3, 1, 2), "rbf", 1.0).tolist() == [0, 0, 0]


def model_and_terms(num_samples: int = 1, num: int = 40) -> tuple[LatentModel, Terms]:
    torch.manual_seed(0)
    model = latent_model(toy_spec((6,)), 3, depth=1)
    return model, model.terms(torch.rand(num, 6).round(), num_samples)


def test_alpha_zero_and_weight_one_is_the_elbo() -> None:
    model, terms = model_and_terms()
    loss = infovae(model, alpha=0.0, weight=1.0)(terms, STEP, model)
    elbo = ELBO(10, model, beta=1.0, warmup_epochs=0, free_bits=0, num_samples=1)(terms, STEP, model)
    assert torch.equal(loss.total, elbo.total)
    assert {name: loss.parts[name] for name in elbo.parts} == elbo.parts
    assert loss.parts.keys() == elbo.parts.keys() | {"mmd"}


@pytest.mark.parametrize(("alpha", "weight"), [(1.0, 0.0), (1.0, 5.0), (0.25, 3.0), (-2.0, 3.0)])
def test_loss_weighs_kl_and_mmd_as_the_paper_does(alpha: float, weight: float) -> None:
    model, terms = model_and_terms()
    loss = infovae(model, alpha=alpha, weight=weight)(terms, STEP, model)
    kl, mmd = loss.parts["kl"], loss.parts["mmd"]
    expected = -loss.parts["reconstruction"] + (1 - alpha) * kl + (alpha + weight - 1) * mmd
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["elbo"], loss.parts["reconstruction"] - kl)
    torch.testing.assert_close(kl, terms.kl_per_datum.mean())


def test_mmd_is_of_each_draw_by_itself_against_fresh_draws_from_the_prior() -> None:
    model, terms = model_and_terms(num_samples=3)
    torch.manual_seed(1)
    mmd = infovae(model, kernel="imq", bandwidth=0.5)(terms, STEP, model).parts["mmd"]
    torch.manual_seed(1)
    prior = torch.randn(3 * 40, 3).view(3, 40, 3)
    expected = [by_double_loop(z, p, "imq", 0.5 * 3) for z, p in zip(terms.z, prior, strict=True)]
    assert float(mmd.detach()) == pytest.approx(sum(expected) / 3, abs=1e-6)


def test_without_kl_the_mmd_alone_pulls_the_code_to_the_prior() -> None:
    """Where the codes are too far to the right, a descent step on alpha = 1 moves them to the left."""
    model, _ = model_and_terms()
    with torch.no_grad():
        model.posterior.mean.bias += 2
    terms = model.terms(torch.rand(200, 6).round())
    mmd = infovae(model, alpha=1.0, bandwidth=2.0)(terms, STEP, model).parts["mmd"]
    (gradient,) = torch.autograd.grad(mmd, model.posterior.mean.bias)
    assert (gradient > 0.01).all()


@pytest.mark.parametrize(("alpha", "weight", "needed"), [(0.0, 0.5, "1"), (-2.0, 2.0, "3")])
def test_a_gain_for_distance_from_the_prior_is_refused(alpha: float, weight: float, needed: str) -> None:
    with pytest.raises(UserError, match=rf"^model\.objective: with alpha = .* must be {needed} or more\.$"):
        infovae(alpha=alpha, weight=weight)


def test_alpha_above_one_is_refused_and_the_family_is_the_objective_under_its_name() -> None:
    (problem,) = problems_of("model=infovae", "model.objective.alpha=1.5")
    assert problem == "model.objective.alpha = 1.5: expected 1 or less"
    family, swapped = config_of("model=infovae")["model"], config_of("model/objective=infovae")["model"]
    assert family.pop("name") != swapped.pop("name")
    assert family == swapped
