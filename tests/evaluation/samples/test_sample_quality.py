"""Energy distances against the double loop and closed forms; neighbours and classes against counting."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from vaebench.data.spec import DataSpec, Split
from vaebench.evaluation.samples import sample_quality
from vaebench.evaluation.samples.sample_quality import (
    ClassReader,
    Distances,
    Quality,
    compact,
    expand,
    histogram_entropy,
)
from vaebench.testing import identity_model, make_context


def normal(*shape: int, seed: int = 0, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_double_loop(x: Tensor, y: Tensor) -> float:
    def mean(pairs) -> float:
        return float(np.mean([math.dist(a, b) for a, b in pairs]))

    u, v = x.tolist(), y.tolist()
    return 2 * mean(product(u, v)) - mean(combinations(u, 2)) - mean(combinations(v, 2))


def test_energy_is_the_double_loop_and_its_error_the_jackknife(monkeypatch):
    monkeypatch.setattr(sample_quality, "ROWS", 4)
    x, y = normal(6, 3), normal(9, 3, seed=1, mean=0.5)
    value, error = Distances(y).energy(x)
    assert value == pytest.approx(by_double_loop(x, y))
    variance = 0.0
    for which, n in (("x", 6), ("y", 9)):
        left = []
        for i in range(n):
            others = torch.arange(n) != i
            left.append(by_double_loop(x[others], y) if which == "x" else by_double_loop(x, y[others]))
        variance += (n - 1) / n * float(((np.array(left) - np.mean(left)) ** 2).sum())
    assert error == pytest.approx(variance**0.5)


def mean_distance(mean: float, variance: float) -> float:
    """E|u|, u ~ N(mean, variance)."""
    std = variance**0.5
    return std * (2 / math.pi) ** 0.5 * math.exp(-(mean**2) / (2 * variance)) + mean * math.erf(
        mean / (std * 2**0.5)
    )


def repeated(mean: float, std: float, repeats: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors of 30 draws from N(mean, std^2) against 40 from N(0, 1)."""
    pairs = [
        Distances(normal(40, 1, seed=2 * i)).energy(normal(30, 1, seed=2 * i + 1, mean=mean, std=std))
        for i in range(repeats)
    ]
    values, errors = np.array(pairs).T
    return values, errors


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_energy_of_two_gaussians_is_the_closed_form_in_expectation(mean, std):
    values, errors = repeated(mean, std)
    truth = 2 * mean_distance(mean, 1 + std**2) - mean_distance(0.0, 2 * std**2) - mean_distance(0.0, 2.0)
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 20)
    ratio = (errors**2).mean() ** 0.5 / values.std()
    if mean == 0:  # equal laws
        assert truth == pytest.approx(0)
        assert (values < 0).any()
        assert 1.0 < ratio < 1.55
    else:
        assert truth > 0.2
        assert 0.85 < ratio < 1.2


def test_nearest_is_the_least_of_all_distances_also_in_parts(monkeypatch):
    monkeypatch.setattr(sample_quality, "ROWS", 4)
    x, y = normal(7, 2, 3), normal(9, 2, 3, seed=1)
    expected = [min(float((a - b).norm()) for b in y) for a in x]
    assert Distances(y).nearest(x).tolist() == pytest.approx(expected, abs=1e-6)


def test_copies_of_binary_data_are_at_no_distance_at_all():
    y = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(0)).round()
    assert Distances(y).nearest(y.flip(0)).tolist() == [0.0] * 50


CENTRES = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [50.0, 50.0]])


def near(labels: list[int]) -> Tensor:
    return CENTRES[labels] + normal(len(labels), 2)


def test_classes_are_read_off_and_one_that_was_never_seen_counts_zero():
    labels = [0, 1, 3] * 30
    reader = ClassReader(near(labels), torch.tensor(labels), num_classes=4)
    samples = [3] * 5 + [1] * 2
    p = reader.probabilities(near(samples))
    assert p.shape == (7, 4)
    assert p.sum(1).tolist() == pytest.approx([1.0] * 7)
    assert p[:, 2].tolist() == [0.0] * 7
    assert p.argmax(1).tolist() == samples
    assert reader.accuracy(near([0, 1, 3, 0]), torch.tensor([0, 1, 3, 1])) == 0.75


def test_entropy_of_a_histogram_and_its_error():
    assert histogram_entropy(torch.tensor([5, 5, 5, 5]))[0] == pytest.approx(math.log(4))
    assert histogram_entropy(torch.tensor([0, 9, 0])) == (0.0, 0.0)
    shares = torch.tensor([0.6, 0.3, 0.1])
    draws = torch.distributions.Multinomial(500, shares)
    torch.manual_seed(0)
    values, errors = np.array([histogram_entropy(draws.sample().long()) for _ in range(400)]).T
    truth = -float(shares @ shares.log())
    assert values.mean() == pytest.approx(truth - 2 / 1000, abs=4 * values.std() / 20)
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def quality(tmp_path, num_classes: int | None = 4, num_train: int | None = None) -> Quality:
    labels = [0, 1, 2, 3] * 20
    split = Split(near(labels), torch.tensor(labels))
    spec = DataSpec("toy", (2,), "real", num_classes)
    context = make_context(identity_model((2,)), split, tmp_path, spec=spec)
    return Quality.of(context, split.x[:40], num_train)


def test_measurements_are_those_of_the_samples_under_their_name(tmp_path):
    found = quality(tmp_path)
    x = near([0] * 6 + [3] * 6)
    by_name = {m.name: m for m in found.measure("mine", x)}
    assert found.histogram(x).tolist() == [6, 0, 0, 6]
    energy = by_name["mine_energy_distance"]
    assert (energy.value, energy.standard_error) == Distances(found.test.y).energy(x)
    assert by_name["mine_neighbour_distance"].value == pytest.approx(float(found.train.nearest(x).mean()))
    assert by_name["mine_class_entropy"].value == pytest.approx(math.log(2))
    assert 0 < by_name["mine_prediction_entropy"].value < 0.1
    doubtful = {m.name: m for m in found.measure("m", torch.full((5, 2), 4.0) + 0.01 * normal(5, 2))}
    assert doubtful["m_prediction_entropy"].value > 0.5
    assert {m.n for m in by_name.values()} == {12}


def test_without_labels_no_class_is_read(tmp_path):
    names = [m.name for m in quality(tmp_path, num_classes=None).measure("mine", near([0, 1, 2]))]
    assert names == ["mine_energy_distance", "mine_neighbour_distance"]


def test_as_many_training_data_as_asked_for_are_compared_with(tmp_path):
    found = quality(tmp_path, num_train=30)
    all_of_them = quality(tmp_path).train.y
    assert found.train.y.shape == (30, 2)
    assert len(all_of_them) == 80
    assert torch.cdist(found.train.y, all_of_them).amin(1).max() < 1e-6
    assert len(found.train.y.unique(dim=0)) == 30


@pytest.mark.parametrize(
    ("kind", "dtype", "x"),
    [
        ("binary", np.uint8, torch.tensor([0.0, 1.0, 1.0])),
        ("uint8", np.uint8, torch.arange(256) / 255),
        ("unit", np.float16, torch.tensor([0.25, 1.0])),
        ("real", np.float16, torch.tensor([-3.5, 100.0])),
    ],
)
def test_what_is_filed_is_small_and_comes_back(kind, dtype, x):
    stored = compact(x, kind)
    assert stored.dtype == dtype
    assert torch.equal(expand(stored, kind), x)
