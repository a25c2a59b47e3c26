"""Summary table at the end of a run; results.json has all numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DETAILS = {
    "nll_mc_error",
    "ess_5_percent",
    "importance_samples",
    "mi_upper_prior",
    "mi_upper_gaussian",
    "marginal_kl_lower",
    "marginal_kl_upper",
    "reconstruction",
    "nats_per_token",
    "tokens_per_sentence",
}
"""Measurements that the summary leaves out: they qualify others."""


def summary_table(entries: Sequence[Mapping[str, Any]], results: Mapping[str, Any], directory: Path) -> str:
    """Return the suite's main measurements with standard errors, the training, the tier and the directory."""
    rows = [row for entry in entries for row in _rows(entry)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    lines = [
        "  "
        + "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<><<<", widths, strict=True))
        for row in rows
    ]
    training, run = results["training"], results["run"]
    about = (
        f"{run['model']} on {run['dataset']}, seed {run['seed']}: {training['epochs']} epochs in "
        f"{training['seconds']:.0f} s, best epoch {training['best_epoch']} ({training['stopped']})"
    )
    tier = "" if run["tier"] == "full" else f"  [tier: {run['tier']}, not comparable with published numbers]"
    return "\n".join(["", about + tier, *(line.rstrip() for line in lines), f"  {directory}"])


def _rows(entry: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    if entry["status"] != "complete":
        yield entry["name"], "-", "", entry["status"].replace("_", " "), entry.get("reason", "")
    for m in entry["measurements"]:
        if m["name"] not in DETAILS:
            error = "" if m["standard_error"] is None else f"± {_number(m['standard_error'])}"
            yield f"{entry['name']}.{m['name']}", _number(m["value"]), error, m["unit"], f"n={m['n']}"


def _number(value: float | None) -> str:
    if value is None:
        return "not finite"
    if isinstance(value, int):
        return f"{value:d}"
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
