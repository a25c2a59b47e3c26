"""Active units: latent units whose posterior mean varies with x."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from vaebench.evaluation.base import Context, Measurement
from vaebench.ranges import Positive

ACTIVE = 0.01
"""Threshold of Burda et al. (2016) for the variance of the posterior mean."""


class ActiveUnits:
    """#{d : Var_x(E_q[z_d|x]) > threshold}, unbiased variance over the whole test set (Burda et al. 2016).

    Thresholds in the literature are 0.01 (IWAE, Skip-VAE's text) and 0.02 (Skip-VAE's code). The variances
    are saved as an array. The count is NaN if a variance is not finite.
    """

    version: ClassVar = 1

    def __init__(self, *, thresholds: list[Positive]) -> None:
        self.thresholds = thresholds

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, test_data=2)
        mean = context.encoded("test").mean.cpu().double()
        variance = mean.var(0)
        context.save_arrays("latent_variances", variance=variance.numpy())
        for threshold in self.thresholds:
            yield Measurement(
                f"active_units_{threshold:g}", count(variance, threshold), "units", True, len(mean)
            )


def count(variance: Tensor, threshold: float) -> float:
    """Return the number of variances `[D]` above the threshold; NaN if one of them is not finite."""
    return int((variance > threshold).sum()) if variance.isfinite().all() else math.nan
