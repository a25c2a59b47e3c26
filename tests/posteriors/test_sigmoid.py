"""The posterior with bounded standard deviations."""

import math

import pytest
import torch

from tests.config.helpers import config_of, problems_of
from vaebench.config.build import factory
from vaebench.posteriors.sigmoid import SigmoidPosterior
from vaebench.testing import set_affine


def test_standard_deviations_are_the_sigmoids_or_the_least_where_they_are_below() -> None:
    posterior = SigmoidPosterior(1, 1, min_std=0.01)
    set_affine(posterior.mean, 2.0, -1.0)
    set_affine(posterior.std, 1.0, 0.0)
    h = torch.tensor([[-200.0], [-6.0], [-2.0], [0.0], [3.0], [200.0]], requires_grad=True)
    q = posterior(h, lambda q: torch.zeros(()))
    torch.testing.assert_close(q.mean, 2 * h - 1)
    expected = torch.tensor([[0.01], [0.01], [1 / (1 + math.e**2)], [0.5], [1 / (1 + math.e**-3)], [1.0]])
    torch.testing.assert_close(q.std, expected)
    q.std.sum().backward()
    slope = expected * (1 - expected)
    slope[:2] = 0
    torch.testing.assert_close(h.grad, slope)
    assert posterior.is_gaussian


def test_it_is_an_option_of_every_family() -> None:
    config = config_of("model/posterior=sigmoid", "model.posterior.min_std=0.1")["model"]["posterior"]
    q = factory(config)(3, 2)(torch.randn(5, 3), lambda q: torch.zeros(()))
    assert q.logvar.shape == (5, 2)


@pytest.mark.slow
@pytest.mark.parametrize("least", ["0", "1"])
def test_a_least_that_is_none_or_leaves_nothing_is_refused(least: str) -> None:
    (problem,) = problems_of("model/posterior=sigmoid", f"model.posterior.min_std={least}")
    assert problem.startswith("model.posterior.min_std")
