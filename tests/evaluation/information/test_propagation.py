"""Information behind each decoder layer, on models whose layers have closed forms."""

import math

import numpy as np
import pytest
import torch

from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.information.propagation import Propagation, largest_rise, layer_pairs
from vaebench.testing import (
    LinearGaussian,
    OpaquePosterior,
    latent_model,
    make_context,
    measure,
    saved,
    set_affine,
    toy_spec,
)

CHANNEL = LinearGaussian.make(gains=(1.2, 0.5))
SHIFT = 0.8


def propagation(**options) -> Propagation:
    known = {"decoder": "both", "num_runs": 2, "num_steps": 300, "batch_size": 512, "width": 24, "lr": 1e-2}
    return Propagation(**(known | {"num_draws": 3000} | options))


def brief(**options) -> Propagation:
    """For all but the numbers."""
    return propagation(**({"num_steps": 3, "batch_size": 32, "width": 4, "num_draws": 1} | options))


def channel(tmp_path, num: int = 100, **fields):
    return make_context(CHANNEL.model(shift=SHIFT), CHANNEL.sample(num), tmp_path, **fields)


@pytest.mark.slow
def test_an_affine_layer_of_full_rank_keeps_everything(tmp_path):
    """The exact posterior moved by a shift: its information is the channel's, its KL and its distance to the
    prior are closed forms, and behind the 6 x 2 matrix all are the same, for trained and random decoders."""
    context = channel(tmp_path, 3000)
    numbers = measure(propagation(), context)
    stored = saved(context, "propagation")
    assert stored["kl"].shape == (2, 2, 2)  # runs, decoders, layers
    marginal_kl = 0.5 * SHIFT**2 * float(CHANNEL.variance.sum())
    information = CHANNEL.mutual_information
    kl = stored["kl_exact"].mean()
    assert kl == pytest.approx(information + marginal_kl, abs=0.05)
    np.testing.assert_allclose(stored["kl_exact"], kl, atol=1e-5)
    np.testing.assert_allclose(stored["kl"], kl, atol=0.12)
    np.testing.assert_allclose(stored["marginal_kl"], marginal_kl, atol=0.06)
    np.testing.assert_allclose(stored["mi"], information, atol=0.15)
    np.testing.assert_allclose(stored["mi_direct"], information, atol=0.12)
    np.testing.assert_allclose(stored["mi"], stored["kl"] - stored["marginal_kl"])
    low, high = stored["mi_code_bounds"]
    assert low - 0.1 < information < high + 0.1
    assert numbers["propagation_kl_code_exact"].value == pytest.approx(kl, abs=1e-5)
    assert numbers["propagation_error"].value < 0.12
    assert numbers["propagation_gap"].value < 0.12
    assert numbers["propagation_rise"].value < 0.12
    for name, values in (("kl", stored["kl"]), ("mi", stored["mi"])):
        reported = {
            "code": values[:, 0, 0],
            "output_trained": values[:, 0, 1],
            "output_random": values[:, 1, 1],
        }
        for where, per_run in reported.items():
            measurement = numbers[f"propagation_{name}_{where}"]
            assert measurement.value == pytest.approx(per_run.mean())
            assert measurement.standard_error == pytest.approx(per_run.std(ddof=1) / 2**0.5)


@pytest.mark.slow
def test_an_affine_layer_to_fewer_outputs_loses_what_the_closed_form_says(tmp_path):
    """Two units to one output: the trained decoder reads the second, and each random one its own mixture."""
    model = latent_model(toy_spec((1,)), 2)
    set_affine(model.posterior.mean, torch.tensor([[1.0], [0.6]]), 0.0)
    set_affine(model.posterior.logvar, 0.0, torch.tensor([-0.7, 0.0]))
    set_affine(model.decoder.output, torch.tensor([[0.0, 2.0]]), 5.0)
    x = torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    context = make_context(model, x, tmp_path)
    measure(propagation(), context)
    stored = saved(context, "propagation")
    exact = stored["kl_exact"]
    assert exact[0, 0, 1] == pytest.approx(0.5 * 0.36 * float(x.square().mean()), rel=1e-5)
    assert (exact[..., 1] < exact[..., 0] - 0.05).all()
    assert abs(exact[0, 1, 1] - exact[1, 1, 1]) > 1e-3  # two decoders
    np.testing.assert_allclose(stored["kl"][..., 0], exact[..., 0], atol=0.1)
    np.testing.assert_allclose(stored["kl"][..., 1], exact[..., 1], atol=0.03)
    assert list(stored["layers"]) == ["code", "decoder.output"]
    assert list(stored["decoders"]) == ["trained", "random"]


def test_pairs_are_of_one_datum_and_differ_in_one_thing_each():
    model = latent_model(toy_spec((2,)), 3, depth=1)
    x, z, of_prior = torch.randn(5, 2), torch.randn(5, 3), torch.randn(5, 3)
    pairs = layer_pairs(x, z, of_prior, [model, model])
    assert len(pairs) == 3 * (1 + 2 * 2)
    hidden = [model.decoder.hidden.layers[0](codes) for codes in (z, of_prior)]
    outputs = [model.decoder.output(h.tanh()) for h in hidden]
    for first, (own, other) in ((0, (z, of_prior)), (3, hidden), (6, outputs), (9, hidden), (12, outputs)):
        conditional, marginal, direct = pairs[first : first + 3]
        expected = [
            (conditional, torch.cat([x, own], 1), torch.cat([x, other], 1)),
            (marginal, own, other),
            (direct, torch.cat([x, own], 1), torch.cat([x[[4, 0, 1, 2, 3]], own], 1)),
        ]
        for (above, below), wanted_above, wanted_below in expected:
            torch.testing.assert_close(above, wanted_above)
            torch.testing.assert_close(below, wanted_below)


@pytest.mark.slow
def test_measuring_touches_neither_the_model_nor_depends_on_the_global_state(tmp_path):
    context = channel(tmp_path)
    model = context.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = measure(brief(), context, seed=1)
    assert measure(brief(), context, seed=2) == first
    assert measure(brief(), channel(tmp_path, 100, seed=1)) != first
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())


def test_one_run_has_the_standard_error_over_data(tmp_path):
    context = channel(tmp_path)
    numbers = measure(brief(num_runs=1), context)
    stored = saved(context, "propagation")
    kl, marginal = stored["kl_data_error"], stored["marginal_kl_data_error"]
    assert numbers["propagation_kl_code"].standard_error == pytest.approx(kl[0, 0, 0])
    assert numbers["propagation_kl_output_random"].standard_error == pytest.approx(kl[0, 1, 1])
    expected = math.hypot(kl[0, 0, 1], marginal[0, 0, 1])
    assert numbers["propagation_mi_output_trained"].standard_error == pytest.approx(expected)


def test_the_trained_decoder_alone(tmp_path):
    context = channel(tmp_path)
    numbers = measure(brief(decoder="trained"), context)
    assert not any("random" in name for name in numbers)
    assert saved(context, "propagation")["kl"].shape == (2, 1, 2)
    assert (tmp_path / "figures" / "propagation.png").stat().st_size > 1000


def test_a_posterior_without_closed_forms_is_measured_without_them(tmp_path):
    model = CHANNEL.model(posterior=OpaquePosterior)
    context = make_context(model, CHANNEL.sample(50), tmp_path)
    numbers = measure(brief(), context)
    assert "propagation_kl_code" in numbers
    assert not {"propagation_kl_code_exact", "propagation_error"} & {*numbers}
    stored = saved(context, "propagation")
    assert np.isnan(stored["kl_exact"]).all()
    assert np.isnan(stored["mi_code_bounds"]).all()


def test_a_decoder_that_sees_the_data_is_not_applicable(tmp_path):
    context = channel(tmp_path)
    context.model.decoder.is_autoregressive = True
    with pytest.raises(NotApplicableError, match="autoregressive"):
        measure(brief(), context)


def test_the_largest_rise_is_to_any_later_layer():
    assert largest_rise(torch.tensor([[3.0, 2.0, 1.0], [2.0, 2.0, 0.0]])) == 0
    assert largest_rise(torch.tensor([[3.0, 1.0, 1.5, 2.0, 0.0], [1.0, 1.5, 1.0, 1.4, 1.0]])) == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_the_error_is_the_largest_where_a_closed_form_is_and_nothing_hides_it(lost):
    """Of layers 0, 1, 2 the last has no closed form: what is not finite there does not matter."""
    kl = torch.tensor([[[2.5, 1.0, math.nan]], [[2.5, 2.0, math.nan]]], dtype=torch.float64)
    exact = torch.tensor([2.0, 2.0, math.nan], dtype=torch.float64).expand(2, 1, 3)
    numbers = dict.fromkeys(("kl", "mi", "mi_direct", "marginal_kl"), kl)
    errors = torch.zeros(2, 1, 3, 3)

    def error() -> float:
        evaluator = propagation(decoder="trained")
        found = {m.name: m.value for m in evaluator._measurements(numbers, errors, exact, False, 9)}
        return found["propagation_error"]

    assert error() == 0.5
    kl[0, 0, lost] = math.nan
    assert math.isnan(error())
