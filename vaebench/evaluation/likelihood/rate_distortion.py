"""Rate-distortion plane over training: rate (KL) and distortion (the part not encoded)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.evaluation.likelihood.bound import reconstruction_and_kl
from vaebench.evaluation.plots import ACCENT, INK, new_figure
from vaebench.ranges import Count


class RateDistortion:
    """Rate R = KL(q(z|x) || p(z)) and distortion D = -E_q[log p(x|z)], with ELBO = -(D + R) (Alemi et al.
    2018, arXiv 1711.00464).

    Both are measured on the test set with `num_samples` samples of z per example. Standard errors are over
    examples. The figure shows the path of the validation set through the plane, coloured by epoch (one
    sample, at beta = 1), lines of equal ELBO, and the final point on the test set. D may be negative if x is
    continuous. Arrays: `epoch`, `rate`, `distortion` of the validation set.
    """

    version: ClassVar = 1

    def __init__(self, *, num_samples: Count) -> None:
        self.num_samples = num_samples

    def run(self, context: Context) -> Iterator[Measurement]:
        log_px_z, rates, _ = reconstruction_and_kl(context, self.num_samples)
        rate, rate_error = mean_and_error(rates)
        distortion, distortion_error = mean_and_error(-log_px_z)
        path = {
            "epoch": np.array([line["epoch"] for line in context.history]),
            "rate": np.array([line["valid"]["kl"] for line in context.history]),
            "distortion": np.array(
                [-line["valid"]["elbo"] - line["valid"]["kl"] for line in context.history]
            ),
        }
        context.save_arrays("rate_distortion", **path)
        context.save_figure("rate_distortion", draw(path, rate, distortion))
        yield Measurement("rate_nats", rate, "nats", None, len(rates), rate_error)
        yield Measurement("distortion_nats", distortion, "nats", None, len(rates), distortion_error)


def draw(path: dict[str, np.ndarray], rate: float, distortion: float) -> Any:
    """Return the figure: D horizontal, R vertical, the path coloured by epoch, and the final point."""
    figure, axis = new_figure(5.5, 4)
    axis.plot(path["distortion"], path["rate"], color=INK, linewidth=0.5, alpha=0.4)
    dots = axis.scatter(path["distortion"], path["rate"], c=path["epoch"], cmap="viridis", s=12)
    axis.scatter(
        [distortion], [rate], color=ACCENT, marker="*", s=90, label="test set, after training", zorder=3
    )
    axis.set(xlabel="distortion D (nats)", ylabel="rate R (nats)", **limits(path, rate, distortion))
    if len(path["epoch"]):
        figure.colorbar(dots, ax=axis, label="epoch")
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    across, up = np.linspace(left, right), np.linspace(low, high)
    lines = axis.contour(across, up, -(across + up[:, None]), 7, colors="grey", linewidths=0.5)
    axis.clabel(lines, fontsize=7, fmt="ELBO %g")
    axis.legend(framealpha=1)  # without an opaque frame, the star in the legend looks like a point
    return figure


def limits(path: dict[str, np.ndarray], rate: float, distortion: float) -> dict[str, tuple[float, float]]:
    """Return axis limits that contain the last nine tenths of the epochs.

    The first epochs would compress all that follow.
    """
    late = slice(len(path["epoch"]) // 10, None)
    axes = {}
    for key, values, last in (("xlim", path["distortion"], distortion), ("ylim", path["rate"], rate)):
        shown = np.append(values[late], last)
        margin = 0.1 * np.ptp(shown) or 0.1
        axes[key] = (shown.min() - margin, shown.max() + margin)
    return axes
