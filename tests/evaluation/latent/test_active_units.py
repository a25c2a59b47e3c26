"""Active units on codes whose variances are known."""

import math

import numpy as np
import pytest
import torch

from vaebench.evaluation.latent.active_units import ActiveUnits
from vaebench.testing import identity_model, make_context, measure, saved


def codes_of_variance(variances: list[float], num: int) -> torch.Tensor:
    """`[N, D]` codes, half at +a and half at -a: their unbiased variance is a^2 N / (N - 1)."""
    signs = torch.ones(num, 1)
    signs[::2] = -1
    return signs * (torch.tensor(variances) * (num - 1) / num).sqrt() + 5  # the mean does not matter


def test_units_count_by_the_unbiased_variance_of_the_posterior_mean(tmp_path):
    """Of 4 data, the biased variances would be 3/4 of these, and the counts 2 and 1."""
    variances = [0.0, 0.0099, 0.0101, 0.0199, 0.0201, 1.0]
    x = codes_of_variance(variances, num=4)
    context = make_context(identity_model((6,)), x, tmp_path)
    numbers = measure(ActiveUnits(thresholds=[0.01, 0.02]), context)
    assert numbers["active_units_0.01"].value == 4
    assert numbers["active_units_0.02"].value == 2
    assert numbers["active_units_0.01"].n == 4
    stored = saved(context, "latent_variances")["variance"]
    np.testing.assert_allclose(stored, variances, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(stored, x.double().numpy().var(0, ddof=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num", [1500, 2500])
def test_the_variance_is_over_the_whole_test_set_not_over_batches(num, tmp_path):
    """Sorted data: within an encoding batch of 1,000 the mean hardly moves."""
    x = torch.linspace(-1, 1, num).unsqueeze(1)
    context = make_context(identity_model((1,)), x, tmp_path)
    measure(ActiveUnits(thresholds=[0.01]), context)
    expected = x.double().numpy().var(0, ddof=1)
    np.testing.assert_allclose(saved(context, "latent_variances")["variance"], expected, rtol=1e-6)


def test_the_posteriors_own_variance_does_not_count(tmp_path):
    context = make_context(identity_model((2,), std=3.0), torch.zeros(10, 2), tmp_path)
    assert measure(ActiveUnits(thresholds=[0.01]), context)["active_units_0.01"].value == 0


def test_a_unit_whose_variance_is_not_finite_is_not_counted_as_inactive(tmp_path):
    x = codes_of_variance([1.0, 1.0, 0.0], num=4)
    x[2, 1] = torch.inf
    numbers = measure(ActiveUnits(thresholds=[0.01]), make_context(identity_model((3,)), x, tmp_path))
    assert math.isnan(numbers["active_units_0.01"].value)
