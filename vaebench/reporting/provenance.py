"""Provenance of numbers: dates, commits, hardware and run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaebench.reporting.runs import Run

COMMITS = 3
"""Number of commits that a summary names."""


def attempt_of(attempt: Mapping[str, Any]) -> dict[str, str]:
    """Return the main facts of a provenance record."""
    git, hardware = attempt.get("git") or {}, attempt.get("hardware") or {}
    commit = f"{str(git.get('commit') or '?')[:10]}{' with changes' if git.get('dirty') else ''}"
    parts = [str(hardware[key]) for key in ("cpu", "gpu", "device") if hardware.get(key)]
    packages = attempt.get("packages") or {}
    return {
        "time": attempt.get("time", ""),
        "command": attempt.get("command", ""),
        "commit": commit,
        "hardware": ", ".join(parts),
        "torch": packages.get("torch", ""),
        "precision": str(hardware.get("matmul_precision", "")),
    }


def seconds_of(run: Run) -> float:
    """Return the measured time of training and evaluations, without start-up and interruptions."""
    parts = [run.results.get("training", {}), *run.results.get("evaluations", [])]
    return sum(float(part.get("seconds") or 0) for part in parts)


def origin(runs: Iterable[Run]) -> dict[str, str]:
    """Summarise runs: day of the last start, commits, hardware, and the sum of their times."""
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
    """Format a duration: `40 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
