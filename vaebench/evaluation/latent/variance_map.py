"""Variance of q(x|z) over the plane of a two-dimensional code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import log_mean_exp
from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.plots import image_grid, new_figure
from vaebench.ranges import AtLeastTwo, Count, Positive, UnitInterval

TILE = 100  # points at a time, for all N posteriors: 40 MB of float64 at N = 50,000
ALIKE = 1e-5  # relative spread below which values differ by rounding alone
INK_KINDS = ("binary", "unit", "uint8")  # kinds of data with means in [0, 1]


class PosteriorVarianceMap:
    """sum_d Var_{q(x|z)}[x_d] over the plane of codes (Zhao et al. 2017, arXiv 1702.08658, figure 2).

    q(x|z) is the distribution over the N training examples with weights q(z|x_i) / sum_j q(z|x_j). Stored
    grey levels enter as they are; stochastically binarised examples are sampled once, so theirs is the
    variance of 0s and 1s. The map has `num_cells` x `num_cells` cells and is evaluated at their centres. It
    extends from -`reach` to `reach` in both units, or for null from the 1st to the 99th percentile of each
    unit's posterior means.

    Far from all codes one example has all the weight and the variance is 0. Cells are therefore masked if log
    1/N sum_j q_j(z) lies below the quantile `mask_below` of its values at `num_codes` codes, samples from
    q(z|x_i) for random i. The remaining region contains 1 - `mask_below` of the aggregate posterior, where it
    is densest.

    Measurements over the M remaining cells; the first two weight each cell by its density:

    - `posterior_variance`: the mean of the map, the smallest squared error E||x - g(z)||^2 of any decoder of
      z;
    - `posterior_mean_r2` = 1 - E||g(z) - m(z)||^2 / E||m(z) - E m||^2, where g is the mean of p(x|z) and m
      that of q(x|z). At the optimum of the squared error g = m (proposition 4), and it is 1;
    - `variance_fuzziness_correlation`: Pearson's correlation of the map with the mean over d of g_d (1 -
      g_d), g clamped to [0, 1]. This fuzziness is 0 if every pixel is black or white and largest, 1/4, for
      grey. A positive correlation means that digits are fuzzy where the variance is high. For 0/1 data it is
      1 for any decoder with g = m;
    - `data_per_cell_median`: the median of 1 / sum_i w_i^2. If it is near 1, the map depends on N rather than
      on q.

    Neighbouring cells are dependent, so there is no standard error. The second and third measurements are
    omitted if their denominator is 0, as for a collapsed code. The third is also omitted for data outside [0,
    1].

    The figure shows the map (red is high, grey is masked) and, for images, g(z) on a grid of `num_digits` x
    `num_digits` codes. Arrays: `grid`, `variance`, `masked`, `log_density`, `data_per_cell` of every cell;
    z_2 increases along the first index, z_1 along the second.
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        num_cells: AtLeastTwo,
        reach: Positive | None,
        num_digits: Count,
        mask_below: UnitInterval,
        num_codes: AtLeastTwo,
    ) -> None:
        self.num_cells = num_cells
        self.reach = reach
        self.num_digits = num_digits
        self.mask_below = mask_below
        self.num_codes = num_codes

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        if context.model.latent_dim != 2:
            raise NotApplicableError(f"the map needs latent_dim=2, and it is {context.model.latent_dim}")
        if not context.model.decodes_in_parallel:
            raise NotApplicableError("the mean of p(x|z) needs a decoder that is not autoregressive")
        q: Any = context.encoded("train")
        if not hasattr(q, "log_prob_pairs"):
            raise NotApplicableError(
                "the posterior's density at any code has no closed form; a Gaussian posterior would do"
            )
        if q.mean.device.type == "mps":  # no float64 there
            q = q.to("cpu")
        low, high = self._corners(q.mean)
        grid = plane(low, high, self.num_cells)
        codes = q[torch.randint(len(q), (self.num_codes,)).to(q.mean.device)].rsample(1)[0]
        threshold = densities(q, codes, context).quantile(self.mask_below)
        cells = conditionals(q, context.data("train").flatten(1), grid.flatten(0, 1), context)
        kept = cells.log_density >= threshold
        if not kept.any():
            raise NotApplicableError("no cell contains codes; set another reach, or reach=null")
        by_cell = {
            "variance": cells.variance,
            "masked": ~kept,
            "log_density": cells.log_density,
            "data_per_cell": cells.num_data,
        }
        square = {name: values.unflatten(0, grid.shape[:2]).cpu().numpy() for name, values in by_cell.items()}
        context.save_arrays("variance_map", grid=grid.cpu().numpy(), **square)
        yield from self._numbers(context, cells, decoded(context, grid.flatten(0, 1)), kept)
        digits = None
        if len(context.spec.shape) == 3:
            # Image rows start at the top, where z_2 is large.
            images = decoded(context, plane(low, high, self.num_digits).flip(0).flatten(0, 1))
            digits = image_grid(images.unflatten(1, context.spec.shape), self.num_digits)
        shown = np.where(square["masked"], math.nan, square["variance"])
        box = tuple(float(end) for pair in zip(low, high, strict=True) for end in pair)
        context.save_figure("variance_map", draw(shown, digits, box))

    def _corners(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lower left and the upper right corner of the map, `[2]` each, in float64."""
        if self.reach is None:
            low, high = (means.double().quantile(part, 0) for part in (0.01, 0.99))
            return low, high
        corner = torch.full_like(means[0], self.reach, dtype=torch.float64)
        return -corner, corner

    def _numbers(
        self, context: Context, cells: Conditionals, g: Tensor, kept: Tensor
    ) -> Iterator[Measurement]:
        """Yield the measurements over the cells that are kept."""
        n = int(kept.sum())
        variance, m, g = cells.variance[kept], cells.mean[kept].double(), g.to(cells.mean)[kept].double()
        weight = cells.log_density[kept].softmax(0)
        yield Measurement("posterior_variance", float(weight @ variance), "squared x", None, n)
        spread = float(weight @ (m - weight @ m).square().sum(1))
        if spread > ALIKE**2 * float(weight @ m.square().sum(1)):
            r2 = 1 - float(weight @ (g - m).square().sum(1)) / spread
            yield Measurement("posterior_mean_r2", r2, "fraction", True, n)
        ink = g.clamp(0, 1)
        fuzziness = (ink * (1 - ink)).mean(1)
        if context.spec.kind in INK_KINDS and varies(variance) and varies(fuzziness):
            correlation = float(torch.corrcoef(torch.stack([variance, fuzziness]))[0, 1])
            yield Measurement("variance_fuzziness_correlation", correlation, "correlation", None, n)
        yield Measurement("data_per_cell_median", float(cells.num_data[kept].median()), "data", None, n)


@dataclass(frozen=True)
class Conditionals:
    """Moments of q(x|z) at M points z."""

    log_density: Tensor
    """log 1/N sum_j q_j(z), `[M]`, in float64."""
    mean: Tensor
    """E_{q(x|z)} x, `[M, P]`, in float32."""
    variance: Tensor
    """sum_d Var_{q(x|z)} x_d, `[M]`, in float64."""
    num_data: Tensor
    """Effective number of examples, 1 / sum_i w_i^2, `[M]`, in float64."""


def conditionals(q: Any, x: Tensor, z: Tensor, context: Context) -> Conditionals:
    """Return q(x|z) at points `z [M, 2]`, given the posteriors q of all examples `x [N, P]`.

    The variance is sum_i w_i ||x_i||^2 - ||sum_i w_i x_i||^2, with x centred so that little cancels. Weights
    are float64 and products with x float32; the error is 1e-6 of the variance of all examples.
    """
    centre = x.mean(0)
    x = x - centre
    squares = x.square().sum(1).to(q.mean.device).double()
    parts = []
    for start in context.track(range(0, len(z), TILE), "variance map"):
        pairs = q.log_prob_pairs(z[start : start + TILE])
        w = pairs.softmax(1)
        mean = (w.to(x) @ x).to(q.mean.device)
        variance = (w @ squares - mean.double().square().sum(1)).clamp(min=0)
        parts.append((log_mean_exp(pairs, 1), mean, variance, 1 / w.square().sum(1)))
    log_density, mean, variance, num_data = (torch.cat(part) for part in zip(*parts, strict=True))
    return Conditionals(log_density, mean + centre.to(mean), variance, num_data)


def densities(q: Any, z: Tensor, context: Context) -> Tensor:
    """Return log 1/N sum_j q_j(z) at points `z [M, 2]`, `[M]`, in float64."""
    starts = context.track(range(0, len(z), TILE), "density of codes")
    return torch.cat([log_mean_exp(q.log_prob_pairs(z[start : start + TILE]), 1) for start in starts])


def decoded(context: Context, z: Tensor) -> Tensor:
    """Return the mean of p(x|z) at points `z [M, 2]`, `[M, P]`."""
    parts = z.to(context.encoded("train").mean).split(context.rows_per_chunk())
    return torch.cat([context.model.decode_mean(part.unsqueeze(0)).squeeze(0).flatten(1) for part in parts])


def plane(low: Tensor, high: Tensor, num: int) -> Tensor:
    """Return the centres of num x num cells, `[num, num, 2]`: z_2 increases along the first index, z_1 along
    the second."""
    steps = (torch.arange(num).to(low) + 0.5) / num
    first, second = (low + (high - low) * steps.unsqueeze(1)).T
    return torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)


def varies(values: Tensor) -> bool:
    """Return True if the values differ by more than rounding."""
    return len(values) > 1 and bool(values.std() > ALIKE * values.abs().mean())


def draw(variance: np.ndarray, digits: np.ndarray | None, box: tuple[float, ...]) -> Any:
    """Return the figure: the map `[num, num]`, NaN where masked, in `box` (left, right, bottom, top), and the
    digits."""
    from matplotlib import colormaps

    columns = 1 if digits is None else 2
    figure, axes = new_figure(5 * columns + 0.5, 4.5, columns)
    panel = np.atleast_1d(axes)[0]
    place: dict[str, Any] = {"extent": box, "interpolation": "nearest", "aspect": "auto"}
    colours = colormaps["RdYlBu_r"].with_extremes(bad="0.8")
    figure.colorbar(panel.imshow(variance, origin="lower", cmap=colours, **place), ax=panel)
    panel.set(title="variance of x given z; grey: no codes")
    if digits is not None:
        axes[1].imshow(digits, **place)
        axes[1].set(title="g(z), the mean of p(x|z)")
    for axis in np.atleast_1d(axes):
        axis.set(xlabel="$z_1$", ylabel="$z_2$", box_aspect=1)
    return figure
