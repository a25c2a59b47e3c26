"""What a repository keeps of its runs: those behind the papers' tables, small and without a machine's paths.

    python -m scripts.keep outputs results/runs
    python -m vaebench.report results/runs --out report     # the same tables and verdicts

Of each run: its config, provenance, results, status, curves and arrays (which verdicts take their draws
from), and the pictures that the tables' figures show. Checkpoints and logs stay behind. Runs that were kept
before stay, also where `outputs` no longer has them.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from vaebench.atomic import write_text
from vaebench.reporting.collect import Run, find_runs
from vaebench.reporting.compare import TargetReport, make_report
from vaebench.reporting.papers import TIERS, load_papers

TEXTS = ("config.yaml", "provenance.json", "results.json", "status.json", "metrics.jsonl")


def keep(outputs: Path, kept: Path, tiers: Collection[str]) -> int:
    """Copy into `kept`, and return the number of runs."""
    report = make_report(load_papers(), list(find_runs(outputs)))
    found = [pair for target in report.targets.values() for pair in runs_of(target, tiers)]
    runs = {str(run): run for run, _ in found}
    for name, run in runs.items():
        copy(run, kept / name, {picture for other, shown in found if other is run for picture in shown})
    return len(runs)


def runs_of(target: TargetReport, tiers: Collection[str]) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """A table's complete runs, and which of their pictures its figure shows."""
    figure = target.target.figure
    for row, found in target.runs.items():
        for seed, run in found.runs.items():
            if found.tier in tiers and run.state == "complete":
                is_shown = figure is not None and row in figure.rows and seed == min(found.runs)
                yield run, figure.pictures if figure is not None and is_shown else ()


def copy(run: Run, directory: Path, pictures: Collection[str]) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    for name in TEXTS:
        write_text(directory / name, without_paths((run.path / name).read_text(), run))
    shown = [run.file(f"figures/{name}.png") for name in pictures]
    for path in (*run.path.glob("arrays/*.npz"), *filter(Path.is_file, shown)):
        target = directory / path.relative_to(run.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def without_paths(text: str, run: Run) -> str:
    """Absolute paths of data, cache and outputs replaced by those words."""
    paths = {"data": run.config["data_root"], **run.config["paths"]}
    for name, path in sorted(paths.items(), key=lambda item: -len(str(item[1]))):
        if path is not None and Path(path).is_absolute():
            text = text.replace(str(path), name)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--tiers", nargs="*", choices=TIERS, default=["full", "reduced"])
    options = parser.parse_args()
    number = keep(options.outputs, options.kept, options.tiers)
    size = sum(path.stat().st_size for path in options.kept.rglob("*") if path.is_file())
    print(f"{number} runs; {options.kept}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
