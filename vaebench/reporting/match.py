"""Matching of runs to rows: a run belongs to a row if it has exactly the settings of the row's experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vaebench.reporting.experiments import Leaves, Words, compositions
from vaebench.reporting.papers import TIERS, Paper, Tier
from vaebench.reporting.runs import Run

VALUE_BEFORE: Leaves = {
    "model.decoder.init": "default",
    "model.decoder.init_from_data": False,
    "model.posterior.clip_back": False,
}
"""Newer options -> the behaviour of runs from before the option existed; rows may set another value."""


@dataclass(frozen=True)
class RowRuns:
    """Runs of a row at one tier, one per seed."""

    tier: Tier
    runs: dict[int, Run]
    variant: str
    """Name of the stand-in dataset, or '' for the experiment's own dataset."""
    notes: tuple[str, ...] = ()

    def with_measure(self, names: Iterable[str]) -> RowRuns:
        """Keep the runs that have all these measurements."""
        names = list(names)
        runs = {seed: run for seed, run in self.runs.items() if all(name in run.numbers for name in names)}
        return RowRuns(self.tier, runs, self.variant, self.notes)


@dataclass
class Matches:
    """Runs of all rows by tier, and the problems found while matching."""

    rows: dict[tuple[str, str, Tier], RowRuns] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def of(self, paper: str, row: str, tier: Tier) -> RowRuns:
        """Return the runs of a row at a tier; there may be none."""
        return self.rows.get((paper, row, tier), RowRuns(tier, {}, ""))


def match(papers: Mapping[str, Paper], runs: Sequence[Run]) -> Matches:
    """Match runs to rows at each tier that occurs."""
    matches = Matches()
    by_kind: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_kind.setdefault((run.model, run.tier), []).append(run)
    tiers = [tier for tier in TIERS if any(kind[1] == tier for kind in by_kind)]
    rows = {(name, key): row for name, paper in papers.items() for key, row in paper.rows.items()}
    lines: list[Words] = (
        [row.words(tier) for row in rows.values() for tier in {*tiers, "full"}] if runs else []
    )
    composed = compositions(lines)
    for (paper, key), row in rows.items():
        full = composed.get(row.words("full"))
        for tier in tiers:
            expected = composed.get(row.words(tier))
            if expected is None or full is None:
                command = " ".join(row.words(tier))
                matches.problems.append(
                    f"{paper}, row {key}: its experiment does not compose at tier {tier}; "
                    f"`vaebench {command} --cfg job` shows why"
                )
                continue
            candidates = by_kind.get((expected["model.name"], tier), [])
            matching_runs = [run for run in candidates if run.numbers and fits(run.settings, expected)]
            if matching_runs:
                matches.rows[paper, key, tier] = _row_runs(
                    tier, matching_runs, full, expected, matches.problems
                )
    return matches


def fits(settings: Leaves, expected: Leaves) -> bool:
    """Return True if a run's settings are those of an experiment.

    The dataset may be the stand-in that the experiment's dataset names. A key that the run lacks is an option
    that was added later: if `VALUE_BEFORE` lists it, the experiment must have that value.
    """
    if not settings or settings.keys() - expected.keys():
        return False
    later = expected.keys() - settings.keys()
    if any(expected[key] != VALUE_BEFORE[key] for key in later & VALUE_BEFORE.keys()):
        return False
    for key, value in settings.items():
        if key == "dataset.name" and value in (expected[key], expected.get("dataset.fallback_name")):
            continue
        if value != expected[key]:
            return False
    return settings.keys() >= {"dataset._target_", "model._target_", "tier"}


def _row_runs(
    tier: Tier, runs: Sequence[Run], full: Leaves, expected: Leaves, problems: list[str]
) -> RowRuns:
    """Choose one run per seed: on the published data if any run is, then the newest complete run."""
    published = full["dataset.name"]
    datasets = {run.dataset for run in runs}
    dataset = published if published in datasets else min(datasets)
    by_seed: dict[int, list[Run]] = {}
    for run in runs:
        if run.dataset == dataset:
            by_seed.setdefault(run.seed, []).append(run)
    chosen = {}
    for seed, candidates in sorted(by_seed.items()):
        *others, chosen[seed] = sorted(candidates, key=_preference)
        problems += [f"{run}: duplicate of {chosen[seed]} (same row and seed); ignored" for run in others]
    missing = sorted({key for run in chosen.values() for key in expected.keys() - run.settings.keys()})
    notes = (f"the run is older than these options: {', '.join(missing)}",) if missing else ()
    return RowRuns(tier, chosen, "" if dataset == published else dataset, notes)


def _preference(run: Run) -> tuple[bool, int, str, int, str]:
    """Return a sort key: complete runs last, incomplete ones by their measurements, then by start time."""
    is_complete = run.state == "complete"
    started = str(run.attempts[0].get("time", "")) if run.attempts else ""
    return is_complete, 0 if is_complete else len(run.numbers), started, int(run.version[1:]), run.hash
