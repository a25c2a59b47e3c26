"""Verdicts on published numbers: ours against theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaebench.reporting.claims import NO_RATIO, SURE, is_exact
from vaebench.reporting.match import Matches, RowRuns
from vaebench.reporting.papers import TIERS, Target, Tier
from vaebench.reporting.row_values import PER_DATUM, comparison_of, parts_of, unlike, value

CELL_VERDICTS = ("agrees", "direction agrees", "differs", "not comparable", "not run")
"""Strongest to weakest."""

DOUBTED = "published value doubted"


@dataclass(frozen=True)
class Cell:
    """Cell of a table: our number and the published one, if there is one."""

    row: str
    column: str
    measure: str
    published: float | None
    verdict: str
    ours: float | None = None
    standard_error: float | None = None
    """Over seeds; over test examples if there is one seed."""
    seeds: tuple[int, ...] = ()
    tier: Tier | None = None
    variant: str = ""
    n: int | None = None
    """Smallest number of test examples of any run."""
    num_samples: int | None = None
    """Smallest number of samples per test example of any run, if the evaluator samples."""
    notes: tuple[str, ...] = ()

    @property
    def reservations(self) -> list[str]:
        """Ways in which the setup of our runs differs from the published one."""
        tier = [f"tier {self.tier}"] if self.tier not in ("full", None) else []
        return tier + [f"data {self.variant}"] * bool(self.variant)

    @property
    def is_doubted(self) -> bool:
        """True if the paper's file gives a reason to doubt the published number."""
        return any(note.startswith(DOUBTED) for note in self.notes)

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        return None if self.ours is None or self.published is None else self.ours - self.published


def best(paper: str, row: str, measurements: Sequence[str], matches: Matches) -> RowRuns:
    """Return a row's runs at the best tier at which any run has these measurements."""
    by_tier = (matches.of(paper, row, tier).with_measure(measurements) for tier in TIERS)
    return next((row_runs for row_runs in by_tier if row_runs.runs), RowRuns("full", {}, ""))


def judge_cell(paper: str, target: Target, row: str, column: str, matches: Matches) -> Cell:
    """Compare our number with the published one.

    A number `agrees` if it is within the column's tolerance, at the full tier, on the published data, with a
    standard error no larger than the tolerance. Otherwise the direction decides: whether the row beats or
    loses to the paper's reference row as published.
    """
    measure, published = target.columns[column].measure, target.published(row, column)
    names = parts_of(measure)
    row_runs = best(paper, row, names, matches)
    if not row_runs.runs:
        return Cell(row, column, measure, published, "not run")
    ours, error = mean_and_error(row_runs, measure)
    n, num_samples = sizes(row_runs, names)
    notes = [*row_runs.notes, *fewer_data(row_runs, names, n, num_samples)]
    if len(row_runs.runs) == 1:
        notes.append(
            "one seed: the standard error is over test examples" if error is not None else "one seed"
        )
    if doubts := target.remark(target.not_credible, row, column):
        notes.append(f"{DOUBTED}: {doubts}")
    obstacle = target.remark(target.not_comparable, row, column)
    verdict = "not comparable"
    if not np.isfinite(ours):
        obstacle = NO_RATIO
    elif row_runs.tier == "smoke":
        obstacle = "tier smoke: its numbers mean nothing"
    elif published is None:
        obstacle = obstacle or "the paper prints no value"
    if obstacle:
        notes.append(obstacle)
    else:
        assert published is not None
        can_agree = row_runs.tier == "full" and not row_runs.variant
        tolerance = target.columns[column].tolerance
        inside = can_agree and abs(ours - published) <= tolerance
        if can_agree and error is not None and not error <= tolerance:
            notes.append("the standard error exceeds the tolerance")
            can_agree = False
        if differences := [f"between seeds: {why}" for why in unlike({row: row_runs.runs}, measure)]:
            notes += differences
            can_agree = False
        direction, reservations = _direction(paper, target, row, column, row_runs, matches)
        notes += reservations * (not (inside and can_agree))
        if inside:
            verdict = "agrees" if can_agree else "not comparable"
        elif direction is None:
            verdict = "differs" if can_agree else "not comparable"
        else:
            verdict = "direction agrees" if direction else "differs"
    return Cell(
        row, column, measure, published, verdict, ours, error,
        tuple(row_runs.runs), row_runs.tier, row_runs.variant, n, num_samples, tuple(notes),
    )  # fmt: skip


def mean_and_error(row_runs: RowRuns, measure: str) -> tuple[float, float | None]:
    """Return mean and standard error over seeds.

    With one seed the error is the one over test examples; a measure of two measurements has none.
    """
    values = np.array([value(run, measure) for run in row_runs.runs.values()])
    if len(values) > 1:
        return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    (run,) = row_runs.runs.values()
    (name, *others) = parts_of(measure)
    return float(values[0]), None if others else run.numbers[name].standard_error


def sizes(row_runs: RowRuns, names: Sequence[str]) -> tuple[int, int | None]:
    """Return the smallest n, and the smallest S if the evaluators sample, of these measurements."""
    numbers = [run.numbers[name] for run in row_runs.runs.values() for name in names]
    samples = [int(number.settings["num_samples"]) for number in numbers if "num_samples" in number.settings]
    return min(number.n for number in numbers), min(samples, default=None)


def fewer_data(row_runs: RowRuns, names: Sequence[str], n: int, num_samples: int | None) -> list[str]:
    """Return a note if an evaluator took a subset of the test examples that the likelihood or bound has."""
    by_run = [run.numbers for run in row_runs.runs.values()]
    usual = max((numbers[name].n for numbers in by_run for name in PER_DATUM if name in numbers), default=n)
    is_subset = any(numbers[name].settings.get("num_data") == n for numbers in by_run for name in names)
    if n >= usual or not is_subset:
        return []
    samples = f"S = {num_samples:,}, " if num_samples else ""
    return [f"{samples}n = {n:,} of the row's {usual:,} test examples"]


def _direction(
    paper: str, target: Target, row: str, column: str, row_runs: RowRuns, matches: Matches
) -> tuple[bool | None, list[str]]:
    """Return whether our row beats or loses to the reference row as published, and notes.

    The result needs 95 % of the draws, as a claim does. It is None if that cannot be decided.
    """
    other, measure = target.compared_with(row), target.columns[column].measure
    if other is None:
        return None, []
    theirs = target.published(row, column), target.published(other, column)
    reference = matches.of(paper, other, row_runs.tier).with_measure(parts_of(measure))
    if None in theirs or not reference.runs or reference.variant != row_runs.variant:
        return None, []
    if differences := list(unlike({row: row_runs.runs, other: reference.runs}, measure)):
        return None, differences
    seeds = [seed for seed in row_runs.runs if seed in reference.runs]
    if not seeds:
        return None, ["no seed in common with the reference row"]
    published = theirs[0] - theirs[1]  # type: ignore[operator]
    both = {row: row_runs, other: reference}
    pair = comparison_of(
        {key: {seed: one.runs[seed] for seed in seeds} for key, one in both.items()}, seeds, measure
    )
    difference, draws = pair.means[row] - pair.means[other], pair.draws[row] - pair.draws[other]
    if pair.obstacle:
        return None, [pair.obstacle]
    if not np.isfinite(difference):
        return None, []
    if published == 0:
        return abs(difference) <= target.columns[column].tolerance, []
    if len(seeds) == 1 and is_exact(pair):
        return None, ["direction undecided: one seed, and no standard error over test examples"]
    share = float(np.mean(np.sign(draws) == np.sign(published)))
    if 1 - SURE < share < SURE:
        return None, [f"direction undecided: {100 * share:.0f} % of draws have the published direction"]
    return share >= SURE, []
