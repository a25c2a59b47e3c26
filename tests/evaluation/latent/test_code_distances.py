"""Distances of codes from their centre, where the codes are drawn from N(0, I)."""

import numpy as np
import pytest
import torch
from scipy.stats import chi, kstest
from torch import Tensor

from vaebench.evaluation.base import Context
from vaebench.evaluation.latent import code_distances as distances
from vaebench.evaluation.latent.code_distances import CodeDistances
from vaebench.testing import LinearGaussian, identity_model, make_context, measure, saved


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Of other random numbers than `measure` draws codes with."""
    seed += 1000
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 10, 40])
def test_codes_from_the_standard_normal_have_distances_from_chi(dim, tmp_path):
    """Half of the variance is the posterior's own: means alone would be too near by sqrt(1/2)."""
    x = 3 + normal(5000, dim) * 0.5**0.5  # the centre does not matter
    context = make_context(identity_model((dim,), std=0.5**0.5), x, tmp_path)
    numbers = measure(CodeDistances(num_data=None), context)
    arrays = saved(context, "code_distances")
    assert kstest(arrays["distance"], chi(dim).cdf).pvalue > 0.01
    np.testing.assert_allclose(arrays["published"] * dim, arrays["distance"])
    law = chi(dim)
    for name, scale in (("code_distance", 1), ("code_distance_published", dim)):
        for suffix, expected in (("", law.mean()), ("_sd", law.std())):
            number = numbers[name + suffix]
            assert number.value * scale == pytest.approx(expected, abs=4 * number.standard_error * scale)
            assert number.n == 5000
    mean = numbers["code_distance"]
    relative = numbers["code_distance_relative"]
    assert relative.value == pytest.approx(1 - 1 / (4 * dim), abs=0.04 / dim + 4 * relative.standard_error)
    assert relative.value * dim**0.5 == pytest.approx(mean.value)
    assert relative.standard_error * dim**0.5 == pytest.approx(mean.standard_error)


def test_mean_and_deviation_are_those_of_the_filed_distances(tmp_path):
    context = make_context(identity_model((3,), std=0.5), 2 * normal(7, 3), tmp_path)
    numbers = measure(CodeDistances(num_data=None), context)
    distance = saved(context, "code_distances")["distance"]
    assert numbers["code_distance"].value == pytest.approx(distance.mean())
    assert numbers["code_distance"].standard_error == pytest.approx(distance.std(ddof=1) / 7**0.5)
    assert numbers["code_distance_sd"].value == pytest.approx(distance.std(ddof=1))
    assert numbers["code_distance_published_sd"].value == pytest.approx(distance.std(ddof=1) / 3)


def test_standard_errors_are_the_spread_over_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(distances, "draw", lambda *_: None)
    monkeypatch.setattr(Context, "save_figure", lambda *_: None)
    runs = []
    for seed in range(40):
        context = make_context(identity_model((3,), std=0.5), normal(200, 3, seed=seed), tmp_path)
        runs.append(measure(CodeDistances(num_data=None), context, seed))
    for name in ("code_distance", "code_distance_sd"):
        spread = np.std([run[name].value for run in runs], ddof=1)
        assert 1 / 1.5 < spread / np.mean([run[name].standard_error for run in runs]) < 1.5


def test_the_first_data_are_taken_and_their_own_mean_is_the_centre(tmp_path):
    """The others are elsewhere; codes are the data but for 1e-6."""
    x = torch.cat([normal(50, 4), 100 + normal(50, 4, seed=1)])
    context = make_context(identity_model((4,), std=1e-6), x, tmp_path)
    numbers = measure(CodeDistances(num_data=50), context)
    expected = (x[:50] - x[:50].mean(0)).norm(dim=1).numpy()
    np.testing.assert_allclose(saved(context, "code_distances")["distance"], expected, atol=1e-4)
    assert numbers["code_distance"].n == 50


@pytest.mark.slow
def test_the_figure_has_the_density_of_the_prior_at_both_scales(tmp_path, monkeypatch):
    shown = []
    original = distances.draw
    monkeypatch.setattr(distances, "draw", lambda *given: shown.append(original(*given)) or shown[-1])
    context = make_context(identity_model((10,)), normal(100, 10), tmp_path)
    measure(CodeDistances(num_data=None), context)
    assert (tmp_path / "figures/code_distances.png").read_bytes().startswith(b"\x89PNG")
    for axis, scale in zip(shown[0].axes, (1, 10), strict=True):
        r, density = axis.lines[0].get_data()
        assert np.trapezoid(density, r) == pytest.approx(1, abs=0.01)
        assert r[density.argmax()] * scale == pytest.approx(3, abs=0.05)  # the mode is sqrt(D - 1)
        bars = sum(bar.get_height() * bar.get_width() for bar in axis.patches)
        assert bars == pytest.approx(1)


def test_codes_that_are_all_one_have_no_spread(tmp_path):
    numbers = measure(
        CodeDistances(num_data=None),
        make_context(identity_model((2,), std=1e-30), torch.ones(9, 2), tmp_path),
    )
    assert numbers["code_distance_sd"].value == numbers["code_distance_sd"].standard_error == 0


def test_codes_of_an_exact_posterior_are_spread_as_the_prior(tmp_path):
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    numbers = measure(CodeDistances(num_data=None), make_context(toy.model(), toy.sample(4000), tmp_path))
    assert numbers["code_distance"].value == pytest.approx(
        chi(2).mean(), abs=4 * numbers["code_distance"].standard_error
    )
