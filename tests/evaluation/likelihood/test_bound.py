"""ELBO, reconstruction and KL where each is known: probabilistic PCA."""

import math

import numpy as np
import pytest

from tests.counting import count_draws
from tests.stopped import Stopped, stopping_after
from vaebench.distributions import StandardNormal, kl_divergence
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.testing import LinearGaussian, OpaquePosterior, make_context, measure, saved

TOY = LinearGaussian.make(gains=(1.5, 0.8))
WRONG = {"shift": 0.4, "log_ratio": -0.5}


def kl(x, **wrong):
    """KL(q || N(0, I)) per unit, `[N, D]`."""
    q = TOY.posterior(x, **wrong)
    return kl_divergence(q, StandardNormal(2, like=q.mean))


def reconstruction(x, **wrong):
    """E_q log p(x|z) = -1/2 [|x - Wm - b|^2 + sum_d w_d^2 s_d^2] / v - P/2 log 2 pi v, v = std^2"""
    q = TOY.posterior(x, **wrong)
    squared = (x.double() - q.mean @ TOY.weight.T - TOY.bias).square().sum(1)
    spread = (TOY.weight.square().sum(0) * q.logvar.exp()).sum(1)
    return -0.5 * ((squared + spread) / TOY.std**2 + x.shape[1] * math.log(2 * math.pi * TOY.std**2))


@pytest.mark.parametrize("wrong", [{"shift": 0.0, "log_ratio": 0.0}, WRONG], ids=["exact", "wrong"])
def test_elbo_and_its_halves_equal_their_closed_forms(wrong, tmp_path):
    x = TOY.sample(200)
    context = make_context(TOY.model(**wrong), x, tmp_path)
    numbers = measure(EvidenceLowerBound(num_samples=500), context)
    draws_error = 4 * 2 / (500 * 200) ** 0.5  # log p(x|z) varies by less than 2 nats over draws
    assert numbers["kl"].value == pytest.approx(float(kl(x, **wrong).sum(1).mean()), abs=1e-5)
    assert numbers["reconstruction"].value == pytest.approx(
        float(reconstruction(x, **wrong).mean()), abs=draws_error
    )
    elbo = float(TOY.log_px(x).mean()) - TOY.gap(**wrong)
    assert numbers["elbo"].value == pytest.approx(elbo, abs=draws_error)
    halves = numbers["reconstruction"].value - numbers["kl"].value
    assert numbers["elbo"].value == pytest.approx(halves, abs=1e-9)
    np.testing.assert_allclose(saved(context, "kl_per_unit")["kl"], kl(x, **wrong).mean(0), atol=1e-5)


def test_standard_errors_are_over_data(tmp_path):
    x = TOY.sample(200)
    numbers = measure(EvidenceLowerBound(num_samples=300), make_context(TOY.model(), x, tmp_path))
    for name, values in (
        ("kl", kl(x).sum(1)),
        ("reconstruction", reconstruction(x)),
        ("elbo", TOY.log_px(x)),
    ):
        assert numbers[name].standard_error == pytest.approx(float(values.std()) / 200**0.5, rel=0.02)
        assert numbers[name].n == 200
        with np.load(next((tmp_path / "arrays").glob("bound_*.npz"))) as stored:
            assert stored[name].mean() == pytest.approx(numbers[name].value, abs=1e-9)


def test_kl_without_closed_form_is_measured_on_the_same_draws(tmp_path):
    """With the exact posterior log p(x|z) + log p(z) - log q(z|x) is log p(x) at every z."""
    x = TOY.sample(100)
    context = make_context(TOY.model(posterior=OpaquePosterior), x, tmp_path)
    numbers = measure(EvidenceLowerBound(num_samples=200), context)
    assert numbers["elbo"].value == pytest.approx(float(TOY.log_px(x).mean()), abs=5e-5)
    assert numbers["kl"].value == pytest.approx(float(kl(x).sum(1).mean()), abs=4 / (100 * 200) ** 0.5)
    assert {path.name for path in (tmp_path / "arrays").iterdir()} == {"bound_200.npz"}


@pytest.mark.parametrize(("num_samples", "batch_bytes"), [(1, 1.0), (3, 1.0), (100, 1.0), (3, 2**24)])
def test_every_datum_meets_its_own_posterior_in_batches_of_any_size(
    num_samples, batch_bytes, tmp_path, monkeypatch
):
    """Mixing up rows between batches would cost nats; the last batch is ragged."""
    x = TOY.sample(130)
    model = TOY.model(posterior=OpaquePosterior)
    counts = count_draws(model, monkeypatch)
    context = make_context(model, x, tmp_path, batch_bytes=batch_bytes)
    elbo = measure(EvidenceLowerBound(num_samples=num_samples), context)["elbo"].value
    assert elbo == pytest.approx(float(TOY.log_px(x).mean()), abs=5e-5)
    assert sum(counts) == 130 * num_samples


def test_it_stops_between_chunks_and_begins_again_to_the_same_bits(tmp_path, monkeypatch):
    """Of three chunks of 64 data at most, two before it is stopped."""
    x, model = TOY.sample(130), TOY.model(**WRONG)
    fields = {"batch_bytes": 1.0}
    expected = measure(EvidenceLowerBound(num_samples=1), make_context(model, x, tmp_path, **fields))
    counts = count_draws(model, monkeypatch)
    context = make_context(model, x, tmp_path, check_stop=stopping_after(2), **fields)
    with pytest.raises(Stopped):
        measure(EvidenceLowerBound(num_samples=1), context)
    assert len(counts) == 2
    assert sum(counts) < 130
    assert measure(EvidenceLowerBound(num_samples=1), make_context(model, x, tmp_path, **fields)) == expected
