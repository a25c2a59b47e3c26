"""All of a target's verdicts together: on its numbers, on its claims, and what of it is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.reporting.claims import ClaimVerdict, judge
from vaebench.reporting.match import Matches, RowRuns, match
from vaebench.reporting.measurements import settled
from vaebench.reporting.papers import TIERS, Name, Paper, Target
from vaebench.reporting.published_values import Cell, best, judge_cell
from vaebench.reporting.row_values import parts_of
from vaebench.reporting.runs import Run

CLAIM_VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not run")


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
    drawn: dict[str, RowRuns]
    """Row -> its runs at the one tier that a figure shows, so that rows differ in nothing else."""
    lacking: dict[str, tuple[str, ...]]
    """Row -> its columns that have not been measured, of rows that have any; all if it has not run."""

    @property
    def missing(self) -> list[str]:
        """What has not run: labels of rows, and `row: column` of rows of which only some is measured."""
        told = []
        for row, columns in self.lacking.items():
            label = self.paper.rows[row].label
            told += [f"{label}: {column}" for column in columns] if self.runs[row].runs else [label]
        return told

    @property
    def has_run(self) -> bool:
        """True if any row has a run."""
        return any(row_runs.runs for row_runs in self.runs.values())

    def cells_of(self, row: str) -> list[Cell]:
        """Return the cells of a row, in the order of the columns."""
        return [self.cells[row, column] for column in self.target.columns]

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

    def of(self, paper: str) -> list[TargetReport]:
        return [target for target in self.targets.values() if target.name.paper == paper]

    def tiers(self, paper: str) -> str:
        """Those that a paper's claims were judged at."""
        claims = (claim for target in self.of(paper) for claim in target.claims)
        return " ".join(sorted({claim.tier for claim in claims if claim.tier}))

    def claims(self, paper: str) -> Counter[str]:
        """How many of a paper's claims have which verdict."""
        return sum((target.counts()[1] for target in self.of(paper)), Counter[str]())


def make_report(papers: Mapping[str, Paper], runs: Sequence[Run]) -> Report:
    """Match runs to rows, and judge every cell and claim."""
    matches = match(papers, runs)
    sources = evaluators_of(runs)
    targets = {
        str(name): compare(name, paper, paper.targets[name.target], matches, sources)
        for paper_name, paper in papers.items()
        for name in (Name(paper_name, target) for target in paper.targets)
    }
    of_runs = [f"{run}: {problem}" for run in runs for problem in run.problems]
    return Report(papers, runs, targets, (*of_runs, *dict.fromkeys(matches.problems)))


def evaluators_of(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Measurement -> the evaluators that gave it to any run."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, number in run.numbers.items():
            found.setdefault(name, set()).add(number.evaluator)
    return found


def compare(
    name: Name, paper: Paper, target: Target, matches: Matches, sources: Mapping[str, set[str]]
) -> TargetReport:
    """One table or figure; `sources` are the evaluators that give a measurement."""
    cells = {
        (row, column): judge_cell(name.paper, target, row, column, matches)
        for row in target.cells
        for column in target.columns
    }
    claims = tuple(judge(claim, name.paper, matches) for claim in target.claims)
    runs = {row: best(name.paper, row, (), matches) for row in target.cells}
    lacking = {
        row: tuple(
            column
            for column in target.columns
            if cells[row, column].verdict == "not run"
            and not _has_none(found, target.columns[column].measure, sources)
        )
        for row, found in runs.items()
    }
    lacking = {row: columns for row, columns in lacking.items() if columns}
    drawn = at_one_tier(name.paper, target, matches)
    return TargetReport(name, paper, target, cells, claims, runs, drawn, lacking)


def at_one_tier(paper: str, target: Target, matches: Matches) -> dict[str, RowRuns]:
    """Row -> its runs at the tier with most of the rows, of several the best; smoke if there is no other."""
    of_tier = [{row: matches.of(paper, row, tier) for row in target.cells} for tier in TIERS]
    *real, smoke = of_tier
    most = max(real, key=lambda rows: sum(bool(found.runs) for found in rows.values()))
    return most if any(found.runs for found in most.values()) else smoke


def _has_none(found: RowRuns, measure: str, sources: Mapping[str, set[str]]) -> bool:
    """Whether what gives the measure elsewhere has seen a run of this row, and had nothing to say of it."""
    seen = set().union(*(settled(run.results) for run in found.runs.values()))
    return any(
        sources.get(part, set()) & seen for part in parts_of(measure) if not found.with_measure((part,)).runs
    )
