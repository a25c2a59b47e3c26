"""Run directories: find them, read them, and list them as a table."""

from __future__ import annotations

import json
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

from vaebench import layout
from vaebench.atomic import read_json
from vaebench.errors import UserError
from vaebench.lock import holder_of
from vaebench.reporting.experiments import leaves_of
from vaebench.reporting.measurements import Number, files_of, left_out, numbers_of

COLUMNS = ("dataset", "model", "hash", "seed", "version", "tier", "state", "note", "path")
"""Columns of `load_runs` after the name of the run."""

PNG_END = b"IEND\xaeB`\x82"
"""Last bytes of a complete PNG file."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
    """Run directory, as far as it can be read."""

    path: Path
    dataset: str
    model: str
    hash: str
    seed: int
    version: str
    state: str
    """complete, running, failed, interrupted, killed (died without writing a status), unreadable or new."""
    note: str
    """Reason of a failure, host and pid of a running process, or what is unreadable."""
    results: dict[str, Any]

    def __str__(self) -> str:
        return str(layout.RunName(self.dataset, self.model, self.hash, self.seed, self.version))

    @property
    def tier(self) -> str:
        """`full`, `reduced`, `smoke`, or `?` if unknown."""
        return str(self.results.get("run", {}).get("tier", self.config.get("tier", "?")))

    @cached_property
    def numbers(self) -> dict[str, Number]:
        """Name -> measurement."""
        return numbers_of(self.results)

    def file(self, name: str) -> Path:
        """Return the path of `arrays/<stem>.npz` or `figures/<stem>.png`.

        Of several such files, the one from the evaluation with the most effort counts.
        """
        return self.path / self._files.get(name, name)

    @cached_property
    def _files(self) -> dict[str, str]:
        return files_of(self.results)

    @property
    def config(self) -> dict[str, Any]:
        """Content of config.yaml, or an empty mapping if it cannot be read."""
        return self._config[0]

    @cached_property
    def _config(self) -> tuple[dict[str, Any], str]:
        """Content of config.yaml and a message about what is wrong with it, or ''."""
        try:
            content = yaml.load((self.path / layout.CONFIG).read_text(), Loader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            return {}, f"config.yaml cannot be read: {' '.join(str(error).split())}"
        return (content, "") if isinstance(content, dict) else ({}, "config.yaml is not a mapping")

    @property
    def problems(self) -> list[str]:
        """Messages about the parts of this run that cannot be read or used."""
        messages = [self.note] if self.state == "unreadable" else []
        _, config_message = self._config
        if config_message and self.state != "new":
            messages.append(config_message)
        messages += [f"{file.relative_to(self.path)} is truncated" for file in self._truncated()]
        return messages + [why for _, why in left_out(self.results)]

    def _truncated(self) -> Iterator[Path]:
        """Yield arrays and pictures whose end is missing."""
        for file in sorted(self.path.glob(f"{layout.ARRAYS}/*.npz")):
            if not zipfile.is_zipfile(file):
                yield file
        for file in sorted(self.path.glob(f"{layout.FIGURES}/*.png")):
            with file.open("rb") as picture:
                picture.seek(max(0, file.stat().st_size - len(PNG_END)))
                if picture.read() != PNG_END:
                    yield file

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Scientific part of the config, dotted key -> value."""
        return leaves_of(self.config)

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """Content of provenance.json: a record per start of the run."""
        attempts = _read(self.path / layout.PROVENANCE)
        attempts = attempts if isinstance(attempts, list) else []
        return [attempt for attempt in attempts if isinstance(attempt, dict)]

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """Epoch lines of metrics.jsonl, without an incomplete last line."""
        try:
            lines = (self.path / layout.METRICS).read_text().splitlines()
            epochs = [json.loads(line) for line in lines if line.endswith("}")]
            return [line | {split: line[split] or {} for split in ("train", "valid")} for line in epochs]
        except (OSError, ValueError, KeyError, TypeError):
            return []


def find_runs(outputs: Path) -> Iterator[Run]:
    """Yield the runs below `outputs` in the order of their paths."""
    yield from map(read_run, layout.find_run_directories(outputs))


def read_run(folder: Path) -> Run:
    """Read a run directory. The lock decides whether the run is running or was killed."""
    try:
        status = read_json(folder / layout.STATUS) or {}
        if not isinstance(status, dict):
            raise UserError("status.json is not a mapping")
        results = read_json(folder / layout.RESULTS) or {}
        check_results(results)
    except (UserError, OSError) as error:
        status, results = {"state": "unreadable", "reason": str(error)}, {}
    state, note = status.get("state", "new"), status.get("reason", "")
    holder = holder_of(folder / layout.LOCK)
    if holder is not None:
        state, note = "running", f"host {holder.get('host', '?')}, pid {holder.get('pid', '?')}"
    elif state == "running":
        state, note = "killed", "the same command resumes from the last checkpoint"
    return Run(folder, *layout.run_name(folder), state=state, note=note, results=results)


def check_results(results: Any) -> None:
    """Raise UserError if this vaebench cannot read the content of results.json."""
    if results == {}:
        return
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != layout.SCHEMA_VERSION:
        raise UserError(f"results.json has schema version {version}; expected {layout.SCHEMA_VERSION}")
    try:
        results["run"]["tier"], results["training"].items()
        numbers_of(results), files_of(results)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"results.json is incomplete: {type(error).__name__}: {error}") from error


def main_numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Return name -> value of the measurements."""
    return {name: number.value for name, number in numbers_of(results).items()}


def load_runs(path: Path | str) -> pd.DataFrame:
    """Return a DataFrame with a row per run below an outputs folder.

    Columns:
        `run`, `dataset`, `model`, `hash`, `seed`, `version`, `tier`, `state`, `note`, `path`;
        results of training: `trained.epochs`, `trained.seconds`, ...;
        scientific settings by their dotted keys: `training.epochs`, `model.latent_dim`, ...;
        measurements and their standard errors over test examples: `nll_nats`, `nll_nats_se`, ...

    A value that a run does not have is NaN.
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
    """Return name -> array of an npz file, or an empty mapping if it cannot be read."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def _read(path: Path) -> Any:
    """Return the content of a JSON file, or None if it cannot be read."""
    try:
        return read_json(path)
    except (UserError, OSError):
        return None
