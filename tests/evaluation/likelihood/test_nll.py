"""The importance-sampled NLL where log p(x) is known: probabilistic PCA.

With the exact posterior every weight is p(x); with a shifted and widened one the weights' variance is known.
"""

import math

import numpy as np
import pytest
import torch

from tests.counting import count_draws
from tests.stopped import Stopped, stopping_after
from vaebench.evaluation import partial_results
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.testing import LinearGaussian, make_context, measure, saved

TOY = LinearGaussian.make(gains=(1.5, 0.8))
WRONG = {"shift": 0.3, "log_ratio": 0.4}
SMALLEST = 1000.0  # bytes, which make the usual least number of rows a chunk, 64
EXACT = 5e-5  # nats: float32 densities of a few units


def evaluator(num_samples: int, num_data: int | None = None) -> ImportanceSampledNLL:
    return ImportanceSampledNLL(num_samples=num_samples, num_data=num_data, subset="first")


@pytest.mark.parametrize("batch_bytes", [SMALLEST, 2**24])
@pytest.mark.parametrize("num_samples", [1, 7, 200])
def test_importance_sampled_nll_equals_closed_form_for_exact_posterior(num_samples, batch_bytes, tmp_path):
    x = TOY.sample(30)
    context = make_context(TOY.model(), x, tmp_path, batch_bytes=batch_bytes)
    numbers = measure(evaluator(num_samples), context)
    arrays = saved(context, f"nll_{num_samples}_{len(x)}")
    np.testing.assert_allclose(arrays["log_px"], TOY.log_px(x), rtol=0, atol=EXACT)
    np.testing.assert_allclose(arrays["ess"], num_samples, rtol=1e-6)  # of equal weights it is S
    assert numbers["nll_nats"].value == pytest.approx(-float(TOY.log_px(x).mean()), abs=EXACT)
    assert num_samples == 1 or numbers["nll_mc_error"].value < 1e-4
    assert numbers["ess_median"].value == pytest.approx(num_samples)
    assert numbers["bits_per_dim"].value == pytest.approx(numbers["nll_nats"].value / 6 / math.log(2))


@pytest.mark.slow
@pytest.mark.parametrize("batch_bytes", [SMALLEST, 1e5, 2**24])
def test_importance_sampled_nll_is_within_its_mc_error_of_closed_form_for_any_memory(batch_bytes, tmp_path):
    x, num = TOY.sample(100), 1000
    numbers = measure(evaluator(num), make_context(TOY.model(**WRONG), x, tmp_path, batch_bytes=batch_bytes))
    error = numbers["nll_mc_error"].value
    assert abs(numbers["nll_nats"].value + float(TOY.log_px(x).mean())) < 3 * error
    assert error == pytest.approx((TOY.relative_variance(**WRONG) / (num * len(x))) ** 0.5, rel=0.1)


def test_effective_sample_size_is_that_of_the_weights_law(tmp_path):
    """(sum w)^2 / sum w^2 tends to S / (1 + Var[w] / E[w]^2)."""
    numbers = measure(evaluator(5000), make_context(TOY.model(**WRONG), TOY.sample(40), tmp_path))
    expected = 5000 / (1 + TOY.relative_variance(**WRONG))
    assert numbers["ess_median"].value == pytest.approx(expected, rel=0.02)
    assert 0.9 * expected < numbers["ess_5_percent"].value < numbers["ess_median"].value


def test_one_sample_gives_minus_the_elbo_in_expectation(tmp_path):
    x = TOY.sample(40)
    context = make_context(TOY.model(**WRONG), x, tmp_path)
    elbo = float(TOY.log_px(x).mean()) - TOY.gap(**WRONG)
    values = []
    for seed in range(60):
        context.seed = seed
        values.append(-measure(evaluator(1), context)["nll_nats"].value)
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert abs(np.mean(values) - elbo) < 4 * error
    bound = measure(EvidenceLowerBound(num_samples=500), context)["elbo"].value
    assert bound == pytest.approx(elbo, abs=0.03)
    assert error < 0.3 * TOY.gap(**WRONG)  # it could tell the ELBO from log p(x)


def test_more_samples_tighten_the_bound_and_never_pass_log_px(tmp_path):
    """The gap is Var[w] / E[w]^2 / 2S to first order: 0.045 and 0.011 nats at S = 4 and 16."""
    x = TOY.sample(2000)
    context = make_context(TOY.model(**WRONG), x, tmp_path)
    above = {}
    for num in (1, 4, 16):
        numbers = measure(evaluator(num), context)
        above[num] = numbers["nll_nats"].value + float(TOY.log_px(x).mean())
        assert above[num] > (-3 * numbers["nll_mc_error"].value if num > 1 else 0)
    assert above[1] > 2 * above[4] > 4 * above[16]
    assert above[16] == pytest.approx(TOY.relative_variance(**WRONG) / 32, rel=0.5)


@pytest.mark.parametrize("batch_bytes", [SMALLEST, 2**24])
@pytest.mark.parametrize("num_samples", [1, 99, 100, 250])
def test_as_many_samples_are_used_as_are_asked_for(num_samples, batch_bytes, tmp_path, monkeypatch):
    model = TOY.model()
    counts = count_draws(model, monkeypatch)
    context = make_context(model, TOY.sample(5), tmp_path, batch_bytes=batch_bytes)
    numbers = measure(evaluator(num_samples), context)
    assert sum(counts) == 5 * num_samples
    assert max(counts) <= context.rows_per_chunk()
    assert numbers["importance_samples"].value == num_samples


@pytest.mark.parametrize("subset", ["first", "random"])
def test_the_chosen_test_data_are_measured_and_named(tmp_path, subset):
    x = TOY.sample(30)
    context = make_context(TOY.model(), x, tmp_path)
    numbers = measure(ImportanceSampledNLL(num_samples=3, num_data=8, subset=subset), context)
    arrays = saved(context, "nll_3_8")
    assert (arrays["index"].tolist() == list(range(8))) == (subset == "first")
    assert len(set(arrays["index"].tolist())) == 8
    np.testing.assert_allclose(arrays["log_px"], TOY.log_px(x[arrays["index"]]), rtol=0, atol=EXACT)
    assert numbers["nll_nats"].n == 8


def test_standard_error_is_over_data(tmp_path):
    context = make_context(TOY.model(), x := TOY.sample(30), tmp_path)
    numbers = measure(evaluator(10), context)
    expected = float(TOY.log_px(x).std()) / 30**0.5
    assert numbers["nll_nats"].standard_error == pytest.approx(expected, rel=1e-4)
    per_dim = numbers["bits_per_dim"].standard_error
    assert per_dim == pytest.approx(expected / 6 / math.log(2), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("batch_bytes", [SMALLEST, 2**24])
def test_mc_error_is_the_spread_over_seeds(batch_bytes, tmp_path):
    """Also where every datum is a block of its own: blocks must not share their random numbers."""
    context = make_context(TOY.model(**WRONG), TOY.sample(20), tmp_path, batch_bytes=batch_bytes)
    values, errors = [], []
    for seed in range(30):
        context.seed = seed
        numbers = measure(evaluator(200), context)
        values.append(numbers["nll_nats"].value)
        errors.append(numbers["nll_mc_error"].value)
    assert 1 / 1.5 < np.std(values, ddof=1) / np.mean(errors) < 1.5


def test_the_estimate_depends_on_the_contexts_seed_alone(tmp_path):
    context = make_context(TOY.model(**WRONG), TOY.sample(10), tmp_path)
    first, again = (measure(evaluator(20), context, seed=seed)["nll_nats"].value for seed in (1, 2))
    context.seed = 1
    assert first == again
    assert measure(evaluator(20), context)["nll_nats"].value != first


def test_interrupted_nll_goes_on_to_the_bit_identical_result(tmp_path, monkeypatch):
    """64 samples are a chunk, so that each datum is a block; the stop comes before the sixth of twelve."""
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    model, x = TOY.model(**WRONG), TOY.sample(12)

    def context(folder: str, **fields: object):
        return make_context(model, x, tmp_path / folder, batch_bytes=SMALLEST, **fields)

    whole = context("whole")
    expected = measure(evaluator(64), whole)
    with pytest.raises(Stopped):
        measure(evaluator(64), context("cut", check_stop=stopping_after(5)))
    counts = count_draws(model, monkeypatch)
    torch.manual_seed(123)
    rest = context("cut")
    assert measure(evaluator(64), rest, seed=9) == expected
    assert sum(counts) == 7 * 64
    for name, array in saved(whole, "nll_64_12").items():
        np.testing.assert_array_equal(saved(rest, "nll_64_12")[name], array)
    assert list((rest.directory / "scratch").iterdir()) == []


def test_a_newer_evaluator_does_not_go_on_from_an_olders_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    model, x = TOY.model(**WRONG), TOY.sample(12)
    fields = {"batch_bytes": SMALLEST}
    with pytest.raises(Stopped):
        measure(evaluator(64), make_context(model, x, tmp_path, check_stop=stopping_after(5), **fields))
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    monkeypatch.setattr(ImportanceSampledNLL, "version", ImportanceSampledNLL.version + 1)
    counts = count_draws(model, monkeypatch)
    measure(evaluator(64), make_context(model, x, tmp_path, **fields))
    assert sum(counts) == 12 * 64


def test_one_sample_shows_no_mc_error(tmp_path):
    numbers = measure(evaluator(1), make_context(TOY.model(**WRONG), TOY.sample(20), tmp_path))
    assert "nll_mc_error" not in numbers
    assert numbers["importance_samples"].value == 1
