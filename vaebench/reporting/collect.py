"""Run directories as tables: what is there, in which state, with which numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.atomic import read_json
from vaebench.errors import UserError
from vaebench.runstate import holder_of

RUN = re.compile(
    r"^(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<hash>[0-9a-f]{8})/seed(?P<seed>\d+)/(?P<version>v\d+)$"
)


@dataclass(frozen=True)
class Run:
    """One run directory, as far as it can be read."""

    path: Path
    dataset: str
    model: str
    hash: str
    seed: int
    version: str
    state: str
    """complete, running, failed, interrupted, killed (it ended without a word), new."""
    note: str
    """The reason of a failure, who runs it, or what is unreadable."""
    results: dict[str, Any]


def find_runs(outputs: Path) -> Iterator[Run]:
    """Every run below `outputs`, in the order of its path."""
    for folder in sorted(outputs.glob("*/*/*/seed*/v*")):
        match = RUN.match(folder.relative_to(outputs).as_posix())
        if match:
            yield read_run(folder, match.groupdict())


def read_run(folder: Path, name: dict[str, str]) -> Run:
    """A run's state as it is now, whatever it last wrote about itself."""
    try:
        status = read_json(folder / "status.json") or {}
        results = read_json(folder / "results.json") or {}
    except UserError as error:
        status, results = {"state": "unreadable", "reason": str(error)}, {}
    state, note = status.get("state", "new"), status.get("reason", "")
    holder = holder_of(folder / "lock.json")
    if holder is not None:
        state, note = "running", f"host {holder.get('host', '?')}, pid {holder.get('pid', '?')}"
    elif state == "running":
        state, note = "killed", "the same command goes on from its last checkpoint"
    return Run(
        path=folder,
        dataset=name["dataset"],
        model=name["model"],
        hash=name["hash"],
        seed=int(name["seed"]),
        version=name["version"],
        state=state,
        note=note,
        results=results,
    )


def main_numbers(results: dict[str, Any]) -> dict[str, float]:
    """The last filed value of each measurement, by its name."""
    return {
        measurement["name"]: measurement["value"]
        for entry in results.get("evaluations", [])
        for measurement in entry["measurements"]
    }
