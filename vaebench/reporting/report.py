"""Report on all targets: verdicts on numbers and claims, and what is missing."""

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
    """Report on a table or figure."""

    name: Name
    paper: Paper
    target: Target
    cells: dict[tuple[str, str], Cell]
    claims: tuple[ClaimVerdict, ...]
    runs: dict[str, RowRuns]
    """Row -> runs at the best tier."""
    drawn: dict[str, RowRuns]
    """Row -> runs at the tier that the figure shows; it is one tier, so that its rows are comparable."""
    lacking: dict[str, tuple[str, ...]]
    """Row -> columns that have not been measured; rows without such columns are left out."""

    @property
    def missing(self) -> list[str]:
        """Rows that have not run, and `row: column` for the missing columns of the others."""
        missing = []
        for row, columns in self.lacking.items():
            label = self.paper.rows[row].label
            missing += [f"{label}: {column}" for column in columns] if self.runs[row].runs else [label]
        return missing

    @property
    def has_run(self) -> bool:
        """True if any row has a run."""
        return any(row_runs.runs for row_runs in self.runs.values())

    def cells_of(self, row: str) -> list[Cell]:
        """Return the cells of a row, in the order of the columns."""
        return [self.cells[row, column] for column in self.target.columns]

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Count the verdicts of published numbers and of claims."""
        cells = Counter(cell.verdict for cell in self.cells.values() if cell.published is not None)
        return cells, Counter(claim.verdict for claim in self.claims)


@dataclass(frozen=True)
class Report:
    """Report on all papers from a folder of runs."""

    papers: Mapping[str, Paper]
    runs: Sequence[Run]
    targets: dict[str, TargetReport]
    problems: tuple[str, ...]
    """Messages about runs and files that could not be read or used."""

    def of(self, paper: str) -> list[TargetReport]:
        """Return the targets of a paper."""
        return [target for target in self.targets.values() if target.name.paper == paper]

    def tiers(self, paper: str) -> str:
        """Return the tiers at which a paper's claims were judged."""
        claims = (claim for target in self.of(paper) for claim in target.claims)
        return " ".join(sorted({claim.tier for claim in claims if claim.tier}))

    def claims(self, paper: str) -> Counter[str]:
        """Count the verdicts of a paper's claims."""
        return sum((target.counts()[1] for target in self.of(paper)), Counter[str]())


def make_report(papers: Mapping[str, Paper], runs: Sequence[Run]) -> Report:
    """Match runs to rows, then judge all cells and claims."""
    matches = match(papers, runs)
    sources = evaluators_of(runs)
    targets = {
        str(name): compare(name, paper, paper.targets[name.target], matches, sources)
        for paper_name, paper in papers.items()
        for name in (Name(paper_name, target) for target in paper.targets)
    }
    problems = [f"{run}: {problem}" for run in runs for problem in run.problems]
    return Report(papers, runs, targets, (*problems, *dict.fromkeys(matches.problems)))


def evaluators_of(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return measurement -> evaluators that measured it in any run."""
    evaluators: dict[str, set[str]] = {}
    for run in runs:
        for name, number in run.numbers.items():
            evaluators.setdefault(name, set()).add(number.evaluator)
    return evaluators


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
            and not _does_not_apply(row_runs, target.columns[column].measure, sources)
        )
        for row, row_runs in runs.items()
    }
    lacking = {row: columns for row, columns in lacking.items() if columns}
    drawn = at_one_tier(name.paper, target, matches)
    return TargetReport(name, paper, target, cells, claims, runs, drawn, lacking)


def at_one_tier(paper: str, target: Target, matches: Matches) -> dict[str, RowRuns]:
    """Return row -> runs at the tier that has runs of most rows; a tie goes to the better tier.

    The smoke tier is used only if no row has run at another.
    """
    *better, smoke = ({row: matches.of(paper, row, tier) for row in target.cells} for tier in TIERS)
    most = max(better, key=lambda rows: sum(bool(row_runs.runs) for row_runs in rows.values()))
    return most if any(row_runs.runs for row_runs in most.values()) else smoke


def _does_not_apply(row_runs: RowRuns, measure: str, sources: Mapping[str, set[str]]) -> bool:
    """Return True if an evaluator of the measure ran on this row without result: it does not apply."""
    finished = set().union(*(settled(run.results) for run in row_runs.runs.values()))
    return any(
        sources.get(part, set()) & finished
        for part in parts_of(measure)
        if not row_runs.with_measure((part,)).runs
    )
