"""Canvas, measurements, arrays and pictures for the figures of a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from vaebench import layout
from vaebench.reporting.published_values import mean_and_error
from vaebench.reporting.report import TargetReport
from vaebench.reporting.row_values import parts_of
from vaebench.reporting.runs import Run, load_arrays

COLOURS = ["#1f3a5f", "#c8553d", "#5b8e7d", "#8d6a9f", "#d9a441", "#6c757d", "#2a9d8f"]


def new_canvas(width: float, height: float, columns: int = 1) -> tuple[Canvas, Any]:
    """Return a figure and its axes, side by side; sizes in inches."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def has_measures(report: TargetReport, row: str, *measures: str) -> bool:
    """Return True if a run of the row has all these measures."""
    names = [name for measure in measures for name in parts_of(measure)]
    return bool(report.drawn[row].with_measure(names).runs)


def mean_of(report: TargetReport, row: str, measure: str) -> tuple[float, float | None]:
    """Return mean and standard error of a row, at the tier of the figure."""
    return mean_and_error(report.drawn[row].with_measure(parts_of(measure)), measure)


def first_run(report: TargetReport, row: str) -> Run:
    """Return the run with the smallest seed."""
    runs = report.drawn[row].runs
    return runs[min(runs)]


def picture_of(report: TargetReport, row: str, name: str) -> Path | None:
    """Return the path of a picture, from the smallest seed that has it."""
    paths = [run.file(f"{layout.FIGURES}/{name}.png") for run in report.drawn[row].runs.values()]
    return next((path for path in paths if path.is_file()), None)


def arrays_of(run: Run, name: str) -> dict[str, np.ndarray]:
    """Return stored arrays, or an empty mapping if they cannot be read."""
    return load_arrays(run.file(f"{layout.ARRAYS}/{name}.npz"))


def label_of(report: TargetReport, measure: str) -> str:
    """Return the title of the column that shows the measure, or the measure itself."""
    return next(
        (name for name, column in report.target.columns.items() if column.measure == measure), measure
    )
