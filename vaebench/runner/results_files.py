"""Files of results: metrics.jsonl with a line per epoch, results.json with an entry per evaluation."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaebench.atomic import finite, read_json, write_json, write_text
from vaebench.config.errors import ConfigError
from vaebench.evaluation.output_files import OutputFiles
from vaebench.layout import SCHEMA_VERSION


class Metrics:
    """One JSON line per finished epoch, on disk before any later checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, epochs: int) -> None:
        """Keep the lines of the first `epochs` epochs; a resumed training repeats and records the others."""
        kept = [line for line in self.read() if line["epoch"] <= epochs]
        if kept or self.path.exists():
            write_text(self.path, "".join(map(_as_line, kept)))

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line through to the disk."""
        with self.path.open("a") as file:
            file.write(_as_line(line))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Return every complete line; a last line that a kill cut short is left out."""
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines


class Results:
    """results.json: an entry for each evaluation, with the evaluator's version and settings.

    An entry is found by name and settings, so that a quick evaluation never overwrites an expensive one. A
    newer version of an evaluator replaces the numbers of older ones.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        stored = read_json(path)
        if stored is not None and stored.get("schema_version") != SCHEMA_VERSION:
            raise ConfigError(
                f"{path} has schema version {stored.get('schema_version')}, this vaebench writes "
                f"{SCHEMA_VERSION}; use fresh=true for a new version of the run."
            )
        self.content: dict[str, Any] = stored or {
            "schema_version": SCHEMA_VERSION, "run": dict(run), "training": {}, "evaluations": []
        }  # fmt: skip

    def find(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the entry with this name and these settings, or None."""
        plain = _plain(settings)
        for entry in self.content["evaluations"]:
            if entry["name"] == name and entry["settings"] == plain:
                return entry
        return None

    def output_files(self, name: str, version: int, settings: Mapping[str, Any]) -> OutputFiles:
        """Return the paths for the files of an evaluation; a name that an entry which stays uses is taken."""
        others = self._others(name, version, settings)
        taken = {path for entry in others for path in entry.get("files", {}).values()}
        text = json.dumps(settings, sort_keys=True)
        suffix = hashlib.sha256(text.encode()).hexdigest()[:6]
        return OutputFiles(self.path.parent, taken, suffix)

    def _others(self, name: str, version: int, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the entries that stay when an entry is stored: all but the one with its name and settings
        and those of older versions of its evaluator."""
        plain = _plain(settings)
        return [
            entry
            for entry in self.content["evaluations"]
            if entry["name"] != name or (entry["settings"] != plain and entry["version"] >= version)
        ]

    def put(self, entry: Mapping[str, Any]) -> None:
        """Store an entry in place of the one with its name and settings and of those of older versions."""
        entry = _plain(entry)
        others = self._others(entry["name"], entry["version"], entry["settings"])
        key = lambda entry: (entry["name"], json.dumps(entry["settings"], sort_keys=True))  # noqa: E731
        self.content["evaluations"] = sorted([*others, entry], key=key)
        write_json(self.path, self.content)

    def put_training(self, facts: Mapping[str, Any]) -> None:
        """Store the facts of the training."""
        self.content["training"] = _plain(facts)
        write_json(self.path, self.content)


def _as_line(value: Mapping[str, Any]) -> str:
    return json.dumps(finite(value), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples are lists, non-finite numbers are None."""
    return json.loads(json.dumps(finite(value), allow_nan=False))
