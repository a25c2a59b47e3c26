"""Draws of a mean over seeds and test points, all rows of a claim with the same draws: paired."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 4000
"""Of which a part of a claim may hold in 0.05 / K at most to be refuted: 6 draws where K is 30."""

BLOCK = 1000
"""How many test points have their weights drawn together."""


@dataclass(frozen=True)
class Sample:
    """One run's number, with as much as is known of how sure it is."""

    value: float
    standard_error: float | None = None
    """Over test points; used where they are not on file one by one."""
    per_datum: np.ndarray | None = None
    """`[n]`, whose mean is the value."""
    index: np.ndarray | None = None
    """`[n]`, which of the test data these are; None for all in their order."""

    @property
    def indices(self) -> np.ndarray:
        """`[n]`, of a sample whose points are on file."""
        assert self.per_datum is not None
        return np.arange(len(self.per_datum)) if self.index is None else self.index

    def at(self, index: np.ndarray) -> Sample:
        """The same over these of its points."""
        assert self.per_datum is not None
        chosen = np.isin(self.indices, index)
        values = self.per_datum[chosen]
        return Sample(float(values.mean()), None, values, self.indices[chosen])


def draws(samples: Mapping[str, Mapping[int, Sample]], seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Name -> `[DRAWS]` means over `seeds` of what other seeds and test points would have given.

    Over seeds they have Student's t distribution (`seed_weights`); to that is added what the mean over
    seeds changes with the test points, which have Poisson(1) weights. All names have the same draws of seeds
    and of points, in every call, so that differences are paired; where points are not on file, normal noise
    of the standard error stands for them, of its own for each name: seeds share their test points, whose
    noise a mean over seeds does not remove.
    """
    values = {name: np.array([of_name[seed].value for seed in seeds]) for name, of_name in samples.items()}
    first = {name: of_seeds[0] for name, of_seeds in values.items()}
    every = [(name, of_name[seed]) for name, of_name in samples.items() for seed in seeds]
    changes = _changes(every).reshape(len(samples), len(seeds), DRAWS).mean(1)
    weights = seed_weights(tuple(seeds))
    # Around one of the values, since weights sum to 1: what all seeds agree on, as a count, is then exact.
    return {
        name: first[name] + weights @ (values[name] - first[name]) + change
        for name, change in zip(samples, changes, strict=True)
    }


@lru_cache
def seed_weights(seeds: tuple[int, ...]) -> np.ndarray:
    """`[DRAWS, S]` weights w with sum 1: of S values x the draws are sum_s w_s x_s.

    A studentised multiplier bootstrap: mean + sum_s g_s (x_s - mean) / sqrt(S (S - 1)) * sqrt((S - 1) / c)
    with g standard normal and c chi-squared with S - 1 degrees of freedom. Around the mean the draws have
    Student's t distribution of S - 1 degrees of freedom, in units of the standard error.
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
    """`[BLOCK, DRAWS]`: how often each test point of a block is drawn."""
    rng = np.random.default_rng([1, block])
    return rng.poisson(1.0, size=(BLOCK, DRAWS)).astype(np.float32)


def _changes(samples: Sequence[tuple[str, Sample]]) -> np.ndarray:
    """`[K, DRAWS]`, by how much each of K named values would change with other test points."""
    changes = np.zeros((len(samples), DRAWS))
    of_points: dict[bytes, list[int]] = {}
    for i, (name, sample) in enumerate(samples):
        if sample.per_datum is not None and len(sample.per_datum) > 1:
            of_points.setdefault(sample.indices.tobytes(), []).append(i)
        elif sample.standard_error is not None and np.isfinite(sample.standard_error):
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            changes[i] = sample.standard_error * rng.standard_normal(DRAWS)
    for members in of_points.values():  # in one product, since the weights are far larger than the values
        changes[members] = _weighted([samples[i][1] for i in members])
    return changes


def _weighted(samples: Sequence[Sample]) -> np.ndarray:
    """`[K, DRAWS]`, the same for K samples of the same points."""
    index = samples[0].indices
    places = np.zeros((len(samples) + 1, BLOCK * (int(index.max()) // BLOCK + 1)), np.float32)
    for place, sample in zip(places, samples, strict=False):
        assert sample.per_datum is not None
        place[index] = sample.per_datum - sample.per_datum.mean()
    places[-1, index] = 1
    blocks = np.split(places, places.shape[1] // BLOCK, axis=1)
    products = sum(part @ point_weights(block) for block, part in enumerate(blocks))
    return products[:-1] / np.maximum(products[-1], 1)
