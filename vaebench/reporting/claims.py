"""Verdicts on claims: the share of bootstrap draws in which a claim, or one of its parts, holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from vaebench.reporting.match import Matches, RowRuns
from vaebench.reporting.papers import TIERS, Tier
from vaebench.reporting.row_values import Comparison, comparison_of, parts_of, unlike, value
from vaebench.reporting.statements import Claim, Greater, Ordered, Statement, Widening, Within

SURE = 0.95
"""Share of draws that decides."""
NO_RATIO = "no ratio: its denominator is zero or negative"


@dataclass(frozen=True)
class ClaimVerdict:
    """Verdict of our runs on a claim."""

    claim: Claim
    verdict: str
    """`reproduced`, `not reproduced`, `inconclusive` or `not run`."""
    confidence: float | None
    """Share of draws in which the whole claim holds."""
    tier: Tier | None
    seeds: tuple[int, ...]
    numbers: Mapping[str, float]
    """Row -> mean over seeds, on the test examples that all rows have."""
    notes: tuple[str, ...]


def judge(claim: Claim, paper: str, matches: Matches) -> ClaimVerdict:
    """Judge a claim at the best tier that has all its rows."""
    statement = claim.statement
    names = parts_of(statement.measure)
    missing = [*statement.rows]
    for tier in TIERS:
        rows = {row: matches.of(paper, row, tier).with_measure(names) for row in statement.rows}
        lacking = [row for row, row_runs in rows.items() if not row_runs.runs]
        if not lacking:
            return _judged(claim, tier, rows)
        missing = min(missing, lacking, key=len)
    return ClaimVerdict(claim, "not run", None, None, (), {}, (f"missing: {', '.join(missing)}",))


def _judged(claim: Claim, tier: Tier, rows: Mapping[str, RowRuns]) -> ClaimVerdict:
    """Judge a claim whose rows all have runs at this tier."""
    statement = claim.statement
    notes = [*dict.fromkeys(note for row_runs in rows.values() for note in row_runs.notes)]
    if tier != "full":
        notes.append(f"tier {tier}")
    if variants := sorted({row_runs.variant for row_runs in rows.values() if row_runs.variant}):
        notes.append(f"data: {', '.join(variants)}")
    seeds = tuple(sorted(set.intersection(*(set(row_runs.runs) for row_runs in rows.values()))))

    numbers: Mapping[str, float] = {
        row: float(
            np.mean([value(row_runs.runs[seed], statement.measure) for seed in seeds or row_runs.runs])
        )
        for row, row_runs in rows.items()
    }

    def verdict(word: str, confidence: float | None) -> ClaimVerdict:
        return ClaimVerdict(claim, word, confidence, tier, seeds, numbers, tuple(notes))

    if not seeds:
        notes.append("the rows have no seed in common")
        return verdict("inconclusive", None)
    if len({row_runs.variant for row_runs in rows.values()}) > 1:
        notes.append("the rows were measured on different datasets")
        return verdict("inconclusive", None)
    chosen = {row: {seed: row_runs.runs[seed] for seed in seeds} for row, row_runs in rows.items()}
    values = [value(run, statement.measure) for runs in chosen.values() for run in runs.values()]
    if not np.isfinite(values).all():
        notes.append(NO_RATIO)
        return verdict("inconclusive", None)
    if differences := list(unlike(chosen, statement.measure)):
        notes += differences
        return verdict("inconclusive", None)
    comparison = comparison_of(chosen, seeds, statement.measure)
    numbers = comparison.means
    if comparison.obstacle:
        notes.append(comparison.obstacle)
        return verdict("inconclusive", None)
    if comparison.num_data is not None:
        notes.append(f"on the {comparison.num_data:,} test examples that all rows have")
    if len(seeds) == 1:
        notes.append("one seed: seed-to-seed variance unknown")
        if is_exact(comparison):
            notes.append("no standard error over test examples")
            return verdict("inconclusive", None)
    word, confidence = decided(holds(statement, comparison.draws))
    return verdict("inconclusive" if tier == "smoke" else word, confidence)


def is_exact(comparison: Comparison) -> bool:
    """Return True if the draws of each row are constant: the uncertainty is unknown."""
    return all(np.ptp(values) == 0 for values in comparison.draws.values())


def decided(parts: np.ndarray) -> tuple[str, float]:
    """Return verdict and confidence, given the draws in which each part holds, `[K, DRAWS]`.

    The claim is reproduced if all parts hold together in at least 95 % of the draws. It is not reproduced if
    one of its K parts holds in at most 5 % / K of the draws (Bonferroni). Several true parts often fail to
    hold together, so the share of the whole claim does not reject it.
    """
    confidence = float(parts.all(0).mean())
    if confidence >= SURE:
        return "reproduced", confidence
    refuted = parts.mean(1).min() <= (1 - SURE) / len(parts)
    return "not reproduced" if refuted else "inconclusive", confidence


def holds(statement: Statement, by_row: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the draws in which each part of the statement holds, `[K, DRAWS]`.

    A part is one inequality: a pair, a row and one bound, a step of an order, a row and another row. The two
    bounds of an interval are two parts, so that noise much wider than the interval does not reject it.
    """
    if isinstance(statement, Greater):
        parts = [by_row[a] - by_row[b] > statement.by for a, b in statement.pairs]
    elif isinstance(statement, Within):
        low, high = statement.low, statement.high
        parts = [by_row[row] >= low for row in statement.rows if low is not None]
        parts += [by_row[row] <= high for row in statement.rows if high is not None]
    elif isinstance(statement, Ordered):
        sign = 1 if statement.direction == "rises" else -1
        parts = [sign * (by_row[b] - by_row[a]) > 0 for a, b in pairwise(statement.rows)]
    elif isinstance(statement, Widening):
        differences = [by_row[a] - by_row[b] for a, b in statement.pairs]
        parts = [later - earlier > 0 for earlier, later in pairwise(differences)]
    else:
        pairs = permutations((by_row[row] for row in statement.rows), 2)
        parts = [(b > 0) & (a <= statement.factor * b) for a, b in pairs]
    return np.stack(parts)
