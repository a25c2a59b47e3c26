"""Run directories as tables: what is there, in which state, with which numbers."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vaebench.atomic import read_json
from vaebench.errors import UserError
from vaebench.lock import holder_of
from vaebench.reporting.experiments import leaves_of
from vaebench.reporting.measurements import Number, files_of, left_out, numbers_of

RUN = re.compile(
    r"^(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<hash>[0-9a-f]{8})/seed(?P<seed>\d+)/(?P<version>v\d+)$"
)
SCHEMA_VERSION = 1
"""Of results.json, as this vaebench writes it; others are named and left out."""

COLUMNS = ("dataset", "model", "hash", "seed", "version", "tier", "state", "note", "path")
"""What `load_runs` says of every run, after its name."""

PNG_END = b"IEND\xaeB`\x82"

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    """complete, running, failed, interrupted, killed (it ended without a word), unreadable, new."""
    note: str
    """The reason of a failure, who runs it, or what is unreadable."""
    results: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.dataset}/{self.model}/{self.hash}/seed{self.seed}/{self.version}"

    @property
    def tier(self) -> str:
        return str(self.results.get("run", {}).get("tier", self.config.get("tier", "?")))

    @cached_property
    def numbers(self) -> dict[str, Number]:
        return numbers_of(self.results)

    def file(self, name: str) -> Path:
        """What is filed as `arrays/<stem>.npz` or `figures/<stem>.png` by the evaluation of most effort."""
        return self.path / self._files.get(name, name)

    @cached_property
    def _files(self) -> dict[str, str]:
        return files_of(self.results)

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml, or an empty mapping where it cannot be read."""
        return self._config[0]

    @cached_property
    def _config(self) -> tuple[dict[str, Any], str]:
        """With what is wrong with it, if anything is."""
        try:
            content = yaml.load((self.path / "config.yaml").read_text(), Loader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            return {}, f"config.yaml cannot be read: {' '.join(str(error).split())}"
        return (content, "") if isinstance(content, dict) else ({}, "config.yaml is no mapping")

    @property
    def problems(self) -> list[str]:
        """What cannot be read or used of this run."""
        told = [self.note] if self.state == "unreadable" else []
        _, of_config = self._config
        if of_config and self.state != "new":
            told.append(of_config)
        told += [f"{file.relative_to(self.path)} is cut short" for file in self._cut_short()]
        return told + [why for _, why in left_out(self.results)]

    def _cut_short(self) -> Iterator[Path]:
        """Arrays and pictures without their ends."""
        for file in sorted(self.path.glob("arrays/*.npz")):
            if not zipfile.is_zipfile(file):
                yield file
        for file in sorted(self.path.glob("figures/*.png")):
            with file.open("rb") as picture:
                picture.seek(max(0, file.stat().st_size - len(PNG_END)))
                if picture.read() != PNG_END:
                    yield file

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The scientific part of the config, dotted key -> value."""
        return leaves_of(self.config)

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """provenance.json: a record for each time that the run was started."""
        attempts = _read(self.path / "provenance.json")
        attempts = attempts if isinstance(attempts, list) else []
        return [attempt for attempt in attempts if isinstance(attempt, dict)]

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """metrics.jsonl, without a last line that a kill cut short."""
        try:
            lines = (self.path / "metrics.jsonl").read_text().splitlines()
            epochs = [json.loads(line) for line in lines if line.endswith("}")]
            return [line | {split: line[split] or {} for split in ("train", "valid")} for line in epochs]
        except (OSError, ValueError, KeyError, TypeError):
            return []


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
        if not isinstance(status, dict):
            raise UserError("status.json is no mapping")
        results = read_json(folder / "results.json") or {}
        check_results(results)
    except (UserError, OSError) as error:
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


def check_results(results: Any) -> None:
    """Raises UserError where a results.json is not what this vaebench reads."""
    if results == {}:
        return
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"results.json has schema version {version}, this vaebench reads {SCHEMA_VERSION}")
    try:
        results["run"]["tier"], results["training"].items()
        numbers_of(results), files_of(results)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"results.json is incomplete: {type(error).__name__}: {error}") from error


def main_numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """The value of each measurement, by its name."""
    return {name: number.value for name, number in numbers_of(results).items()}


def load_runs(path: Path | str) -> pd.DataFrame:
    """Every run below an outputs folder, a row each, for notebooks.

    Columns: `run`, `dataset`, `model`, `hash`, `seed`, `version`, `tier`, `state`, `note`, `path`, what is
    known of its training (`trained.epochs`, `trained.seconds`, ...), its scientific settings by their dotted
    keys (`training.epochs`, `model.latent_dim`, ...), and each measurement (`nll_nats`, ...) with its
    standard error over data (`nll_nats_se`, NaN where there is none). What a run lacks is NaN.
    """
    rows = []
    for run in find_runs(Path(path)):
        row: dict[str, Any] = {"run": str(run), **{name: getattr(run, name) for name in COLUMNS}}
        row["path"] = str(run.path)
        row |= {f"trained.{key}": value for key, value in run.results.get("training", {}).items()}
        row |= {key: value for key, value in run.settings.items() if key not in row}
        for name, number in run.numbers.items():
            row |= {name: number.value, f"{name}_se": number.standard_error}
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["run", *COLUMNS])


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Stored arrays by name, or none where they cannot be read."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (UserError, OSError):
        return None
