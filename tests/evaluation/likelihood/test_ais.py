"""The evaluator where log p(x) is known: probabilistic PCA, in float32 as models are."""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.counting import count_draws
from vaebench.distributions import Gaussian
from vaebench.evaluation import partial_results
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.likelihood.ais import AnnealedImportanceSampling
from vaebench.evaluation.likelihood.annealing import PILOTS
from vaebench.models.latent import LatentModel
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.priors.vamp import Mixture
from vaebench.testing import LinearGaussian, latent_model, make_context, measure, saved, toy_spec

TOY = LinearGaussian.make(gains=(1.5, 0.8))
WRONG = {"shift": 0.5, "log_ratio": 0.5}
SMALLEST = 1000.0  # bytes, which make the usual least number of rows a chunk, 64
KEY = "20_2_6_linear_{}"


def evaluator(**options: Any) -> AnnealedImportanceSampling:
    known: dict[str, Any] = {
        "num_data": None,
        "subset": "first",
        "num_simulated": 0,
        "num_chains": 6,
        "num_temperatures": 20,
        "num_leapfrog": 2,
        "schedule": "linear",
        "start": "prior",
    }
    return AnnealedImportanceSampling(**(known | options))


def remember_draws(model: LatentModel, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The data that the model draws from now on."""
    drawn: list[Tensor] = []
    draw = model.sample_x

    def remembering(z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn.append(draw(z, generator))
        return drawn[-1]

    monkeypatch.setattr(model, "sample_x", remembering)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.parametrize("batch_bytes", [SMALLEST, 2**24])
def test_the_estimate_is_within_its_error_of_log_px(tmp_path, start, batch_bytes):
    """Each datum's own; with SMALLEST, four data are a block."""
    x = TOY.sample(24)
    context = make_context(TOY.model(**WRONG), x, tmp_path, batch_bytes=batch_bytes)
    numbers = measure(evaluator(num_temperatures=40, num_chains=12, start=start), context)
    error = numbers["ais_mc_error"].value
    truth = TOY.log_px(x)
    assert 0.002 < error < 0.06
    assert abs(numbers["ais_nll_nats"].value + float(truth.mean())) < 3 * error
    arrays = saved(context, f"ais_40_2_12_linear_{start}_24")
    assert np.corrcoef(arrays["log_px"], truth)[0, 1] > 0.98
    assert numbers["ais_nll_nats"].value == pytest.approx(-arrays["log_px"].mean())
    spread = arrays["log_px"].std(ddof=1) / 24**0.5
    assert numbers["ais_nll_nats"].standard_error == pytest.approx(spread)
    assert numbers["ais_mc_ess"].value == pytest.approx(np.quantile(arrays["ess"], 0.5), rel=0.05)
    expected = ((12 / arrays["ess"] - 1) / 11).sum() ** 0.5 / 24
    assert error == pytest.approx(expected)
    assert 0.5 < numbers["ais_acceptance"].value < 0.8


@pytest.mark.parametrize("num_simulated", [0, 5])
def test_from_the_exact_posterior_the_estimate_is_log_px_and_the_bounds_meet(tmp_path, num_simulated):
    x = TOY.sample(10)
    context = make_context(TOY.model(), x, tmp_path)
    numbers = measure(evaluator(start="posterior", num_simulated=num_simulated), context)
    arrays = saved(context, f"ais_{KEY.format('posterior')}_10")
    np.testing.assert_allclose(arrays["log_px"], TOY.log_px(x), rtol=0, atol=5e-5)
    np.testing.assert_allclose(arrays["ess"], 6, rtol=1e-5)
    if num_simulated:
        assert abs(numbers["bdmc_gap_nats"].value) < 1e-4
    else:
        assert not any(name.startswith("bdmc") for name in numbers)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_the_bounds_enclose_log_px_of_the_data_drawn_from_the_model(tmp_path, monkeypatch, start):
    model = TOY.model(shift=1.5)
    drawn = remember_draws(model, monkeypatch)
    context = make_context(model, TOY.sample(2), tmp_path, batch_bytes=SMALLEST)
    options = {"num_simulated": 300, "num_temperatures": 4, "num_chains": 2, "start": start}
    numbers = measure(evaluator(**options), context)
    arrays = saved(context, f"bdmc_4_2_2_linear_{start}_300")
    x = torch.cat(drawn)
    assert len(x) == 300
    truth = TOY.log_px(x).numpy()
    for sign, name in ((1, "lower"), (-1, "upper")):
        slack = sign * (truth - arrays[name])
        assert slack.mean() > 3 * slack.std() / 300**0.5
        assert slack.mean() < 1
        assert np.corrcoef(truth, arrays[name])[0, 1] > 0.6
        assert numbers[f"bdmc_{name}_nats"].value == pytest.approx(arrays[name].mean())
    gap = arrays["upper"] - arrays["lower"]
    assert numbers["bdmc_gap_nats"].value == pytest.approx(gap.mean())
    assert numbers["bdmc_gap_nats"].standard_error == pytest.approx(gap.std(ddof=1) / 300**0.5)
    assert numbers["bdmc_gap_nats"].n == 300
    # The data are the model's: E log p(x) is minus the entropy of N(b, WW' + std^2 I).
    entropy = 3 * (1 + np.log(2 * np.pi)) + 6 * np.log(TOY.std) + TOY.mutual_information
    assert abs(truth.mean() + entropy) < 3 * truth.std() / 300**0.5


def test_a_prior_that_is_not_standard_is_the_one_that_is_integrated(tmp_path):
    """A mixture of two equal components N(m, s^2 I): p(x) = N(Wm + b, s^2 WW' + std^2 I)."""
    x = TOY.sample(30)
    mean, scale = torch.tensor([1.0, -0.5]), 0.5
    context = make_context(TOY.model(), x, tmp_path)
    components = Gaussian(mean.expand(2, 2), torch.full((2, 2), 2 * np.log(scale)))
    context.shared["prior"] = Mixture(components)
    moved = replace(TOY, weight=scale * TOY.weight, bias=TOY.bias + TOY.weight @ mean.double())
    numbers = measure(evaluator(num_temperatures=60, num_simulated=20), context)
    error = numbers["ais_mc_error"].value
    assert error < 0.05
    assert abs(numbers["ais_nll_nats"].value + float(moved.log_px(x).mean())) < 3 * error
    assert abs(numbers["bdmc_gap_nats"].value) < 0.3


@pytest.mark.parametrize("subset", ["first", "random"])
def test_the_chosen_test_data_are_measured_and_named(tmp_path, subset):
    context = make_context(TOY.model(), x := TOY.sample(30), tmp_path)
    numbers = measure(evaluator(num_data=8, subset=subset, start="posterior"), context)
    arrays = saved(context, f"ais_{KEY.format('posterior')}_8")
    assert (arrays["index"].tolist() == list(range(8))) == (subset == "first")
    np.testing.assert_allclose(arrays["log_px"], TOY.log_px(x[arrays["index"]]), rtol=0, atol=5e-5)
    assert numbers["ais_nll_nats"].n == 8


def test_the_estimate_depends_on_the_contexts_seed_alone_and_leaves_the_model(tmp_path):
    model = TOY.model(**WRONG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    context = make_context(model, TOY.sample(5), tmp_path)
    first, again = (measure(evaluator(num_simulated=4), context, seed=seed) for seed in (1, 2))
    assert first == again
    context.seed = 1
    other = measure(evaluator(num_simulated=4), context)
    assert all(other[name].value != first[name].value for name in first)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Stopped(BaseException):
    """As `Interrupted` is: no evaluation may catch it."""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_interrupted_anywhere_it_goes_on_to_the_bit_identical_result(tmp_path, monkeypatch, start):
    """Two blocks of test data, 2 x 4 temperatures, and two of drawn data, forward and back, 2 x 8: stopped
    in the first pass, between two blocks, before the drawn data, in a backward pass, before the last."""
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    model, x = TOY.model(**WRONG), TOY.sample(8)
    options = {"num_temperatures": 4, "num_chains": 5, "num_simulated": 9, "start": start}

    def context(folder: str, **fields: object):
        return make_context(model, x, tmp_path / folder, batch_bytes=SMALLEST, **fields)

    whole = context("whole")
    counts = count_draws(model, monkeypatch)
    expected = measure(evaluator(**options), whole)
    all_draws = sum(counts)
    names = [f"ais_4_2_5_linear_{start}_8", f"bdmc_4_2_5_linear_{start}_9"]
    for done in (2, 4, 8, 14, 17, 23):
        folder = f"cut{done}"
        left = iter(range(done))

        def stop(left=left) -> None:
            if next(left, None) is None:
                raise Stopped

        with pytest.raises(Stopped):
            measure(evaluator(**options), context(folder, check_stop=stop))
        counts.clear()
        torch.manual_seed(done)
        rest = context(folder)
        assert measure(evaluator(**options), rest, seed=9) == expected
        assert sum(counts) < all_draws * (1.25 - done / 24)
        for name in names:
            for key, array in saved(whole, name).items():
                np.testing.assert_array_equal(saved(rest, name)[key], array)
        assert list((rest.directory / "scratch").iterdir()) == []


def test_the_cost_is_what_the_docstring_says(tmp_path, monkeypatch):
    """But for one evaluation at the start of each pass, and a last temperature that no chain moves after."""
    model = TOY.model()
    counts = count_draws(model, monkeypatch)
    measure(evaluator(num_simulated=4), make_context(model, TOY.sample(3), tmp_path))
    assert sum(counts) == (2 * 19 + 1) * ((6 + PILOTS) * (3 + 4) + 6 * 4)


class NoDensity(LatentModel):
    has_density: ClassVar = False


class NotGaussian(DiagonalPosterior):
    is_gaussian = False


class Deaf(LatentModel):
    """A decoder that gives its code no gradient."""

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return super().decode(z, x)


def test_what_it_cannot_measure_is_not_applicable_with_the_reason(tmp_path):
    make = partial(latent_model, toy_spec((6,)), 2)
    context = partial(make_context, test=TOY.sample(3).gt(0).float(), directory=tmp_path)
    with pytest.raises(NotApplicableError, match="no likelihood"):
        measure(evaluator(), context(make(family=NoDensity)))
    with pytest.raises(NotApplicableError, match="density of a Gaussian"):
        measure(evaluator(start="posterior"), context(make(posterior=NotGaussian)))
    assert measure(evaluator(), context(make(posterior=NotGaussian)))
    deaf = make(family=Deaf)
    for parameter in deaf.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(NotApplicableError, match="no gradient in z"):
        measure(evaluator(), context(deaf))
