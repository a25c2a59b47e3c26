"""Distances of the codes from their centre, compared with those under the prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch

from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.evaluation.plots import ACCENT, INK, new_figure
from vaebench.ranges import AtLeastTwo


class CodeDistances:
    """||z_i - zbar|| over the first `num_data` test examples, z_i ~ q(z|x_i) (Zheng et al. 2019, arXiv
    1807.03723, Fig. 2).

    zbar is the mean of these codes. `code_distance` is the distance itself, `code_distance_published` divides
    it by the number D of latent units, as the paper's code does, and `code_distance_relative` divides it by
    sqrt(D). Under N(0, I) the distance follows chi(D), with mean sqrt(D) (1 - 1/4D + ...). Codes as spread
    out as the prior therefore have a relative distance near 1 for any D. The figure shows the density of
    chi(D). Arrays: the distances. Standard errors are over examples; those of the standard deviations use the
    delta method.
    """

    version: ClassVar = 1

    def __init__(self, *, num_data: AtLeastTwo | None) -> None:
        self.num_data = num_data

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, test_data=2)
        z = context.encoded("test")[: self.num_data].rsample(1)[0].cpu().double()
        n, dim = z.shape
        distance = (z - z.mean(0)).norm(dim=1)
        context.save_arrays("code_distances", distance=distance.numpy(), published=distance.numpy() / dim)
        context.save_figure("code_distances", draw(distance.numpy(), dim))
        mean, error = mean_and_error(distance)
        variance, variance_error = mean_and_error((distance - mean).square() * n / (n - 1))
        assert error is not None  # there are two examples or more
        assert variance_error is not None
        sd = variance**0.5
        sd_error = variance_error / (2 * sd) if sd > 0 else 0.0
        for name, scale, unit in (
            ("code_distance", 1, "prior sd"),
            ("code_distance_published", dim, "prior sd / D"),
        ):
            yield Measurement(name, mean / scale, unit, None, n, error / scale)
            yield Measurement(f"{name}_sd", sd / scale, unit, None, n, sd_error / scale)
        yield Measurement("code_distance_relative", mean / dim**0.5, "ratio", None, n, error / dim**0.5)


def draw(distance: np.ndarray, dim: int) -> Any:
    """Return the figure: histograms of the distances and of the published ones, each with the density of
    chi(D)."""
    from scipy.stats import chi

    figure, axes = new_figure(8, 3, columns=2)
    titles = (r"$\|z - \bar z\|$", r"as published: $\|z - \bar z\| / D$")
    for axis, scale, title in zip(axes, (1, dim), titles, strict=True):
        axis.hist(distance / scale, bins=60, density=True, color=INK, alpha=0.7, label="codes")
        low, high = min(distance.min(), chi.ppf(0.001, dim)), max(distance.max(), chi.ppf(0.999, dim))
        r = np.linspace(low, high, 300)
        axis.plot(r / scale, chi.pdf(r, dim) * scale, color=ACCENT, label=f"N(0, I), D = {dim}")
        axis.set(xlabel=title, ylabel="density")
    axes[0].legend(frameon=False)
    return figure
