"""Tests of the Gaussian mixture: density against scipy and on a grid, samples against moments."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from vaebench.data.gmm import GaussianMixture
from vaebench.data.spec import DataPaths

NOWHERE = DataPaths(root=Path("none"), cache=Path("none"))
UNEVEN = {"means": ((1.0, -0.5), (-1.5, 2.0)), "std": 0.7, "weights": (1.0, 3.0)}


def mixture(**options) -> GaussianMixture:
    sizes = {"num_train": 20_000, "num_valid": 500, "num_test": 4000}
    return GaussianMixture(NOWHERE, name="gmm", **({"seed": 0} | sizes | UNEVEN | options))


def grid(reach: float = 8.0, num: int = 801) -> tuple[torch.Tensor, float]:
    """Return grid points `[num^2, 2]` of the square [-reach, reach]^2, and the area per point."""
    line = torch.linspace(-reach, reach, num, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


def test_the_density_is_scipys():
    x = 3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    parts = [
        weight * multivariate_normal(mean, 0.7**2 * np.eye(2)).pdf(x.numpy())
        for mean, weight in zip(UNEVEN["means"], (0.25, 0.75), strict=True)
    ]
    np.testing.assert_allclose(mixture().log_density(x).numpy(), np.log(sum(parts)), rtol=1e-6)


def test_the_density_sums_to_one_and_the_entropy_is_minus_its_mean_logarithm():
    points, area = grid()
    log_p = mixture().log_density(points)
    assert float(log_p.exp().sum()) * area == pytest.approx(1, abs=1e-9)
    assert mixture().entropy() == pytest.approx(-float((log_p.exp() * log_p).sum()) * area, abs=1e-7)


@pytest.mark.parametrize(("distance", "bits"), [(0.0, 0.0), (50.0, 1.0)])
def test_components_apart_add_the_entropy_of_their_choice(distance, bits):
    same = mixture(means=((distance, 0.0), (-distance, 0.0)), std=0.5, weights=(1.0, 1.0))
    gaussian = math.log(2 * math.pi * math.e * 0.25)
    assert same.entropy() == pytest.approx(gaussian + bits * math.log(2), abs=1e-9)


def test_draws_have_the_moments_and_the_entropy_of_the_law():
    data = mixture()
    train, test = data.load().train, data.load().test
    means, weights = torch.tensor(UNEVEN["means"]), torch.tensor([0.25, 0.75])
    centre = weights @ means
    between = (means - centre).T @ torch.diag(weights) @ (means - centre)
    n = len(train)
    assert train.y.bincount()[0] / n == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / n) ** 0.5)
    torch.testing.assert_close(train.x.mean(0), centre, rtol=0, atol=0.05)
    torch.testing.assert_close(train.x.T.cov(), between + 0.49 * torch.eye(2), rtol=0.03, atol=0.03)
    surprise = -data.log_density(test.x)
    assert abs(surprise.mean() - data.entropy()) < 4 * surprise.std() / len(test) ** 0.5


def test_a_label_is_the_component():
    splits = mixture(std=0.01).load()
    for name, size in (("train", 20_000), ("valid", 500), ("test", 4000)):
        x, y = splits[name].x, splits[name].y
        assert (x.dtype, y.dtype, x.shape) == (torch.float32, torch.int64, (size, 2))
        assert (x - torch.tensor(UNEVEN["means"])[y]).abs().max() < 0.06


def test_data_depend_on_their_seed_alone():
    torch.manual_seed(1)
    first = mixture().load()
    before = torch.get_rng_state()
    second = mixture().load()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.train.x, second.train.x)
    assert first.origin == second.origin
    assert first.origin["test_hash"] != mixture(seed=1).load().origin["test_hash"]
    assert not torch.equal(first.train.x[:500], first.valid.x)


def test_the_spec_is_that_of_labelled_points():
    spec = mixture().spec
    assert (spec.name, spec.shape, spec.kind, spec.num_classes) == ("gmm", (2,), "real", 2)
