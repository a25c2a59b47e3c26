"""Runs as the records that the page's table shows: numbers, settings, curves and small pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from vaebench import layout
from vaebench.atomic import finite
from vaebench.reporting.provenance import attempt_of
from vaebench.reporting.report import Report
from vaebench.reporting.runs import Run

PICTURE_BYTES = 20 * 2**20
"""Limit for the pictures of all runs together; the page shows the path of each further picture."""
PICTURE_WIDTH = 640
CURVES = ("elbo", "kl", "active_units")
POINTS = 120
"""Most points of a curve."""


def run_records(report: Report) -> list[dict[str, Any]]:
    """Return a record for each run. NaN and infinity become None, since JSON has no such numbers."""
    rows: dict[str, list[str]] = {}
    for target in report.targets.values():
        for row, row_runs in target.runs.items():
            for run in row_runs.runs.values():
                rows.setdefault(str(run), []).append(f"{target.name}: {target.paper.rows[row].label}")
    pictures, left = {}, PICTURE_BYTES
    for run in sorted(report.runs, key=lambda run: str(run) not in rows):  # runs of a table come first
        pictures[str(run)], left = pictures_of(run, left)
    records = [
        {
            "id": str(run),
            **{
                name: getattr(run, name)
                for name in ("dataset", "model", "seed", "version", "tier", "state", "note")
            },
            "rows": rows.get(str(run), []),
            "numbers": {name: [n.value, n.standard_error, n.unit, n.n] for name, n in run.numbers.items()},
            "settings": run.settings,
            "training": run.results.get("training", {}),
            "curves": curves_of(run),
            "attempts": [attempt_of(attempt) for attempt in run.attempts],
            "pictures": pictures[str(run)],
            "path": str(run.path),
        }
        for run in report.runs
    ]
    return finite(records)


def curves_of(run: Run) -> dict[str, list[list[float]]]:
    """Return `split name` -> points (epoch, value): every k-th epoch line and the last."""
    step = max(1, -(-len(run.epochs) // POINTS))
    lines = run.epochs[::step]
    if run.epochs and (len(run.epochs) - 1) % step:
        lines.append(run.epochs[-1])
    return {
        f"{split} {name}": points
        for name in CURVES
        for split in ("train", "valid")
        if (points := [[line["epoch"], line[split][name]] for line in lines if name in line.get(split, {})])
    }


def pictures_of(run: Run, left: int) -> tuple[dict[str, str], int]:
    """Return name -> data URL of the run's pictures, made small, and the number of bytes left.

    A picture that cannot be read, or comes when no bytes are left, has its path in place of the data.
    """
    pictures = {}
    for path in sorted((run.path / layout.FIGURES).glob("*.png")):
        if left <= 0:
            pictures[path.stem] = str(path)
            continue
        try:
            with Image.open(path) as image:
                image.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, format="WEBP", quality=70)
        except (OSError, ValueError):
            pictures[path.stem] = str(path)
            continue
        left -= buffer.tell()
        pictures[path.stem] = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return pictures, left
