"""Draws of a mean over seeds and test points, all rows of a claim with the same draws: paired."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 1000


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


def draws(samples: Mapping[int, Sample], seeds: Sequence[int], name: str) -> np.ndarray:
    """`[DRAWS]` means over `seeds` of what another choice of seeds and test points would have given.

    Seeds are drawn with replacement, deviations from their mean scaled by sqrt(S / (S - 1)), without which
    the variance of the mean of S would be too small. Test points have Poisson(1) weights. Every call has the
    same draws of seeds and of points, so that differences are paired; where points are not on file, normal
    noise of the standard error stands for them, of its own for each `name` and seed.
    """
    by_seed = np.stack([_points(samples[seed], f"{name}/{seed}") for seed in seeds])  # [S, DRAWS]
    weights = seed_weights(tuple(seeds))
    return np.einsum("ds,sd->d", weights, by_seed)


@lru_cache
def seed_weights(seeds: tuple[int, ...]) -> np.ndarray:
    """`[DRAWS, S]`, each row with sum 1."""
    num = len(seeds)
    if num == 1:
        return np.ones((DRAWS, 1))
    rng = np.random.default_rng([0, *seeds])
    counts = rng.multinomial(num, np.full(num, 1 / num), size=DRAWS) / num
    return 1 / num + (counts - 1 / num) * (num / (num - 1)) ** 0.5


@lru_cache(maxsize=2)
def point_weights(num: int) -> np.ndarray:
    """`[num, DRAWS]`: how often each of `num` test points is drawn."""
    rng = np.random.default_rng(1)
    return rng.poisson(1.0, size=(num, DRAWS)).astype(np.float32)


def _points(sample: Sample, name: str) -> np.ndarray:
    if sample.per_datum is not None and len(sample.per_datum) > 1:
        index = np.arange(len(sample.per_datum)) if sample.index is None else sample.index
        weights = point_weights(10_000 * -(-int(index.max() + 1) // 10_000))[index]
        centre = sample.per_datum.mean()  # in float32, little is lost of what is near 0
        deviations = (sample.per_datum - centre).astype(np.float32) @ weights
        return centre + deviations / np.maximum(weights.sum(0), 1)
    if sample.standard_error is None or not np.isfinite(sample.standard_error):
        return np.full(DRAWS, sample.value)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return sample.value + sample.standard_error * rng.standard_normal(DRAWS)
