"""Plots of measurements and stored arrays: bars, lines, planes, curves over layers, maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from vaebench.reporting.figure_parts import (
    COLOURS,
    arrays_of,
    first_run,
    has_measures,
    label_of,
    mean_of,
    new_canvas,
)
from vaebench.reporting.papers import Figure
from vaebench.reporting.report import TargetReport


def bars(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw a group of bars per row and a bar per measure, with standard errors."""
    rows = [row for row in figure.rows if has_measures(report, row, *figure.measures)]
    if not rows:
        return None
    canvas, (axis,) = new_canvas(1.3 * len(rows) + 2, 3.4)
    width = 0.8 / len(figure.measures)
    for i, measure in enumerate(figure.measures):
        numbers = [mean_of(report, row, measure) for row in rows]
        places = np.arange(len(rows)) + (i - (len(figure.measures) - 1) / 2) * width
        heights, errors = [value for value, _ in numbers], [error or 0.0 for _, error in numbers]
        axis.bar(places, heights, width, yerr=errors, color=COLOURS[i], label=label_of(report, measure))
    axis.set_xticks(range(len(rows)), [_wrapped(report.paper.rows[row].label) for row in rows], fontsize=8)
    axis.set(yscale="log" if figure.log else "linear")
    axis.legend(frameon=False, fontsize=8)
    return canvas


def lines(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw a panel per measure and a line per series, with standard errors.

    The x axis covers all points of the paper, including those that have not run.
    """
    all_rows = {row for series in figure.series.values() for row in series.values()}
    if not any(has_measures(report, row, measure) for row in all_rows for measure in figure.measures):
        return None
    places = sorted({x for series in figure.series.values() for x in series})
    margin = 0.05 * (places[-1] - places[0])
    canvas, axes = new_canvas(4.6 * len(figure.measures), 3.4, len(figure.measures))
    for axis, measure in zip(axes, figure.measures, strict=True):
        for i, (label, rows) in enumerate(figure.series.items()):
            points = {
                x: mean_of(report, row, measure)
                for x, row in rows.items()
                if has_measures(report, row, measure)
            }
            if points:
                values, errors = zip(*points.values(), strict=True)
                axis.errorbar(
                    list(points), values, [error or 0.0 for error in errors],
                    color=COLOURS[i], marker=".", capsize=3, label=label,
                )  # fmt: skip
        axis.set(xlabel=figure.x, xticks=places, xlim=(places[0] - margin, places[-1] + margin))
        axis.set(ylabel=label_of(report, measure), yscale="log" if figure.log else "linear")
        axis.legend(frameon=False, fontsize=8)
    return canvas


def plane(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw the Fisher-Shannon plane: a point per row, the isotropic curve, paths through training."""
    measures = ("posterior_fisher", "entropy_power")
    rows = [row for row in figure.rows if has_measures(report, row, *measures)]
    if not rows:
        return None
    canvas, (left, right) = new_canvas(9.5, 3.8, 2)
    units = 1.0
    for i, row in enumerate(rows):
        (x, x_error), (y, y_error) = (mean_of(report, row, measure) for measure in measures)
        run = first_run(report, row)
        units = float(run.settings.get("model.latent_dim", units))
        label = report.paper.rows[row].label
        left.errorbar(
            x, y, y_error or 0.0, x_error or 0.0, fmt="o", color=COLOURS[i % len(COLOURS)], label=label
        )
        path = arrays_of(run, "fisher_shannon").get("trajectory", np.empty((0, 2)))
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
    right.set_title("through training, lighter is later", fontsize=9)
    left.legend(frameon=False, fontsize=7)
    return canvas


def layers(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw KL and mutual information after each decoder layer, for trained and random decoders.

    Means and errors are those of `over_models`. Crosses mark closed forms: at the code, and after an affine
    first layer, which preserves the KL in both decoders.
    """
    (row,) = figure.rows
    stored = [arrays_of(run, "propagation") for run in report.drawn[row].runs.values()]
    stored = [arrays for arrays in stored if "kl" in arrays]
    if not stored:
        return None
    titles = {"kl": "KL of the posteriors", "marginal_kl": "KL of the aggregate", "mi": "mutual information"}
    canvas, axes = new_canvas(10, 3.2, 3)
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
    """Return mean and standard error over trained models, each `[decoders, layers]`.

    `estimates` has an array `[classifiers, decoders, layers]` per model. Classifiers of one model are not
    independent, so each model contributes the mean over its classifiers. With a single model the error is
    over its classifiers.
    """
    values = np.stack([estimate.mean(0) for estimate in estimates]) if len(estimates) > 1 else estimates[0]
    error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
    return values.mean(0), error


def map_of_codes(report: TargetReport, figure: Figure) -> Canvas | None:
    """Draw Var[x given z] over a 2-D latent space, from the run with the smallest seed."""
    (row,) = figure.rows
    if not report.drawn[row].runs:
        return None
    run = first_run(report, row)
    arrays = arrays_of(run, "variance_map")
    if "variance" not in arrays:
        return None
    canvas, (axis,) = new_canvas(4.6, 3.8)
    shown = np.where(arrays["masked"], np.nan, arrays["variance"])
    z = arrays["grid"].reshape(-1, 2)
    box = (z[:, 0].min(), z[:, 0].max(), z[:, 1].min(), z[:, 1].max())
    colours = colormaps["RdYlBu_r"].with_extremes(bad="0.8")
    canvas.colorbar(axis.imshow(shown, origin="lower", extent=box, cmap=colours, aspect="auto"), ax=axis)
    axis.set(xlabel="$z_1$", ylabel="$z_2$", title=f"variance of x given z, seed {run.seed}")
    return canvas


def _wrapped(label: str) -> str:
    """Break a long label before each plus sign."""
    return label.replace(" + ", "\n+ ")
