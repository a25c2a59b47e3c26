"""The papers' figures, drawn again from what runs recorded."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from vaebench.reporting.papers import Figure
from vaebench.reporting.published_values import mean_and_error
from vaebench.reporting.report import TargetReport
from vaebench.reporting.row_values import parts_of
from vaebench.reporting.runs import Run, load_arrays

COLOURS = ["#1f3a5f", "#c8553d", "#5b8e7d", "#8d6a9f", "#d9a441", "#6c757d", "#2a9d8f"]


def draw(report: TargetReport) -> bytes | None:
    """The figure as PNG, or None where the target has none or nothing of it has run."""
    figure = report.target.figure
    if figure is None:
        return None
    canvas = DRAWN_BY[figure.kind](report, figure)
    if canvas is None:
        return None
    (tier,) = {found.tier for found in report.drawn.values()}
    variants = sorted({found.variant for found in report.drawn.values() if found.variant})
    marks = [f"tier {tier}"] * (tier != "full") + [f"data {variant}" for variant in variants]
    for row, found in report.runs.items():
        if found.runs and not report.drawn[row].runs:
            marks.append(f"without {report.paper.rows[row].label} of tier {found.tier}")
    if marks:
        canvas.suptitle(", ".join(marks), x=0.995, ha="right", fontsize=7, color="#c8553d")
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def bars(report: TargetReport, figure: Figure) -> Canvas | None:
    """A group of bars a row, a bar a measure; errors over seeds."""
    rows = [row for row in figure.rows if _has(report, row, *figure.measures)]
    if not rows:
        return None
    canvas, (axis,) = _canvas(1.3 * len(rows) + 2, 3.4)
    width = 0.8 / len(figure.measures)
    for i, measure in enumerate(figure.measures):
        found = [_number(report, row, measure) for row in rows]
        places = np.arange(len(rows)) + (i - (len(figure.measures) - 1) / 2) * width
        errors = [error or 0.0 for _, error in found]
        axis.bar(
            places,
            [value for value, _ in found],
            width,
            yerr=errors,
            color=COLOURS[i],
            label=_label(report, measure),
        )
    axis.set_xticks(range(len(rows)), [_wrapped(report.paper.rows[row].label) for row in rows], fontsize=8)
    axis.set(yscale="log" if figure.log else "linear")
    axis.legend(frameon=False, fontsize=8)
    return canvas


def lines(report: TargetReport, figure: Figure) -> Canvas | None:
    """A panel a measure, a line a series; errors over seeds. The axis is the paper's, whatever has run."""
    every = {row for series in figure.series.values() for row in series.values()}
    if not any(_has(report, row, measure) for row in every for measure in figure.measures):
        return None
    places = sorted({x for series in figure.series.values() for x in series})
    margin = 0.05 * (places[-1] - places[0])
    canvas, axes = _canvas(4.6 * len(figure.measures), 3.4, len(figure.measures))
    for axis, measure in zip(axes, figure.measures, strict=True):
        for i, (label, rows) in enumerate(figure.series.items()):
            there = {
                x: _number(report, row, measure) for x, row in rows.items() if _has(report, row, measure)
            }
            if there:
                values, errors = zip(*there.values(), strict=True)
                axis.errorbar(
                    list(there), values, [error or 0.0 for error in errors],
                    color=COLOURS[i], marker=".", capsize=3, label=label,
                )  # fmt: skip
        axis.set(xlabel=figure.x, xticks=places, xlim=(places[0] - margin, places[-1] + margin))
        axis.set(ylabel=_label(report, measure), yscale="log" if figure.log else "linear")
        axis.legend(frameon=False, fontsize=8)
    return canvas


def montage(report: TargetReport, figure: Figure) -> Canvas | None:
    """The recorded pictures of each row of the table, of the first seed: beside each other, or stacked."""
    rows = [row for row in figure.rows if any(_picture(report, row, name) for name in figure.pictures)]
    if not rows:
        return None
    shown = [
        [None if (path := _picture(report, row, name)) is None else _shown(path) for name in figure.pictures]
        for row in rows
    ]
    longest = [max(_height_to_width(p) for p in same) for same in zip(*shown, strict=True)]
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


def _shown(path: Path) -> np.ndarray | None:
    """The picture, or None where it cannot be read, which the report says by name."""
    try:
        return np.asarray(imread(path))
    except (OSError, ValueError, SyntaxError):
        return None


def _height_to_width(picture: np.ndarray | None) -> float:
    return 0.1 if picture is None else picture.shape[0] / picture.shape[1]


def plane(report: TargetReport, figure: Figure) -> Canvas | None:
    """Entropy power over Fisher information of every row, the isotropic curve, the ways through training."""
    measures = ("posterior_fisher", "entropy_power")
    rows = [row for row in figure.rows if _has(report, row, *measures)]
    if not rows:
        return None
    canvas, (left, right) = _canvas(9.5, 3.8, 2)
    units = 1.0
    for i, row in enumerate(rows):
        (x, x_error), (y, y_error) = (_number(report, row, measure) for measure in measures)
        run = _first(report, row)
        units = float(run.settings.get("model.latent_dim", units))
        label = report.paper.rows[row].label
        left.errorbar(
            x, y, y_error or 0.0, x_error or 0.0, fmt="o", color=COLOURS[i % len(COLOURS)], label=label
        )
        path = _arrays(run, "fisher_shannon").get("trajectory", np.empty((0, 2)))
        if len(path) > 1:
            right.plot(*path.T, color=COLOURS[i % len(COLOURS)], linewidth=0.8)
            right.scatter(*path.T, c=np.arange(len(path)), cmap="viridis", s=8, zorder=3)
    low, high = left.get_xlim()
    curve = np.geomspace(max(low, units / 4, 1e-3), max(high, units), 100)
    for axis in (left, right):
        axis.plot(curve, units / curve, "--", color="grey", linewidth=0.8, label="isotropic Gaussians")
        axis.set(xscale="log", yscale="log", xlabel="Fisher information", ylabel="entropy power")
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(StrMethodFormatter("{x:g}"))
            scale.set_minor_formatter(NullFormatter())
    right.set_title("through training, later is lighter", fontsize=9)
    left.legend(frameon=False, fontsize=7)
    return canvas


def layers(report: TargetReport, figure: Figure) -> Canvas | None:
    """KL and mutual information behind each layer, trained and random; means and errors as `over_models`.

    Crosses are the closed form, where there is one: at the code, and behind a first layer that is affine,
    which keeps the KL in trained and random decoders alike.
    """
    (row,) = figure.rows
    stored = [_arrays(run, "propagation") for run in report.drawn[row].runs.values()]
    stored = [arrays for arrays in stored if "kl" in arrays]
    if not stored:
        return None
    titles = {"kl": "KL of the posteriors", "marginal_kl": "KL of the aggregate", "mi": "mutual information"}
    canvas, axes = _canvas(10, 3.2, 3)
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        means, errors = over_models([arrays[name] for arrays in stored])
        places = range(means.shape[-1])
        for i, decoder in enumerate(stored[0]["decoders"]):
            axis.errorbar(
                places, means[i], None if errors is None else errors[i],
                marker=".", capsize=3, color=COLOURS[i], label=str(decoder),
            )  # fmt: skip
        if f"{name}_exact" in stored[0]:
            exact, _ = over_models([arrays[f"{name}_exact"] for arrays in stored])
            axis.plot(exact.mean(0), "x", color="black", zorder=3, label="closed form")
        axis.set(xlabel="layer", ylabel="nats", title=title, xticks=places)
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axes[0].legend(frameon=False, fontsize=8)
    return canvas


def over_models(estimates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean and standard error, `[decoders, layers]`, over trained models, a mean over its classifiers each.

    `estimates` are `[classifiers, decoders, layers]` of each model. Classifiers of one model share what the
    model is, so that only models are independent; of a single one the error is over its classifiers.
    """
    values = np.stack([of_model.mean(0) for of_model in estimates]) if len(estimates) > 1 else estimates[0]
    error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
    return values.mean(0), error


def map_of_codes(report: TargetReport, figure: Figure) -> Canvas | None:
    """The variance of x given z over the plane of codes, and the run's own picture of the digits."""
    (row,) = figure.rows
    if not report.drawn[row].runs:
        return None
    run = _first(report, row)
    arrays = _arrays(run, "variance_map")
    if "variance" not in arrays:
        return None
    canvas, (axis,) = _canvas(4.6, 3.8)
    shown = np.where(arrays["masked"], np.nan, arrays["variance"])
    z = arrays["grid"].reshape(-1, 2)
    box = (z[:, 0].min(), z[:, 0].max(), z[:, 1].min(), z[:, 1].max())
    colours = colormaps["RdYlBu_r"].with_extremes(bad="0.8")
    canvas.colorbar(axis.imshow(shown, origin="lower", extent=box, cmap=colours, aspect="auto"), ax=axis)
    axis.set(xlabel="$z_1$", ylabel="$z_2$", title=f"variance of x given z, seed {run.seed}")
    return canvas


DRAWN_BY: dict[str, Callable[[TargetReport, Figure], Canvas | None]] = {
    "bars": bars, "lines": lines, "montage": montage, "plane": plane, "layers": layers, "map": map_of_codes,
}  # fmt: skip


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Canvas, Any]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def _has(report: TargetReport, row: str, *measures: str) -> bool:
    names = [name for measure in measures for name in parts_of(measure)]
    return bool(report.drawn[row].with_measure(names).runs)


def _number(report: TargetReport, row: str, measure: str) -> tuple[float, float | None]:
    return mean_and_error(report.drawn[row].with_measure(parts_of(measure)), measure)


def _first(report: TargetReport, row: str) -> Run:
    runs = report.drawn[row].runs
    return runs[min(runs)]


def _picture(report: TargetReport, row: str, name: str) -> Path | None:
    paths = [run.file(f"figures/{name}.png") for run in report.drawn[row].runs.values()]
    return next((path for path in paths if path.is_file()), None)


def _arrays(run: Run, name: str) -> dict[str, np.ndarray]:
    """Stored arrays, or nothing where they cannot be read."""
    return load_arrays(run.file(f"arrays/{name}.npz"))


def _label(report: TargetReport, measure: str) -> str:
    """What the target's columns call it."""
    return next(
        (name for name, column in report.target.columns.items() if column.measure == measure), measure
    )


def _wrapped(label: str) -> str:
    return label.replace(" + ", "\n+ ")
