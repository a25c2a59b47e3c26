"""Bootstrap draws against known distributions."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from vaebench.reporting.bootstrap import BLOCK, DRAWS, Sample, draws, point_weights, seed_weights
from vaebench.reporting.claims import decided

RNG = np.random.default_rng(0)
SEEDS = [0, 1, 2, 3, 4]


def draws_of(samples: dict[int, Sample], seeds: Sequence[int], name: str) -> np.ndarray:
    return draws({name: samples}, seeds)[name]


def test_over_test_points_the_spread_is_the_standard_error() -> None:
    points = RNG.normal(90, 12, 2000)
    result = draws_of({0: Sample(points.mean(), None, points)}, [0], "a")
    assert result.shape == (DRAWS,)
    assert result.mean() == pytest.approx(points.mean(), abs=0.05)
    assert result.std() == pytest.approx(12 / 2000**0.5, rel=0.1)


def test_without_saved_points_the_draws_have_the_standard_error() -> None:
    result = draws_of({0: Sample(5.0, 0.3)}, [0], "a")
    assert result.mean() == pytest.approx(5.0, abs=0.03)
    assert result.std() == pytest.approx(0.3, rel=0.1)
    assert np.ptp(draws_of({0: Sample(5.0)}, [0], "a")) == 0


@pytest.mark.parametrize("num", [2, 3, 5])
def test_over_seeds_the_draws_are_students_t_one_pair_degree_less(num: int) -> None:
    values = RNG.normal(90, 3, size=num)
    result = draws_of({seed: Sample(float(value)) for seed, value in enumerate(values)}, range(num), "a")
    in_errors = (result - values.mean()) / (values.std(ddof=1) / num**0.5)
    assert stats.kstest(in_errors, stats.t(num - 1).cdf).pvalue > 0.01
    assert np.allclose(seed_weights(tuple(range(num))).sum(1), 1)


@pytest.mark.parametrize("num", [2, 3, 5])
def test_tied_pairs_are_falsely_reproduced_in_five_percent_and_five_of_them_are_inconclusive(
    num: int,
) -> None:
    differences = np.random.default_rng(num).normal(0, 2, (2000, 5, num))  # [experiments, pairs, seeds]
    weights = seed_weights(tuple(range(num))).T
    one_pair = [decided(pairs[:1] @ weights > 0)[0] for pairs in differences]
    for verdict in ("reproduced", "not reproduced"):
        assert one_pair.count(verdict) / len(one_pair) == pytest.approx(0.05, abs=0.015)
    five_pairs = [decided(pairs @ weights > 0)[0] for pairs in differences]
    assert five_pairs.count("inconclusive") / len(five_pairs) > 0.93
    assert five_pairs.count("reproduced") / len(five_pairs) < 0.01


@pytest.mark.parametrize("saved", [True, False])
def test_the_error_over_test_points_is_shared_by_seeds_and_does_not_grow_with_students_tails(
    saved: bool,
) -> None:
    """Seeds share their test examples, so a mean over seeds does not reduce their noise."""
    points = RNG.normal(90, 12, 2000)
    error = 12 / 2000**0.5
    sample = Sample(points.mean(), None, points) if saved else Sample(points.mean(), error)
    result = draws_of({0: sample, 1: sample, 2: sample}, [0, 1, 2], "a")
    assert result.std() == pytest.approx(error, rel=0.1)


@pytest.mark.parametrize("value", [32.0, 0.1, 1 / 3])
def test_a_value_that_all_seeds_share_is_exact(value: float) -> None:
    """A count that meets a bound, such as 32 of 32 units, meets it in all draws."""
    assert (draws_of({seed: Sample(value) for seed in SEEDS}, SEEDS, "a") == value).all()


def test_differences_are_paired_by_points_and_by_seeds() -> None:
    points = RNG.normal(90, 12, 2000)
    better = points - 0.1 + RNG.normal(0, 0.2, 2000)
    a, b = (draws_of({0: Sample(x.mean(), None, x)}, [0], name) for name, x in (("a", points), ("b", better)))
    assert (a - b).std() == pytest.approx(0.2 / 2000**0.5, rel=0.15)
    seed_effects = RNG.normal(0, 3, len(SEEDS))
    c, d = (
        draws_of({s: Sample(seed_effects[s] + shift) for s in SEEDS}, SEEDS, name)
        for name, shift in (("c", 0.0), ("d", 1.0))
    )
    assert np.allclose(d - c, 1.0)


def test_a_choice_of_test_points_has_the_draws_of_the_same_points_elsewhere() -> None:
    points = RNG.normal(size=1000)
    index = np.arange(0, 1000, 2)
    chosen = draws_of({0: Sample(points[index].mean(), None, points[index], index)}, [0], "a")
    expected = np.where(np.arange(1000) % 2 == 0, points, 0.0)
    rest = draws_of({0: Sample(0.5, None, np.where(np.arange(1000) % 2, 0.0, 1.0))}, [0], "b")
    whole = draws_of({0: Sample(expected.mean(), None, expected)}, [0], "c")
    assert np.allclose(chosen, whole / rest, atol=1e-4)


def test_weights_go_with_the_points_in_every_block() -> None:
    points = RNG.normal(90, 12, 2 * BLOCK + 10)
    result = draws_of({0: Sample(points.mean(), None, points)}, [0], "a")
    weights = np.concatenate([point_weights(block)[:, :3] for block in range(3)])[: len(points)]
    assert np.allclose(result[:3], np.average(np.tile(points, (3, 1)), axis=1, weights=weights.T), atol=1e-4)
    assert not np.array_equal(point_weights(0), point_weights(1))


def test_names_that_are_drawn_together_have_the_draws_that_they_have_alone() -> None:
    """Samples on the same examples, on other examples, with a standard error only, and without any error."""
    points, others, few = (RNG.normal(90, 12, num) for num in (BLOCK + 10, BLOCK + 10, 50))
    samples = {
        "a": {0: Sample(points.mean(), None, points)},
        "b": {0: Sample(few.mean(), None, few, np.arange(100, 150))},
        "c": {0: Sample(5.0, 0.3)},
        "d": {0: Sample(others.mean(), None, others)},
        "e": {0: Sample(1.0)},
    }
    together = draws(samples, [0])
    assert [*together] == [*samples]
    for name, sample in samples.items():
        assert np.allclose(together[name], draws_of(sample, [0], name), atol=1e-4)
    assert not np.allclose(together["a"] - points.mean(), together["d"] - others.mean(), atol=0.01)
