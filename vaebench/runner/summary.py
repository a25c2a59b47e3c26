"""The short table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def summary_table(entries: Sequence[Mapping[str, Any]], results: Mapping[str, Any], directory: Path) -> str:
    """Every measurement of the suite with its standard error, then training, tier and directory."""
    rows = [
        (f"{entry['name']}.{m['name']}", _number(m["value"]), _error(m), m["unit"], f"n={m['n']}")
        for entry in entries
        for m in entry["measurements"]
    ]
    rows += [
        (entry["name"], "-", "", entry["status"].replace("_", " "), entry.get("reason", ""))
        for entry in entries
        if entry["status"] != "complete"
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    align = ("<", ">", "<", "<", "<")
    lines = [
        "  "
        + "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True))
        for row in rows
    ]
    training, run = results["training"], results["run"]
    about = (
        f"{run['model']} on {run['dataset']}, seed {run['seed']}: {training['epochs']} epochs in "
        f"{training['seconds']:.0f} s, best {training['best_epoch']} ({training['stopped']})"
    )
    tier = "" if run["tier"] == "full" else f"  [tier: {run['tier']}, not comparable with published numbers]"
    return "\n".join(["", about + tier, *(line.rstrip() for line in lines), f"  {directory}"])


def _number(value: float) -> str:
    return f"{value:d}" if isinstance(value, int) else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _error(measurement: Mapping[str, Any]) -> str:
    error = measurement["standard_error"]
    return "" if error is None else f"± {_number(error)}"
