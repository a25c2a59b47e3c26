"""What a repository keeps of its runs: those behind the papers' tables, small and without a machine's paths.

    python -m scripts.archive_runs outputs results/runs
    python -m vaebench.report results/runs --out report     # the same tables and verdicts

Of each complete run of a row, at each wanted tier: its config, provenance, results, status, curves and arrays
(which verdicts take their draws from), and the pictures that figures show of it. Checkpoints and logs stay
behind. Runs that were kept before stay, also where `outputs` no longer has them; those that are no row of a
table any more, or are superseded by another, are named.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.atomic import write_text
from vaebench.errors import UserError
from vaebench.reporting.match import match
from vaebench.reporting.papers import TIERS, Paper, load_papers
from vaebench.reporting.runs import Run, find_runs

TEXTS = ("config.yaml", "provenance.json", "results.json", "status.json", "metrics.jsonl")


def keep(outputs: Path, kept: Path, tiers: Collection[str]) -> list[Run]:
    """Copy into `kept`, and return the runs. Raises UserError if `outputs` is not another folder."""
    one, other = outputs.resolve(), kept.resolve()
    if not outputs.is_dir() or one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{outputs}: expected a folder of runs, apart from {kept}")
    papers = load_papers()
    pictures: dict[str, set[str]] = {}
    runs = {}
    for (paper, row, tier), found in match(papers, list(find_runs(outputs))).rows.items():
        for seed, run in found.runs.items():
            if tier in tiers and run.state == "complete":
                runs[str(run)] = run
                shown = pictures_of(papers[paper], row) if seed == min(found.runs) else ()
                pictures.setdefault(str(run), set()).update(shown)
    for name, run in runs.items():
        copy(run, kept / name, pictures[name])
    return list(runs.values())


def pictures_of(paper: Paper, row: str) -> Iterator[str]:
    """Those that a figure of the paper shows of a row, of its first seed."""
    for target in paper.targets.values():
        if target.figure is not None and row in target.figure.rows:
            yield from target.figure.pictures


def copy(run: Run, directory: Path, pictures: Collection[str]) -> None:
    """Built beside its place, then moved there: an interruption leaves what was kept before."""
    new = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shown = [run.file(f"figures/{name}.png") for name in pictures]
    for path in (*(run.path / name for name in TEXTS), *run.path.glob("arrays/*.npz"), *shown):
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
    """Absolute paths of data, cache and outputs, as they were and as they are, replaced by those words."""
    paths = [("data", config["data_root"]), *config["paths"].items(), ("outputs", outputs.absolute())]
    for name, path in sorted(paths, key=lambda item: -len(str(item[1]))):
        if path is not None and Path(path).is_absolute():
            text = re.sub(rf"(?<![\w./-]){re.escape(str(path))}(?![\w.-])", name, text)
    return text


def strays(kept: Path) -> list[str]:
    """What is kept, and is no row of a table, or not the newest."""
    runs = list(find_runs(kept))
    found = match(load_papers(), runs)
    rows = {str(run) for of_row in found.rows.values() for run in of_row.runs.values()}
    return [*found.problems, *(f"{run}: no row of a table" for run in runs if str(run) not in rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("kept", type=Path)
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
