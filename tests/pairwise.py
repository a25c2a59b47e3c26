"""A few cases of a grid, in which any two values of two factors meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(**factors: Sequence[Any]) -> list[dict[str, Any]]:
    """Return cases that hold every pair of values of every two factors, the one with most new pairs first."""
    grid = [tuple(zip(factors, values, strict=True)) for values in product(*factors.values())]
    missing = {pair for case in grid for pair in combinations(case, 2)}
    cases = []
    while missing:
        best = max(grid, key=lambda case: len(missing.intersection(combinations(case, 2))))
        missing -= {*combinations(best, 2)}
        cases.append(dict(best))
    return cases
