"""Paired bootstrap of means over seeds and test examples."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 4000
"""Number of bootstrap draws. The threshold 0.05 / K is then still 6 draws for a claim of K = 30 parts."""

BLOCK = 1000
"""Number of test examples whose weights share a random generator."""


@dataclass(frozen=True)
class Sample:
    """Measurement of one run with its uncertainty over test examples."""

    value: float
    standard_error: float | None = None
    """Over test examples; used only without `per_datum`."""
    per_datum: np.ndarray | None = None
    """`[n]`, a value per test example, with mean `value`."""
    index: np.ndarray | None = None
    """`[n]`, positions of the examples in the test set; None for 0 to n - 1."""

    @property
    def indices(self) -> np.ndarray:
        """Positions in the test set, `[n]`; needs `per_datum`."""
        assert self.per_datum is not None
        return np.arange(len(self.per_datum)) if self.index is None else self.index

    def at(self, index: np.ndarray) -> Sample:
        """Restrict the sample to the test examples at these positions."""
        assert self.per_datum is not None
        chosen = np.isin(self.indices, index)
        values = self.per_datum[chosen]
        return Sample(float(values.mean()), None, values, self.indices[chosen])


def draws(samples: Mapping[str, Mapping[int, Sample]], seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Return name -> `[DRAWS]` bootstrap draws of the mean over `seeds`.

    A draw is the mean under `seed_weights` (Student's t over seeds) plus the change of the mean over seeds
    under Poisson(1) weights of the test examples. All names, in all calls, share the weights of seeds and of
    test examples, so that differences of names are paired. A sample without per-example values gets normal
    noise with its standard error instead, independent between names. That noise is shared by the seeds of a
    name: they have the same test examples, so the mean over seeds does not reduce it.
    """
    values = {name: np.array([by_seed[seed].value for seed in seeds]) for name, by_seed in samples.items()}
    first = {name: by_seed[0] for name, by_seed in values.items()}
    named = [(name, by_seed[seed]) for name, by_seed in samples.items() for seed in seeds]
    changes = _changes(named).reshape(len(samples), len(seeds), DRAWS).mean(1)
    weights = seed_weights(tuple(seeds))
    # Relative to the first value (weights sum to 1): the draws are exact if all seeds have the same value.
    return {
        name: first[name] + weights @ (values[name] - first[name]) + change
        for name, change in zip(samples, changes, strict=True)
    }


@lru_cache
def seed_weights(seeds: tuple[int, ...]) -> np.ndarray:
    """Return weights w, `[DRAWS, M]`, each row with sum 1. Values x of M seeds have the draws sum_m w_m x_m.

    This is a studentised multiplier bootstrap. A draw is

        mean + sum_m g_m (x_m - mean) / sqrt(M (M - 1)) * sqrt((M - 1) / c)

    with g standard normal and c chi-squared with M - 1 degrees of freedom. Then (draw - mean) / standard
    error has Student's t distribution with M - 1 degrees of freedom.
    """
    num = len(seeds)
    if num == 1:
        return np.ones((DRAWS, 1))
    rng = np.random.default_rng([0, *seeds])
    normal = rng.standard_normal((DRAWS, num))
    chi_squared = rng.chisquare(num - 1, (DRAWS, 1))
    return 1 / num + (normal - normal.mean(1, keepdims=True)) / np.sqrt(num * chi_squared)


@lru_cache(maxsize=64)
def point_weights(block: int) -> np.ndarray:
    """Return Poisson(1) weights of the test examples of a block, `[BLOCK, DRAWS]`."""
    rng = np.random.default_rng([1, block])
    return rng.poisson(1.0, size=(BLOCK, DRAWS)).astype(np.float32)


def _changes(samples: Sequence[tuple[str, Sample]]) -> np.ndarray:
    """Return the change of each of K named values when test examples are resampled, `[K, DRAWS]`."""
    changes = np.zeros((len(samples), DRAWS))
    by_indices: dict[bytes, list[int]] = {}
    for i, (name, sample) in enumerate(samples):
        if sample.per_datum is not None and len(sample.per_datum) > 1:
            by_indices.setdefault(sample.indices.tobytes(), []).append(i)
        elif sample.standard_error is not None and np.isfinite(sample.standard_error):
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            changes[i] = sample.standard_error * rng.standard_normal(DRAWS)
    for members in by_indices.values():  # one product, since the weights are far larger than the values
        changes[members] = _weighted([samples[i][1] for i in members])
    return changes


def _weighted(samples: Sequence[Sample]) -> np.ndarray:
    """Return the change of K samples that share their test examples, `[K, DRAWS]`."""
    index = samples[0].indices
    places = np.zeros((len(samples) + 1, BLOCK * (int(index.max()) // BLOCK + 1)), np.float32)
    for place, sample in zip(places, samples, strict=False):
        assert sample.per_datum is not None
        place[index] = sample.per_datum - sample.per_datum.mean()
    places[-1, index] = 1
    blocks = np.split(places, places.shape[1] // BLOCK, axis=1)
    products = sum(part @ point_weights(block) for block, part in enumerate(blocks))
    return products[:-1] / np.maximum(products[-1], 1)
