"""`vaebench-reproduce scvae-table1`: run the missing rows of a table, then compare ours with theirs."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaebench.errors import UserError
from vaebench.reporting.papers import TIERS, Name, Paper, Row, Tier, chosen, load_papers
from vaebench.reporting.render import markdown, summary
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs


@dataclass(frozen=True)
class Sweep:
    """Rows that one `vaebench -m` trains: experiments and overrides, one of which may have several values."""

    experiments: tuple[str, ...]
    overrides: tuple[str, ...]

    def words(self, tier: Tier, seeds: Sequence[int]) -> list[str]:
        """Return the arguments of `vaebench`."""
        return [
            "-m",
            f"experiment={','.join(self.experiments)}",
            f"tier={tier}",
            f"seed={','.join(map(str, seeds))}",
            *self.overrides,
        ]


def sweeps(rows: Iterable[Row], tier: Tier) -> list[Sweep]:
    """Return a small set of sweeps that covers each row once.

    A sweep joins rows whose overrides are the same, or differ in the value of one key.
    """
    experiments: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        together = experiments.setdefault(row.changes(tier), [])
        if row.experiment not in together:
            together.append(row.experiment)
    merged: list[Sweep] = []
    for overrides, names in experiments.items():
        sweep = Sweep(tuple(names), overrides)
        for i, other in enumerate(merged):
            if (joined := _joined(other, sweep)) is not None:
                merged[i] = joined
                break
        else:
            merged.append(sweep)
    return merged


def rows_of(papers: Mapping[str, Paper], names: Iterable[Name]) -> dict[str, Row]:
    """Return `paper row` -> row for all rows of the targets."""
    return {
        f"{name.paper} {key}": papers[name.paper].rows[key]
        for name in names
        for key in papers[name.paper].targets[name.target].cells
    }


def command(sweep: Sweep, tier: Tier, seeds: Sequence[int], jobs: int, extra: Sequence[str]) -> list[str]:
    """Return the arguments of `vaebench` for a sweep."""
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"] if jobs > 1 else []
    return [*sweep.words(tier, seeds), *launcher, *extra]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("targets", nargs="*", help="all, a paper, or a table or figure of a paper")
    parser.add_argument("--tier", choices=TIERS, default="full", help="size of the experiments")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of each row, separated by commas")
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at the same time")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of runs")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and stop")
    parser.add_argument("--list", action="store_true", help="list all targets with their costs")
    parser.add_argument("--make", action="store_true", help="print the content of tables.mk")
    parser.add_argument(
        "--overrides", nargs="*", default=[], help="overrides of all runs, as runtime.threads=1"
    )
    options = parser.parse_args()
    try:
        papers = load_papers()
        if options.make:
            print(rules(papers))
            return
        if options.list or not options.targets:
            print(listing(papers))
            return
        if any(word.startswith("paths.outputs=") for word in options.overrides):
            raise UserError("use --outputs DIR (make: OUTPUTS=DIR) instead of paths.outputs")
        sys.exit(run(papers, chosen(papers, options.targets), options, seeds_of(options.seeds)))
    except UserError as error:
        sys.exit(str(error))


def seeds_of(text: str) -> list[int]:
    """Parse seeds such as `0,1,2`. Raises UserError."""
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds={text}: expected integers separated by commas, such as 0,1,2") from error


def run(papers: Mapping[str, Paper], names: list[Name], options: argparse.Namespace, seeds: list[int]) -> int:
    """Run the sweeps, then print the targets. Return exit status 0 if all runs and numbers are there."""
    rows = rows_of(papers, names).values()
    extra = [f"paths.outputs={quoted(str(options.outputs))}", *options.overrides]
    failed = False
    for sweep in sweeps(rows, options.tier):
        words = command(sweep, options.tier, seeds, options.jobs, extra)
        print(shlex.join(["vaebench", *words]), flush=True)
        if not options.dry_run:
            failed |= (
                subprocess.run([sys.executable, "-m", "vaebench.train", *words], check=False).returncode != 0
            )
    if options.dry_run:
        return 0
    report = make_report(papers, list(find_runs(options.outputs)))
    targets = [report.targets[str(name)] for name in names]
    for target in targets:
        print(f"\n{markdown(target)}")
    print(summary(targets))
    return int(failed or any(target.missing for target in targets))


def quoted(value: str) -> str:
    """Quote a value for a Hydra override, so that commas and spaces are part of it."""
    if re.fullmatch(r"[\w./-]+", value, re.ASCII):
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return f"'{escaped}'"


def listing(papers: Mapping[str, Paper]) -> str:
    """Return a Markdown table of all targets with their costs."""
    lines = ["| target | content | full | reduced | smoke |", "| --- | --- | --- | --- | --- |"]
    for paper, content in papers.items():
        for name, target in content.targets.items():
            costs = " | ".join(target.cost[tier] for tier in TIERS)
            lines.append(f"| `{paper}-{name}` | {target.title} | {costs} |")
    return "\n".join(lines)


def rules(papers: Mapping[str, Paper]) -> str:
    """Return the content of tables.mk: a help line per target. The Makefile has the recipe."""
    lines = [
        "# Tables and figures of the papers. Generated: `python -m vaebench.reproduce --make > tables.mk`.",
        "TABLES := all",
    ]
    lines.append("all: ## all tables and figures below, with TIER=full|reduced|smoke SEEDS=0,1,2 JOBS=1")
    for paper, content in papers.items():
        lines.append(f"TABLES += {' '.join([paper, *(f'{paper}-{target}' for target in content.targets)])}")
        lines.append(f"{paper}: ## {content.authors}")
        for name, target in content.targets.items():
            costs = ", ".join(f"{tier} {target.cost[tier]}" for tier in TIERS)
            lines.append(f"{paper}-{name}: ## {target.title} ({costs})")
    return "\n".join(lines)


def _joined(one: Sweep, other: Sweep) -> Sweep | None:
    """Join two sweeps of the same experiments that differ in the value of one key; otherwise return None."""
    if one.experiments != other.experiments or len(one.overrides) != len(other.overrides):
        return None
    keys = [[word.partition("=")[0] for word in sweep.overrides] for sweep in (one, other)]
    different = [i for i, (a, b) in enumerate(zip(one.overrides, other.overrides, strict=True)) if a != b]
    if keys[0] != keys[1] or len(different) != 1:
        return None
    (place,) = different
    swept = [i for i, word in enumerate(one.overrides) if "," in word and "[" not in word]
    if swept not in ([], [place]):
        return None
    value = other.overrides[place].partition("=")[2]
    joined = (*one.overrides[:place], f"{one.overrides[place]},{value}", *one.overrides[place + 1 :])
    return Sweep(one.experiments, joined)


if __name__ == "__main__":
    main()
