"""metrics.jsonl, a line an epoch, and results.json, an entry an evaluator."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaebench.atomic import finite, read_json, write_json, write_text
from vaebench.config.errors import ConfigError

SCHEMA_VERSION = 1


class Metrics:
    """One JSON line per finished epoch, on the disk before any checkpoint that comes after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, epochs: int) -> None:
        """Keep the first `epochs` epochs: what a resumed training will do again is not recorded twice."""
        kept = [line for line in self.read() if line["epoch"] <= epochs]
        if kept or self.path.exists():
            write_text(self.path, "".join(map(_as_line, kept)))

    def append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(_as_line(line))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Every whole line; a last one that a kill cut short is left out."""
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
    """results.json: what was measured, by which evaluator, in which version, with which settings.

    An entry is found by name and settings, so a quick look never overwrites an expensive measurement;
    a newer version of the same evaluator replaces the older one's numbers.
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
        wanted = _plain(settings)
        for entry in self.content["evaluations"]:
            if entry["name"] == name and entry["settings"] == wanted:
                return entry
        return None

    def beside(self, name: str, version: int, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What stays when an entry is filed: all but the one with its name and settings and those of older
        versions of its evaluator."""
        mine = _plain(settings)
        return [
            entry
            for entry in self.content["evaluations"]
            if entry["name"] != name or (entry["settings"] != mine and entry["version"] >= version)
        ]

    def put(self, entry: Mapping[str, Any]) -> None:
        """File an entry in place of the one with its name and settings, and of those of older versions."""
        entry = _plain(entry)
        others = self.beside(entry["name"], entry["version"], entry["settings"])
        key = lambda entry: (entry["name"], json.dumps(entry["settings"], sort_keys=True))  # noqa: E731
        self.content["evaluations"] = sorted([*others, entry], key=key)
        write_json(self.path, self.content)

    def put_training(self, facts: Mapping[str, Any]) -> None:
        self.content["training"] = _plain(facts)
        write_json(self.path, self.content)


def _as_line(value: Mapping[str, Any]) -> str:
    return json.dumps(finite(value), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists, and what is not finite is None."""
    return json.loads(json.dumps(finite(value), allow_nan=False))
