"""Copy the runs of the papers' tables to a folder of a repository, without large files and machine paths.

    python -m scripts.archive_runs outputs results/runs
    python -m vaebench.report results/runs --out report     # the same tables and verdicts

For each complete run of a row, at each requested tier, the script copies config, provenance, results,
status, metrics, arrays (the verdicts resample them) and the pictures that a figure shows. It leaves out
checkpoints and logs. It keeps runs that it copied before, even if `outputs` no longer has them. It lists
kept runs that are no longer a row of a table, or that another run replaces.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench import layout
from vaebench.atomic import write_text
from vaebench.errors import UserError
from vaebench.reporting.match import match
from vaebench.reporting.papers import TIERS, Paper, load_papers
from vaebench.reporting.runs import Run, find_runs

TEXTS = (layout.CONFIG, layout.PROVENANCE, layout.RESULTS, layout.STATUS, layout.METRICS)


def keep(outputs: Path, kept: Path, tiers: Collection[str]) -> list[Run]:
    """Copy the runs into `kept` and return them.

    Raises UserError if `outputs` is missing, or if one folder contains the other.
    """
    one, other = outputs.resolve(), kept.resolve()
    if not outputs.is_dir() or one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{outputs}: expected a folder of runs that neither contains {kept} nor lies in it")
    papers = load_papers()
    pictures: dict[str, set[str]] = {}
    runs = {}
    for (paper, row, tier), row_runs in match(papers, list(find_runs(outputs))).rows.items():
        for seed, run in row_runs.runs.items():
            if tier in tiers and run.state == "complete":
                runs[str(run)] = run
                shown = pictures_of(papers[paper], row) if seed == min(row_runs.runs) else ()
                pictures.setdefault(str(run), set()).update(shown)
    for name, run in runs.items():
        copy(run, kept / name, pictures[name])
    return list(runs.values())


def pictures_of(paper: Paper, row: str) -> Iterator[str]:
    """Yield the names of the pictures of a row that a figure of the paper shows."""
    for target in paper.targets.values():
        if target.figure is not None and row in target.figure.rows:
            yield from target.figure.pictures


def copy(run: Run, directory: Path, pictures: Collection[str]) -> None:
    """Copy a run to a temporary folder, then move it, so that an interruption leaves the former copy."""
    new = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shown = [run.file(f"{layout.FIGURES}/{name}.png") for name in pictures]
    for path in (*(run.path / name for name in TEXTS), *run.path.glob(f"{layout.ARRAYS}/*.npz"), *shown):
        if path.is_file():
            target = new / path.relative_to(run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.name in TEXTS:
                write_text(target, without_paths(path.read_text(), run.config, run.path.parents[4]))
            else:
                shutil.copyfile(path, target)
    if directory.exists():
        shutil.rmtree(directory)
    new.rename(directory)


def without_paths(text: str, config: Mapping[str, Any], outputs: Path) -> str:
    """Replace absolute paths of data, cache and outputs, former and present, by these words."""
    paths = [("data", config["data_root"]), *config["paths"].items(), ("outputs", outputs.absolute())]
    for name, path in sorted(paths, key=lambda item: -len(str(item[1]))):
        if path is not None and Path(path).is_absolute():
            text = re.sub(rf"(?<![\w./-]){re.escape(str(path))}(?![\w.-])", name, text)
    return text


def strays(kept: Path) -> list[str]:
    """Return messages about kept runs that are not a row of a table, or not the newest of their row."""
    runs = list(find_runs(kept))
    matches = match(load_papers(), runs)
    rows = {str(run) for row_runs in matches.rows.values() for run in row_runs.runs.values()}
    return [*matches.problems, *(f"{run}: not a row of a table" for run in runs if str(run) not in rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path, help="folder of runs")
    parser.add_argument("kept", type=Path, help="folder for the copies")
    parser.add_argument("--tiers", nargs="*", choices=TIERS, default=["full", "reduced"])
    options = parser.parse_args()
    try:
        runs = keep(options.outputs, options.kept, options.tiers)
    except UserError as error:
        sys.exit(str(error))
    size = sum(path.stat().st_size for path in options.kept.rglob("*") if path.is_file())
    print(f"{len(runs)} complete runs of the tables' rows; {options.kept}: {size / 2**20:.1f} MiB")
    for stray in strays(options.kept):
        print(stray, file=sys.stderr)


if __name__ == "__main__":
    main()
