"""Active units: the latent units whose posterior mean moves with the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from vaebench.evaluation.base import Context, Measurement
from vaebench.ranges import Positive


class ActiveUnits:
    """#{d : Var_x(E_q[z_d|x]) > threshold}, unbiased variance over the whole test set (Burda et al. 2016).

    The literature's thresholds are 0.01 (IWAE, Skip-VAE's text) and 0.02 (Skip-VAE's code). The variances
    themselves are filed as an array. NaN where one is not finite: such a unit is neither active nor not.
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
    """How many of the variances `[D]` are above the threshold."""
    return int((variance > threshold).sum()) if variance.isfinite().all() else math.nan
