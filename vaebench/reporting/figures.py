"""The papers' figures, drawn from the measurements of our runs."""

from __future__ import annotations

import io
from collections.abc import Callable

from matplotlib.figure import Figure as Canvas

from vaebench.reporting.montage import montage
from vaebench.reporting.papers import Figure
from vaebench.reporting.plots import bars, layers, lines, map_of_codes, plane
from vaebench.reporting.report import TargetReport

DRAWN_BY: dict[str, Callable[[TargetReport, Figure], Canvas | None]] = {
    "bars": bars,
    "lines": lines,
    "montage": montage,
    "plane": plane,
    "layers": layers,
    "map": map_of_codes,
}


def draw(report: TargetReport) -> bytes | None:
    """Return the figure as PNG, or None if the target has no figure or none of its rows has run."""
    figure = report.target.figure
    if figure is None:
        return None
    canvas = DRAWN_BY[figure.kind](report, figure)
    if canvas is None:
        return None
    (tier,) = {row_runs.tier for row_runs in report.drawn.values()}
    variants = sorted({row_runs.variant for row_runs in report.drawn.values() if row_runs.variant})
    marks = [f"tier {tier}"] * (tier != "full") + [f"data {variant}" for variant in variants]
    for row, row_runs in report.runs.items():
        if row_runs.runs and not report.drawn[row].runs:
            marks.append(f"without {report.paper.rows[row].label}, which has run at tier {row_runs.tier}")
    if marks:
        canvas.suptitle(", ".join(marks), x=0.995, ha="right", fontsize=7, color="#c8553d")
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
