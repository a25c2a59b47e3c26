"""A run's measurements as results.json has them, and which of them are numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Number:
    """A measurement of a run."""

    value: float
    standard_error: float | None
    """Over data; None where the number is exact for what it is taken over, or that is one datum."""
    unit: str
    n: int
    evaluator: str
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    """Name -> path in the run directory, of what its evaluation filed."""


EFFORT = ("num_samples", "num_train", "num_steps", "num_runs", "epochs")
"""Settings of which more is better; null asks for all there are."""


def numbers_of(results: Mapping[str, Any]) -> dict[str, Number]:
    """Each measurement by its name: the one over the most data, of those with the most draws or training, and
    of those that took the longest. What is no finite number is left out.
    """
    best: dict[str, tuple[tuple[float, ...], Number]] = {}
    for entry in results.get("evaluations", []):
        of_entry = (entry["name"], entry["settings"], entry.get("files", {}))
        for m in filter(_is_usable, entry["measurements"]):
            number = Number(m["value"], m["standard_error"], m["unit"], int(m["n"]), *of_entry)
            weight = _effort(number.n, entry)
            if m["name"] not in best or weight > best[m["name"]][0]:
                best[m["name"]] = weight, number
    return {name: number for name, (_, number) in best.items()}


def files_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Name -> path in the run directory of every file; of those of one name, that of the most effort."""

    def effort(entry: Mapping[str, Any]) -> tuple[float, ...]:
        return _effort(max((m["n"] for m in entry["measurements"]), default=0), entry)

    entries = sorted(results.get("evaluations", []), key=effort)
    return {name: path for entry in entries for name, path in entry.get("files", {}).items()}


def left_out(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(evaluator, what is wrong) of each measurement that is no finite number."""
    for entry in results.get("evaluations", []):
        for m in entry["measurements"]:
            if not _is_usable(m):
                told = f"{json.dumps(m['value'])} ± {json.dumps(m['standard_error'])}"
                yield entry["name"], f"{m['name']} of {entry['name']} is left out: {told} is no finite number"


def settled(results: Mapping[str, Any]) -> set[str]:
    """The evaluators that have said what they can of this run, be it that they do not apply."""
    done = ("complete", "not_applicable")
    names = {entry["name"] for entry in results.get("evaluations", []) if entry.get("status") in done}
    return names - {name for name, _ in left_out(results)}


def _effort(n: int, entry: Mapping[str, Any]) -> tuple[float, ...]:
    """What the better measured of two is greater in: data, draws or training, time."""
    settings = entry["settings"]
    asked = [math.inf if (more := settings.get(key, 0)) is None else float(more) for key in EFFORT]
    return (n, *asked, float(entry.get("seconds") or 0))


def _is_usable(measurement: Mapping[str, Any]) -> bool:
    value, error = measurement["value"], measurement["standard_error"]
    return _is_number(value) and math.isfinite(value) and (error is None or _is_number(error))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
