"""Ours beside theirs: the verdict on each published number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaebench.reporting.claims import SURE, is_exact
from vaebench.reporting.match import Matches, RowRuns
from vaebench.reporting.papers import TIERS, Target, Tier
from vaebench.reporting.row_values import PER_DATUM, compared, parts_of, unlike, value

CELL_VERDICTS = ("agrees", "direction agrees", "differs", "not comparable", "not run")

DOUBTED = "published value doubted"


@dataclass(frozen=True)
class Cell:
    """A published number, or its place in a figure, and ours."""

    row: str
    column: str
    measure: str
    published: float | None
    verdict: str
    ours: float | None = None
    standard_error: float | None = None
    """Over seeds, or over test data where there is one seed."""
    seeds: tuple[int, ...] = ()
    tier: Tier | None = None
    variant: str = ""
    n: int | None = None
    """The fewest data that any of the runs took it over."""
    num_samples: int | None = None
    """The fewest draws a datum, where the evaluator draws any."""
    notes: tuple[str, ...] = ()

    @property
    def reservations(self) -> list[str]:
        """In what its runs are not like the published one, if they have a number."""
        tier = [f"tier {self.tier}"] if self.tier not in ("full", None) else []
        return tier + [f"data {self.variant}"] * bool(self.variant)

    @property
    def is_doubted(self) -> bool:
        """Whether the paper's file gives a reason to doubt the published number."""
        return any(note.startswith(DOUBTED) for note in self.notes)

    @property
    def difference(self) -> float | None:
        return None if self.ours is None or self.published is None else self.ours - self.published


def best(paper: str, row: str, measurements: Sequence[str], matches: Matches) -> RowRuns:
    """A row's runs at the best tier at which any has these measurements."""
    every = (matches.of(paper, row, tier).with_measure(measurements) for tier in TIERS)
    return next((found for found in every if found.runs), RowRuns("full", {}, ""))


def judge_cell(paper: str, target: Target, row: str, column: str, matches: Matches) -> Cell:
    """Ours, theirs, and what to think of it.

    `agrees` is within the column's tolerance, at the full tier and on the published data, with a standard
    error that is no larger than the tolerance. Otherwise what counts is whether the row stands to the one
    that the paper compares it with as in the paper.
    """
    measure, published = target.columns[column].measure, target.published(row, column)
    names = parts_of(measure)
    found = best(paper, row, names, matches)
    if not found.runs:
        return Cell(row, column, measure, published, "not run")
    ours, error = mean_and_error(found, measure)
    n, num_samples = sizes(found, names)
    notes = [*found.notes, *fewer_data(found, names, n, num_samples)]
    if len(found.runs) == 1:
        notes.append("one seed, error over test data")
    if doubts := target.remark(target.not_credible, row, column):
        notes.append(f"{DOUBTED}: {doubts}")
    obstacle = target.remark(target.not_comparable, row, column)
    verdict = "not comparable"
    if not np.isfinite(ours):
        obstacle = "0 or less in a denominator"
    elif found.tier == "smoke":
        obstacle = "tier smoke: no number means anything"
    elif published is None:
        obstacle = obstacle or "no value is published"
    if obstacle:
        notes.append(obstacle)
    else:
        assert published is not None
        equal = found.tier == "full" and not found.variant
        tolerance = target.columns[column].tolerance
        inside = equal and abs(ours - published) <= tolerance
        if equal and error is not None and not error <= tolerance:
            notes.append("standard error above the tolerance")
            equal = False
        if different := [f"over seeds {why}" for why in unlike({row: found.runs}, measure)]:
            notes += different
            equal = False
        direction, reservations = _direction(paper, target, row, column, found, matches)
        notes += reservations * (not (inside and equal))
        if inside:
            verdict = "agrees" if equal else "not comparable"
        elif direction is None:
            verdict = "differs" if equal else "not comparable"
        else:
            verdict = "direction agrees" if direction else "differs"
    return Cell(
        row, column, measure, published, verdict, ours, error,
        tuple(found.runs), found.tier, found.variant, n, num_samples, tuple(notes),
    )  # fmt: skip


def mean_and_error(found: RowRuns, measure: str) -> tuple[float, float | None]:
    """Over seeds; of one seed, its error over test data, if it is one measurement that has one."""
    values = np.array([value(run, measure) for run in found.runs.values()])
    if len(values) > 1:
        return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    (run,) = found.runs.values()
    (name, *others) = parts_of(measure)
    return float(values[0]), None if others else run.numbers[name].standard_error


def sizes(found: RowRuns, names: Sequence[str]) -> tuple[int, int | None]:
    """The fewest data, and draws a datum, over which any of the runs took these measurements."""
    numbers = [run.numbers[name] for run in found.runs.values() for name in names]
    draws = [int(number.settings["num_samples"]) for number in numbers if "num_samples" in number.settings]
    return min(number.n for number in numbers), min(draws, default=None)


def fewer_data(found: RowRuns, names: Sequence[str], n: int, num_samples: int | None) -> list[str]:
    """A note where a choice of test data is smaller than what the row's likelihood or its bound has."""
    of_runs = [run.numbers for run in found.runs.values()]
    usual = max((numbers[name].n for numbers in of_runs for name in PER_DATUM if name in numbers), default=n)
    is_choice = any(numbers[name].settings.get("num_data") == n for numbers in of_runs for name in names)
    if n >= usual or not is_choice:
        return []
    return [f"{f'S = {num_samples}, ' if num_samples else ''}n = {n}, where the row has {usual} data"]


def _direction(
    paper: str, target: Target, row: str, column: str, found: RowRuns, matches: Matches
) -> tuple[bool | None, list[str]]:
    """Whether ours differs from that of the row it is compared with in the published direction, as sure as a
    claim has to be; None, perhaps with a reason, where it cannot be told."""
    other, measure = target.compared_with(row), target.columns[column].measure
    if other is None:
        return None, []
    theirs = target.published(row, column), target.published(other, column)
    reference = matches.of(paper, other, found.tier).with_measure(parts_of(measure))
    if None in theirs or not reference.runs or reference.variant != found.variant:
        return None, []
    if different := list(unlike({row: found.runs, other: reference.runs}, measure)):
        return None, different
    seeds = [seed for seed in found.runs if seed in reference.runs]
    if not seeds:
        return None, ["no seed that it has in common with the row that it is compared with"]
    published = theirs[0] - theirs[1]  # type: ignore[operator]
    both = {key: {seed: of.runs[seed] for seed in seeds} for key, of in ((row, found), (other, reference))}
    pair = compared(both, seeds, measure)
    difference, draws = pair.means[row] - pair.means[other], pair.draws[row] - pair.draws[other]
    if not np.isfinite(difference):
        return None, []
    if published == 0:
        return abs(difference) <= target.columns[column].tolerance, []
    if len(seeds) == 1 and is_exact(pair):
        return None, ["one seed and no error over test data: its direction is not sure"]
    share = float(np.mean(np.sign(draws) == np.sign(published)))
    if 1 - SURE < share < SURE:
        return None, [f"its direction is not sure: the published one in {100 * share:.0f} % of draws"]
    return share >= SURE, []
