"""Where numbers come from: when, at which commits, on what hardware, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaebench.reporting.runs import Run

COMMITS = 3
"""How many are named."""


def attempt_of(attempt: Mapping[str, Any]) -> dict[str, str]:
    """Of a record of provenance what a reader asks for first."""
    git, hardware = attempt.get("git") or {}, attempt.get("hardware") or {}
    commit = f"{str(git.get('commit') or '?')[:10]}{' with changes' if git.get('dirty') else ''}"
    where = [str(hardware[key]) for key in ("cpu", "gpu", "device") if hardware.get(key)]
    packages = attempt.get("packages") or {}
    return {
        "time": attempt.get("time", ""),
        "command": attempt.get("command", ""),
        "commit": commit,
        "hardware": ", ".join(where),
        "torch": packages.get("torch", ""),
        "precision": str(hardware.get("matmul_precision", "")),
    }


def seconds_of(run: Run) -> float:
    """What training and evaluations took, as they were timed; starts and interruptions not counted."""
    parts = [run.results.get("training", {}), *run.results.get("evaluations", [])]
    return sum(float(part.get("seconds") or 0) for part in parts)


def origin(runs: Iterable[Run]) -> dict[str, str]:
    """The day of the last start, commits, hardware, and the time of all runs one after the other."""
    runs = {str(run): run for run in runs}.values()
    attempts = [attempt_of(attempt) for run in runs for attempt in run.attempts]
    commits = list(dict.fromkeys(attempt["commit"] for attempt in attempts))
    named = ", ".join(commits[:COMMITS])
    if len(commits) > COMMITS:
        named += f" and {len(commits) - COMMITS} more"
    return {
        "date": max((attempt["time"][:10] for attempt in attempts), default=""),
        "commits": named,
        "hardware": "; ".join(dict.fromkeys(attempt["hardware"] for attempt in attempts)),
        "time": duration(sum(map(seconds_of, runs))) if runs else "",
    }


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
