"""Which runs are a row of a paper's table: those whose settings are the experiment's, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vaebench.reporting.experiments import Leaves, Words, compositions
from vaebench.reporting.papers import TIERS, Paper, Tier
from vaebench.reporting.runs import Run

BEFORE: Leaves = {
    "model.decoder.init": "default",
    "model.decoder.init_from_data": False,
    "model.posterior.clip_back": False,
}
"""What runs did from before there was an option, where a row may want another."""


@dataclass(frozen=True)
class RowRuns:
    """The runs of a row at one tier, one for each seed."""

    tier: Tier
    runs: dict[int, Run]
    variant: str
    """The name of the data where they are not the experiment's own, or ''."""
    notes: tuple[str, ...] = ()

    def with_measure(self, names: Iterable[str]) -> RowRuns:
        """Those runs that have every one of these measurements."""
        names = list(names)
        runs = {seed: run for seed, run in self.runs.items() if all(name in run.numbers for name in names)}
        return RowRuns(self.tier, runs, self.variant, self.notes)


@dataclass
class Matches:
    """Every row's runs by tier, and what was odd about them."""

    rows: dict[tuple[str, str, Tier], RowRuns] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def of(self, paper: str, row: str, tier: Tier) -> RowRuns:
        return self.rows.get((paper, row, tier), RowRuns(tier, {}, ""))


def match(papers: Mapping[str, Paper], runs: Sequence[Run]) -> Matches:
    """Find each row's runs, at each tier that any run has."""
    found = Matches()
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
            wanted = composed.get(row.words(tier))
            if wanted is None or full is None:
                found.problems.append(f"{paper}, {key}: its experiment does not compose at tier {tier}")
                continue
            candidates = by_kind.get((wanted["model.name"], tier), [])
            same = [run for run in candidates if run.numbers and fits(run.settings, wanted)]
            if same:
                found.rows[paper, key, tier] = _row_runs(tier, same, full, wanted, found.problems)
    return found


def fits(settings: Leaves, wanted: Leaves) -> bool:
    """Whether a run's settings are those of an experiment.

    Data may be the stand-in that the dataset names. Keys that the run lacks are options that came later; it
    fits a row that wants what runs did before.
    """
    if not settings or settings.keys() - wanted.keys():
        return False
    later = wanted.keys() - settings.keys()
    if any(wanted[key] != BEFORE[key] for key in later & BEFORE.keys()):
        return False
    for key, value in settings.items():
        if key == "dataset.name" and value in (wanted[key], wanted.get("dataset.fallback_name")):
            continue
        if value != wanted[key]:
            return False
    return settings.keys() >= {"dataset._target_", "model._target_", "tier"}


def _row_runs(tier: Tier, runs: Sequence[Run], full: Leaves, wanted: Leaves, problems: list[str]) -> RowRuns:
    """One run for each seed: on the published data where there are any, then the newest that is complete."""
    published = full["dataset.name"]
    datasets = {run.dataset for run in runs}
    dataset = published if published in datasets else min(datasets)
    by_seed: dict[int, list[Run]] = {}
    for run in runs:
        if run.dataset == dataset:
            by_seed.setdefault(run.seed, []).append(run)
    chosen = {}
    for seed, same in sorted(by_seed.items()):
        *others, chosen[seed] = sorted(same, key=_worth)
        problems += [f"{other}: the same row and seed as {chosen[seed]}, which is used" for other in others]
    older = sorted({key for run in chosen.values() for key in wanted.keys() - run.settings.keys()})
    notes = (f"run before there was {', '.join(older)}",) if older else ()
    return RowRuns(tier, chosen, "" if dataset == published else dataset, notes)


def _worth(run: Run) -> tuple[bool, int, str, int, str]:
    """Complete runs before others, of others those with the most measurements, then the last begun."""
    is_complete = run.state == "complete"
    begun = str(run.attempts[0].get("time", "")) if run.attempts else ""
    return is_complete, 0 if is_complete else len(run.numbers), begun, int(run.version[1:]), run.hash
