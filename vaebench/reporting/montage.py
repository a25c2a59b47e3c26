"""Montages of the pictures in run directories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread

from vaebench.reporting.figure_parts import picture_of
from vaebench.reporting.papers import Figure
from vaebench.reporting.report import TargetReport


def montage(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw the saved pictures of each row, from its smallest seed: a column per row, or a line if stacked."""
    rows = [row for row in figure.rows if any(picture_of(report, row, name) for name in figure.pictures)]
    if not rows:
        return None
    shown = [
        [None if (path := picture_of(report, row, name)) is None else _read(path) for name in figure.pictures]
        for row in rows
    ]
    longest = [max(_height_to_width(p) for p in pictures) for pictures in zip(*shown, strict=True)]
    if figure.stacked:
        height, widths = 1.5, [1.5 / ratio for ratio in longest]  # inches
        canvas = Canvas(figsize=(sum(widths), (height + 0.3) * len(rows)), layout="constrained")
        axes = canvas.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths)
    else:
        width, tallest = 4.2, 5.5
        heights = [min(tallest, width * ratio) for ratio in longest]
        canvas = Canvas(figsize=(width * len(rows), sum(heights) + 0.5), layout="constrained")
        axes = canvas.subplots(len(heights), len(rows), squeeze=False, height_ratios=heights).T
    for line, pictures, row in zip(axes, shown, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.set_axis_off()
            if picture is not None:
                axis.imshow(picture)
        label = report.paper.rows[row].label
        line[0].set_title(label, fontsize=9, loc="left" if figure.stacked else "center")
    return canvas


def _read(path: Path) -> np.ndarray | None:
    """Return the picture, or None if it cannot be read; `Run.problems` names the file."""
    try:
        return np.asarray(imread(path))
    except (OSError, ValueError, SyntaxError):
        return None


def _height_to_width(picture: np.ndarray | None) -> float:
    """Return the ratio of a picture's height to its width."""
    return 0.1 if picture is None else picture.shape[0] / picture.shape[1]
