"""The two inference gaps where each has a closed form: Gaussian posteriors, diagonal and not."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vaebench.distributions import StandardNormal, kl_divergence
from vaebench.evaluation import partial_results
from vaebench.evaluation.likelihood import posterior_gaps
from vaebench.evaluation.likelihood.posterior_gaps import PosteriorGaps, as_gaussian
from vaebench.models.latent import LatentModel
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.testing import LinearGaussian, OpaquePosterior, make_context, measure, saved, set_affine

TOY = LinearGaussian.make(gains=(1.5, 0.8))
TILTED = LinearGaussian(
    torch.tensor([[1.0, 0.6], [0.2, 0.9], [0.0, 0.1]], dtype=torch.float64),
    torch.zeros(3, dtype=torch.float64),
    0.8,
)
"""Its columns are not orthogonal: the exact posterior is correlated."""
SETTINGS = {
    "num_data": None,
    "subset": "first",
    "num_steps": 150,
    "lr": 0.1,
    "num_samples": 16,
    "num_importance": 2000,
}
SMALLEST = 1000.0  # of batch_bytes: 64 rows a chunk


class OpaqueUnknown(OpaquePosterior):
    is_gaussian = False


def evaluator(**settings: object) -> PosteriorGaps:
    return PosteriorGaps(**(SETTINGS | settings))


def gaps(model: LatentModel, x: Tensor, tmp_path, **settings: object) -> dict[str, float]:
    numbers = measure(evaluator(**settings), make_context(model, x, tmp_path))
    return {name: number.value for name, number in numbers.items()}


def collapsed(toy: LinearGaussian) -> LatentModel:
    """The toy's decoder, and N(0, I) as the posterior of every datum."""
    model = toy.model()
    set_affine(model.posterior.mean, 0.0, 0.0)
    set_affine(model.posterior.logvar, 0.0, 0.0)
    return model


def exact_kl(toy: LinearGaussian, x: Tensor) -> float:
    """Mean KL(p(z|x) || N(0, I))."""
    q = toy.posterior(x)
    return float(kl_divergence(q, StandardNormal(2, like=q.mean)).sum(1).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "log_ratio"), [(0.0, 0.0), (0.9, 0.0), (0.0, -0.8), (-0.6, 0.7)])
def test_gaps_to_a_diagonal_posterior_are_what_the_encoder_loses(shift, log_ratio, tmp_path):
    x = TOY.sample(40)
    numbers = gaps(TOY.model(shift, log_ratio), x, tmp_path)
    gap = TOY.gap(shift, log_ratio)
    assert numbers["amortisation_gap_nats"] == pytest.approx(gap, abs=0.02)
    assert numbers["approximation_gap_nats"] == pytest.approx(0, abs=0.01)
    assert numbers["inference_gap_nats"] == pytest.approx(gap, abs=0.02)
    q = TOY.posterior(x, shift, log_ratio)
    amortised = float(kl_divergence(q, StandardNormal(2, like=q.mean)).sum(1).mean())
    assert numbers["kl_amortised_nats"] == pytest.approx(amortised, abs=1e-5)
    assert numbers["kl_local_nats"] == pytest.approx(exact_kl(TOY, x), abs=0.05)
    assert numbers["ess_local_median"] > 0.95 * SETTINGS["num_importance"]


def test_local_posteriors_are_filed_with_what_they_were_measured_to_be(tmp_path):
    x = TOY.sample(30)
    context = make_context(TOY.model(shift=0.9), x, tmp_path)
    measure(evaluator(num_data=12, subset="random"), context)
    arrays = saved(context, "posterior_gaps")
    chosen = x[arrays["index"]]
    exact = TOY.posterior(chosen)
    assert arrays["index"].tolist() == context.subset(12, "random").tolist() != list(range(12))
    np.testing.assert_allclose(arrays["mean"], exact.mean, atol=0.05)
    np.testing.assert_allclose(arrays["logvar"], exact.logvar, atol=0.1)
    np.testing.assert_allclose(arrays["log_px"], TOY.log_px(chosen), atol=0.01)
    np.testing.assert_allclose(arrays["elbo_local"], TOY.log_px(chosen), atol=0.03)
    np.testing.assert_allclose(arrays["elbo_amortised"], TOY.log_px(chosen) - TOY.gap(0.9, 0.0), atol=0.15)


def test_gap_to_a_correlated_posterior_is_what_the_family_loses(tmp_path):
    """It has precision L = I + W'W / std^2. d KL / d v_d = L_dd / 2 - 1 / 2 v_d: the best diagonal Gaussian
    has precisions L_dd, and its KL to the exact one is 1/2 [sum_d log L_dd - log |L|]."""
    precision = torch.eye(2, dtype=torch.float64) + TILTED.weight.T @ TILTED.weight / TILTED.std**2
    expected = 0.5 * float(precision.diagonal().log().sum() - torch.logdet(precision))
    assert expected > 0.1
    model = TILTED.model()
    set_affine(model.posterior.mean, torch.linalg.solve(precision, TILTED.weight.T) / TILTED.std**2, 0.0)
    x = TILTED.sample(60)
    numbers = gaps(model, x, tmp_path)
    assert numbers["amortisation_gap_nats"] == pytest.approx(0, abs=0.01)
    assert numbers["approximation_gap_nats"] == pytest.approx(expected, abs=0.02)
    set_affine(model.posterior.logvar, 0.0, -precision.diagonal().log() + 0.9)
    numbers = gaps(model, x, tmp_path)
    assert numbers["amortisation_gap_nats"] == pytest.approx(math.exp(0.9) - 1 - 0.9, abs=0.02)
    assert numbers["approximation_gap_nats"] == pytest.approx(expected, abs=0.02)


def test_a_decoder_that_ignores_its_code_leaves_no_gap_and_no_active_unit(tmp_path):
    x = TOY.sample(40)
    model = collapsed(TOY)
    set_affine(model.decoder.output, 0.0, TOY.bias)
    numbers = gaps(model, x, tmp_path)
    for name in ("amortisation_gap_nats", "approximation_gap_nats", "inference_gap_nats", "kl_local_nats"):
        assert abs(numbers[name]) < 1e-4
    assert numbers["active_units_local"] == numbers["active_units_amortised"] == 0


def test_an_encoder_that_collapsed_is_told_from_a_decoder_that_did(tmp_path):
    """KL(N(0, I) || p(z|x)) = 1/2 sum_d [(1 + m_d^2) / v_d - 1 + log v_d] is all the encoder's."""
    x = TOY.sample(40)
    q = TOY.posterior(x)
    expected = 0.5 * ((1 + q.mean.square()) / q.logvar.exp() - 1 + q.logvar).sum(1).mean()
    numbers = gaps(collapsed(TOY), x, tmp_path)
    assert numbers["amortisation_gap_nats"] == pytest.approx(float(expected), rel=0.02)
    assert numbers["approximation_gap_nats"] == pytest.approx(0, abs=0.01)
    assert numbers["kl_amortised_nats"] == pytest.approx(0, abs=1e-9)
    assert numbers["kl_local_nats"] == pytest.approx(exact_kl(TOY, x), abs=0.05)
    assert (numbers["active_units_amortised"], numbers["active_units_local"]) == (0, 2)


def test_each_datum_takes_the_better_of_two_starts(tmp_path):
    """Thirty steps lead no further than 2. Two data of three begin at p(z|x) and far from N(0, I), the third
    the other way round."""
    x = torch.stack([TOY.bias + 20 * TOY.weight[:, 0], TOY.bias - 20 * TOY.weight[:, 0], TOY.bias]).float()
    model = TOY.model()
    encode = model.encode

    def misled(batch: Tensor):
        q = encode(batch)
        q.mean[2] += 30
        return q

    model.encode = misled
    numbers = gaps(model, x, tmp_path, num_steps=30)
    assert numbers["local_from_prior"] == pytest.approx(1 / 3)
    elbos = saved(make_context(model, x, tmp_path), "posterior_gaps")
    np.testing.assert_array_equal(elbos["from_prior"], [0, 0, 1])
    np.testing.assert_allclose(elbos["elbo_local"], TOY.log_px(x), atol=1)
    assert numbers["amortisation_gap_nats"] > 100


def test_the_better_start_is_chosen_on_other_draws_than_it_is_measured_on(tmp_path):
    """Where nothing moves and one draw decides, the chosen of two cannot be better than the better."""
    x = TOY.sample(400)
    toy_gap = TOY.gap(0.0, 1.5)
    q = TOY.posterior(x)
    from_prior = 0.5 * ((1 + q.mean.square()) / q.logvar.exp() - 1 + q.logvar).sum(1)
    still = {"num_steps": 1, "lr": 1e-9, "num_importance": 1}
    context = make_context(TOY.model(log_ratio=1.5), x, tmp_path)
    measure(evaluator(**still), context)
    arrays = saved(context, "posterior_gaps")
    assert 0.1 < arrays["from_prior"].mean() < 0.9
    best = TOY.log_px(x) - from_prior.clamp(max=toy_gap)
    below = best.numpy() - arrays["elbo_local"]
    assert below.mean() > -2 * below.std() / 400**0.5


def test_a_posterior_that_is_no_gaussian_is_measured_by_its_draws(tmp_path):
    """Under another name the numbers are those of the Gaussian that it is."""
    x = TOY.sample(40)
    numbers = gaps(TOY.model(0.9, 0.3, posterior=OpaqueUnknown), x, tmp_path)
    assert numbers["amortisation_gap_nats"] == pytest.approx(TOY.gap(0.9, 0.3), abs=0.02)
    q = TOY.posterior(x, 0.9, 0.3)
    kl = float(kl_divergence(q, StandardNormal(2, like=q.mean)).sum(1).mean())
    assert numbers["kl_amortised_nats"] == pytest.approx(kl, abs=4 * 2 / (40 * 2000) ** 0.5)


def test_standard_errors_are_of_the_differences_over_data(tmp_path):
    """log p(x) varies by nats, a gap that is the same for every datum does not."""
    x = TOY.sample(40)
    context = make_context(TOY.model(shift=0.9), x, tmp_path)
    numbers = measure(evaluator(), context)
    arrays = saved(context, "posterior_gaps")
    assert arrays["log_px"].std() > 1
    for name, values in (
        ("amortisation_gap_nats", arrays["elbo_local"] - arrays["elbo_amortised"]),
        ("approximation_gap_nats", arrays["log_px"] - arrays["elbo_local"]),
        ("inference_gap_nats", arrays["log_px"] - arrays["elbo_amortised"]),
    ):
        assert numbers[name].value == pytest.approx(values.mean(), abs=1e-12)
        assert numbers[name].standard_error == pytest.approx(values.std(ddof=1) / 40**0.5, abs=1e-12)
        assert numbers[name].standard_error < 0.02
        assert numbers[name].n == 40


def test_the_model_stays_as_it_was(tmp_path):
    model = TOY.model(shift=0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.decoder.output.weight.grad = torch.ones_like(model.decoder.output.weight)
    context = make_context(model, TOY.sample(10), tmp_path)
    encoded = context.encoded("test").mean.clone()
    measure(evaluator(num_steps=5), context)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(context.encoded("test").mean, encoded)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name != "likelihood.log_std")
        if name == "decoder.output.weight":
            assert torch.equal(parameter.grad, torch.ones_like(parameter))
        else:
            assert parameter.grad is None


@pytest.mark.parametrize("num_importance", [1, 63, 200])
def test_as_many_draws_are_used_as_are_asked_for_in_chunks_of_any_size(num_importance, tmp_path, monkeypatch):
    model, rows = TOY.model(), []
    terms = model.terms

    def recording(x, num_samples, **given):
        rows.append((torch.is_grad_enabled(), num_samples * len(x)))
        return terms(x, num_samples, **given)

    monkeypatch.setattr(model, "terms", recording)
    context = make_context(model, TOY.sample(7), tmp_path, batch_bytes=SMALLEST)
    settings = {"num_steps": 3, "num_samples": 20, "num_importance": num_importance}
    measure(evaluator(**settings), context)
    assert max(size for _, size in rows) <= context.rows_per_chunk() == 64
    assert sum(size for searching, size in rows if searching) == 7 * 2 * 3 * 20
    assert sum(size for searching, size in rows if not searching) == 7 * 4 * num_importance


def test_data_do_not_mix_between_blocks(tmp_path):
    """With the exact posterior to begin with, every draw's weight is p(x), if it meets its own datum."""
    context = make_context(TOY.model(), x := TOY.sample(30), tmp_path, batch_bytes=SMALLEST)
    measure(evaluator(num_steps=1, lr=1e-9, num_importance=5), context)
    arrays = saved(context, "posterior_gaps")
    for name in ("log_px", "elbo_local", "elbo_amortised"):
        np.testing.assert_allclose(arrays[name], TOY.log_px(x), atol=5e-5)


def test_blocks_have_random_numbers_of_their_own(tmp_path):
    """Eight times one datum, in two blocks."""
    x = TOY.sample(1).expand(8, -1)
    context = make_context(TOY.model(shift=0.9), x, tmp_path, batch_bytes=SMALLEST)
    measure(evaluator(num_steps=2, num_importance=3), context)
    for name in ("elbo_local", "elbo_amortised", "log_px"):
        assert len(np.unique(saved(context, "posterior_gaps")[name])) == 8


def test_a_posterior_that_is_no_gaussian_is_started_from_by_its_moments(tmp_path, monkeypatch):
    monkeypatch.setattr(posterior_gaps, "NUM_DRAWS", 20_000)
    x = TOY.sample(3)
    q = TOY.posterior(x, 0.9, 2.0)
    for posterior, error in ((OpaqueUnknown, 4 * q.std.max() / 20_000**0.5), (DiagonalPosterior, 1e-5)):
        context = make_context(TOY.model(0.9, 2.0, posterior=posterior), x, tmp_path)
        start = as_gaussian(context.encoded("test"), context)
        np.testing.assert_allclose(start.mean, q.mean, atol=float(error))
        np.testing.assert_allclose(start.logvar, q.logvar, atol=max(2 * float(error), 1e-5))


class Stopped(BaseException):
    """As `Interrupted` is: no evaluation may catch it."""


def test_interrupted_search_goes_on_to_the_bit_identical_result(tmp_path, monkeypatch):
    """Four of twelve data are a block, which asks once and at each of 2 x 5 steps; the third is cut."""
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    model, x = TOY.model(shift=0.9), TOY.sample(12)
    short = evaluator(num_steps=5, num_importance=10)

    def context(folder: str, **fields: object):
        return make_context(model, x, tmp_path / folder, batch_bytes=SMALLEST, **fields)

    whole = context("whole")
    expected = measure(short, whole)
    asked = iter(range(2 * 11 + 4))

    def stop_in_the_third() -> None:
        if next(asked, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        measure(short, context("cut", check_stop=stop_in_the_third))
    counts = []
    rest = context("cut", check_stop=lambda: counts.append(1))
    assert measure(short, rest, seed=9) == expected
    assert len(counts) == 11
    for name, array in saved(whole, "posterior_gaps").items():
        np.testing.assert_array_equal(saved(rest, "posterior_gaps")[name], array)
    assert list((rest.directory / "scratch").iterdir()) == []
