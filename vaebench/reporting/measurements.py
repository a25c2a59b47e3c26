"""Measurements of a run, read from results.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Number:
    """Measurement of a run."""

    value: float
    standard_error: float | None
    """Over test examples; None if the number is exact for its data, or n is 1."""
    unit: str
    n: int
    evaluator: str
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    """Name -> path in the run directory, for the files that the evaluator saved."""


EFFORT = ("num_samples", "num_train", "num_steps", "num_runs", "epochs")
"""Settings for which more is better; null means all."""


def numbers_of(results: Mapping[str, Any]) -> dict[str, Number]:
    """Return name -> measurement, without those that are not finite.

    Of several measurements of a name, the one with the largest n counts, then the one with the most samples
    or training, then the one that took longest.
    """
    best: dict[str, tuple[tuple[float, ...], Number]] = {}
    for entry in results.get("evaluations", []):
        evaluator = (entry["name"], entry["settings"], entry.get("files", {}))
        for m in filter(_is_usable, entry["measurements"]):
            number = Number(m["value"], m["standard_error"], m["unit"], int(m["n"]), *evaluator)
            weight = _effort(number.n, entry)
            if m["name"] not in best or weight > best[m["name"]][0]:
                best[m["name"]] = weight, number
    return {name: number for name, (_, number) in best.items()}


def files_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> path in the run directory of all files.

    Of several files of a name, the one from the evaluation with the most effort counts.
    """

    def effort(entry: Mapping[str, Any]) -> tuple[float, ...]:
        return _effort(max((m["n"] for m in entry["measurements"]), default=0), entry)

    entries = sorted(results.get("evaluations", []), key=effort)
    return {name: path for entry in entries for name, path in entry.get("files", {}).items()}


def left_out(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield evaluator and message for each measurement that is not a finite number."""
    for entry in results.get("evaluations", []):
        for m in entry["measurements"]:
            if not _is_usable(m):
                value = f"{json.dumps(m['value'])} ± {json.dumps(m['standard_error'])}"
                yield entry["name"], f"{m['name']} of {entry['name']} is left out: {value} is not finite"


def settled(results: Mapping[str, Any]) -> set[str]:
    """Return the evaluators that finished on this run, including those that do not apply to it."""
    done = ("complete", "not_applicable")
    names = {entry["name"] for entry in results.get("evaluations", []) if entry.get("status") in done}
    return names - {name for name, _ in left_out(results)}


def _effort(n: int, entry: Mapping[str, Any]) -> tuple[float, ...]:
    """Return a sort key of evaluations: data, then samples or training, then time."""
    settings = entry["settings"]
    effort = [math.inf if (more := settings.get(key, 0)) is None else float(more) for key in EFFORT]
    return (n, *effort, float(entry.get("seconds") or 0))


def _is_usable(measurement: Mapping[str, Any]) -> bool:
    """Return True if the value is finite and the standard error is a number or None."""
    value, error = measurement["value"], measurement["standard_error"]
    return _is_number(value) and math.isfinite(value) and (error is None or _is_number(error))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
