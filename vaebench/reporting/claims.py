"""Does a claim hold? By how many draws of seeds and test points all of it does, or a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from vaebench.reporting.match import Matches, RowRuns
from vaebench.reporting.papers import TIERS, Tier
from vaebench.reporting.row_values import Compared, compared, parts_of, unlike, value
from vaebench.reporting.statements import Claim, Greater, Ordered, Statement, Widening, Within

SURE = 0.95


@dataclass(frozen=True)
class ClaimVerdict:
    """What our runs say of a claim."""

    claim: Claim
    verdict: str
    """reproduced, not reproduced, inconclusive, not run."""
    confidence: float | None
    """The share of draws in which all of the claim holds."""
    tier: Tier | None
    seeds: tuple[int, ...]
    numbers: Mapping[str, float]
    """Row -> mean over seeds, of the data that all rows have."""
    notes: tuple[str, ...]


def judge(claim: Claim, paper: str, matches: Matches) -> ClaimVerdict:
    """The verdict at the best tier that has all of the claim's rows."""
    statement = claim.statement
    names = parts_of(statement.measure)
    missing = [*statement.rows]
    for tier in TIERS:
        rows = {row: matches.of(paper, row, tier).with_measure(names) for row in statement.rows}
        if all(found.runs for found in rows.values()):
            return _judged(claim, tier, rows)
        missing = min(missing, [row for row, found in rows.items() if not found.runs], key=len)
    return ClaimVerdict(claim, "not run", None, None, (), {}, (f"missing: {', '.join(missing)}",))


def _judged(claim: Claim, tier: Tier, rows: Mapping[str, RowRuns]) -> ClaimVerdict:
    statement = claim.statement
    notes = [*dict.fromkeys(note for found in rows.values() for note in found.notes)]
    if tier != "full":
        notes.append(f"tier {tier}")
    if variants := sorted({found.variant for found in rows.values() if found.variant}):
        notes.append(f"data: {', '.join(variants)}")
    seeds = tuple(sorted(set.intersection(*(set(found.runs) for found in rows.values()))))

    numbers: Mapping[str, float] = {
        row: float(np.mean([value(found.runs[seed], statement.measure) for seed in seeds or found.runs]))
        for row, found in rows.items()
    }

    def verdict(word: str, confidence: float | None) -> ClaimVerdict:
        return ClaimVerdict(claim, word, confidence, tier, seeds, numbers, tuple(notes))

    if not seeds:
        notes.append("no seed that all rows have")
        return verdict("inconclusive", None)
    if len({found.variant for found in rows.values()}) > 1:
        notes.append("rows on different data")
        return verdict("inconclusive", None)
    chosen = {row: {seed: found.runs[seed] for seed in seeds} for row, found in rows.items()}
    every = [value(run, statement.measure) for runs in chosen.values() for run in runs.values()]
    if not np.isfinite(every).all():
        notes.append("0 or less in a denominator")
        return verdict("inconclusive", None)
    if different := list(unlike(chosen, statement.measure)):
        notes += different
        return verdict("inconclusive", None)
    found = compared(chosen, seeds, statement.measure)
    numbers = found.means
    if found.num_data is not None:
        notes.append(f"over the {found.num_data} data that all rows have")
    if len(seeds) == 1:
        notes.append("one seed: how much seeds differ is not known")
        if is_exact(found):
            notes.append("nor any error over test points")
            return verdict("inconclusive", None)
    word, confidence = decided(holds(statement, found.draws))
    return verdict("inconclusive" if tier == "smoke" else word, confidence)


def is_exact(found: Compared) -> bool:
    """Whether nothing tells by how much these numbers would vary."""
    return all(np.ptp(values) == 0 for values in found.draws.values())


def decided(parts: np.ndarray) -> tuple[str, float]:
    """Verdict and confidence of a claim whose parts hold in these draws, `[K, DRAWS]`.

    It is reproduced if all parts hold together in 95 % of the draws. That several parts of which none is
    false often fail to hold together refutes nothing: it is not reproduced only if a single part holds in no
    more than 5 % / K of the draws (Bonferroni).
    """
    confidence = float(parts.all(0).mean())
    if confidence >= SURE:
        return "reproduced", confidence
    refuted = parts.mean(1).min() <= (1 - SURE) / len(parts)
    return "not reproduced" if refuted else "inconclusive", confidence


def holds(statement: Statement, of_row: Mapping[str, np.ndarray]) -> np.ndarray:
    """In which draws each part of the statement is true, `[K, DRAWS]`.

    A part is one inequality: of a pair, of a row and a bound, of a step, of a row and another. (In an
    interval with two bounds, numbers that are far less certain than it is wide would rarely lie.)
    """
    if isinstance(statement, Greater):
        parts = [of_row[a] - of_row[b] > statement.by for a, b in statement.pairs]
    elif isinstance(statement, Within):
        low, high = statement.low, statement.high
        parts = [of_row[row] >= low for row in statement.rows if low is not None]
        parts += [of_row[row] <= high for row in statement.rows if high is not None]
    elif isinstance(statement, Ordered):
        sign = 1 if statement.direction == "rises" else -1
        parts = [sign * (of_row[b] - of_row[a]) > 0 for a, b in pairwise(statement.rows)]
    elif isinstance(statement, Widening):
        differences = [of_row[a] - of_row[b] for a, b in statement.pairs]
        parts = [later - earlier > 0 for earlier, later in pairwise(differences)]
    else:
        of_two = permutations((of_row[row] for row in statement.rows), 2)
        parts = [(b > 0) & (a <= statement.factor * b) for a, b in of_two]
    return np.stack(parts)
