"""Ours beside theirs: the verdict on each published number, and all of a target's verdicts together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vaebench.reporting.claims import ClaimVerdict, judge
from vaebench.reporting.collect import Run
from vaebench.reporting.match import Matches, RowRuns, match
from vaebench.reporting.measures import parts_of, value
from vaebench.reporting.papers import TIERS, Name, Paper, Target, Tier

CELL_VERDICTS = ("agrees", "direction agrees", "differs", "not comparable", "not run")
CLAIM_VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not run")


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
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        return None if self.ours is None or self.published is None else self.ours - self.published


@dataclass(frozen=True)
class TargetReport:
    """A table or figure with our numbers in it."""

    name: Name
    paper: Paper
    target: Target
    cells: dict[tuple[str, str], Cell]
    claims: tuple[ClaimVerdict, ...]
    runs: dict[str, RowRuns]
    """Row -> its runs at the best tier."""

    @property
    def missing(self) -> list[str]:
        """Rows of which nothing has run."""
        return [row for row, found in self.runs.items() if not found.runs]

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """How many cells with a published number, and claims, have which verdict."""
        cells = Counter(cell.verdict for cell in self.cells.values() if cell.published is not None)
        return cells, Counter(claim.verdict for claim in self.claims)


@dataclass(frozen=True)
class Report:
    """Everything that a folder of runs says about the papers."""

    papers: Mapping[str, Paper]
    runs: Sequence[Run]
    targets: dict[str, TargetReport]
    problems: tuple[str, ...]
    """What could not be read or used, by name."""


def make_report(papers: Mapping[str, Paper], runs: Sequence[Run]) -> Report:
    """Match runs to rows, and judge every cell and claim."""
    matches = match(papers, runs)
    targets = {
        str(name): compare(name, paper, paper.targets[name.target], matches)
        for paper_name, paper in papers.items()
        for name in (Name(paper_name, target) for target in paper.targets)
    }
    unreadable = [f"{run}: {run.note}" for run in runs if run.state == "unreadable"]
    return Report(papers, runs, targets, (*unreadable, *dict.fromkeys(matches.problems)))


def compare(name: Name, paper: Paper, target: Target, matches: Matches) -> TargetReport:
    """One table or figure."""
    cells = {
        (row, column): judge_cell(name.paper, target, row, column, matches)
        for row in target.cells
        for column in target.columns
    }
    claims = tuple(judge(claim, name.paper, matches) for claim in target.claims)
    runs = {row: best(name.paper, row, (), matches) for row in target.cells}
    return TargetReport(name, paper, target, cells, claims, runs)


def best(paper: str, row: str, measurements: Sequence[str], matches: Matches) -> RowRuns:
    """A row's runs at the best tier at which any has these measurements."""
    every = (matches.of(paper, row, tier).with_measure(measurements) for tier in TIERS)
    return next((found for found in every if found.runs), RowRuns("full", {}, ""))


def judge_cell(paper: str, target: Target, row: str, column: str, matches: Matches) -> Cell:
    """Ours, theirs, and what to think of it.

    `agrees` is within the column's tolerance, at the full tier and on the published data. Otherwise what
    counts is whether the row stands to the one that the paper compares it with as in the paper.
    """
    measure, published = target.columns[column].measure, target.published(row, column)
    names = parts_of(measure)
    found = best(paper, row, names, matches)
    if not found.runs:
        return Cell(row, column, measure, published, "not run")
    ours, error = mean_and_error(found, measure)
    notes = list(found.notes)
    if len(found.runs) == 1:
        notes.append("one seed, error over test data")
    if doubts := target.remark(target.not_credible, row, column):
        notes.append(f"published value doubted: {doubts}")
    obstacle = target.remark(target.not_comparable, row, column)
    if found.tier == "smoke":
        obstacle = "tier smoke: no number means anything"
    elif published is None:
        obstacle = obstacle or "no value is published"
    if obstacle:
        verdict = "not comparable"
        notes.append(obstacle)
    else:
        assert published is not None
        equal = found.tier == "full" and not found.variant
        tolerance = target.columns[column].tolerance
        other = target.compared_with(row)
        direction = other and _direction(paper, target, row, other, column, found, matches)
        if equal and abs(ours - published) <= tolerance:
            verdict = "agrees"
        elif direction is None:
            verdict = "differs" if equal else "not comparable"
        else:
            verdict = "direction agrees" if direction else "differs"
    return Cell(
        row, column, measure, published, verdict, ours, error,
        tuple(found.runs), found.tier, found.variant, tuple(notes),
    )  # fmt: skip


def mean_and_error(found: RowRuns, measure: str) -> tuple[float, float | None]:
    """Over seeds; of one seed, its error over test data, if it is one measurement that has one."""
    values = np.array([value(run, measure) for run in found.runs.values()])
    if len(values) > 1:
        return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    (run,) = found.runs.values()
    (name, *others) = parts_of(measure)
    return float(values[0]), None if others else run.numbers[name].standard_error


def _direction(
    paper: str, target: Target, row: str, other: str, column: str, found: RowRuns, matches: Matches
) -> bool | None:
    """Whether ours differs from the other row's in the published direction; None where it cannot be told."""
    measure = target.columns[column].measure
    theirs = target.published(row, column), target.published(other, column)
    reference = matches.of(paper, other, found.tier).with_measure(parts_of(measure))
    if None in theirs or not reference.runs or reference.variant != found.variant:
        return None
    published = theirs[0] - theirs[1]  # type: ignore[operator]
    ours = mean_and_error(found, measure)[0] - mean_and_error(reference, measure)[0]
    if published == 0:
        return abs(ours) <= target.columns[column].tolerance
    return bool(np.sign(ours) == np.sign(published))
