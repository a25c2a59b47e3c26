"""The mutual information of data and code from samples alone, without the posterior's density."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.evaluation.density_ratio import Fitting, Pair, codes, fit
from vaebench.ranges import Count, Positive, Several
from vaebench.seeding import derive_seed

READ_BATCH = 1000
FEW = 10  # as for importance weights


class DensityRatioMI:
    """I(x; z) from a classifier T of pairs (x, z), z ~ q(z|x), against pairs (x', z) of other data's x.

    Trained on the training split with fresh codes at every step, read on test data:

    - `mi_density_ratio` = E T over pairs: what the classifier says, neither an upper nor a lower bound;
    - `mi_density_ratio_dv` = E T - log E' exp T, E' over M shuffled pairs: a lower bound of I(x; z)
      whatever T is (Donsker & Varadhan 1983), as far as M pairs can tell the second mean.

    For any posterior that can be drawn from. A classifier falls short of much information: shuffled pairs
    that could be true ones are then too rare to have been seen. M pairs show no more than log M nats
    (McAllester & Stratos 2020): saturated (1) where the bound is within a nat of `mi_density_ratio_cap` =
    log M, or where fewer than ten of the pairs, by their effective number, carry the second mean. Then
    the number says how many pairs there are and is no bound.
    """

    version: ClassVar = 1

    def __init__(
        self, *, num_steps: Count, batch_size: Several, width: Count, lr: Positive, num_draws: Count
    ) -> None:
        self.fitting = Fitting(width, lr, batch_size, num_steps)
        self.num_draws = num_draws

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.need(latent=True, test_data=2)
        seed = derive_seed(context.seed, "density_ratio_mi")
        generator = torch.Generator(context.device).manual_seed(seed)
        train, test = codes(context, generator)
        steps = context.track(range(self.fitting.num_steps), "density-ratio MI")
        ratios = fit(lambda num: [joint_and_shuffled(*train.draw(num))], self.fitting, generator, steps)
        own, shuffled = [], []
        for _ in range(test.repeats(self.num_draws)):
            # A fresh order: each datum's code meets another x at every turn.
            order = torch.randperm(len(test.x), generator=generator, device=context.device)
            pair = joint_and_shuffled(*test.at(order))
            above, below = (torch.cat([ratios([v])[0] for v in side.split(READ_BATCH)]) for side in pair)
            own.append(above[order.argsort()].cpu().double())
            shuffled.append(below.cpu().double())
        n = len(test.x)
        value, error = mean_and_error(torch.stack(own).mean(0))
        assert error is not None  # of two data or more
        below = torch.cat(shuffled)
        log_mean, mean_error, effective = log_mean_exp_with_error(below)
        cap = math.log(len(below))
        dv = value - log_mean
        saturated = dv > cap - 1 or effective < FEW
        yield Measurement("mi_density_ratio", value, "nats", True, n, error)
        yield Measurement("mi_density_ratio_dv", dv, "nats", True, n, math.hypot(error, mean_error))
        yield Measurement("mi_density_ratio_cap", cap, "nats", None, len(below))
        yield Measurement("mi_density_ratio_saturated", float(saturated), "flag", False, n)


def joint_and_shuffled(x: Tensor, z: Tensor) -> Pair:
    """Pairs `[N, F + D]` as they are, and with the x of the datum before."""
    return torch.cat([x, z], 1), torch.cat([x.roll(1, 0), z], 1)


def log_mean_exp_with_error(values: Tensor) -> tuple[float, float, float]:
    """log mean exp, its standard error by the delta method, and the effective number of values `[M]`."""
    num = len(values)
    log_sum = torch.logsumexp(values, 0)
    effective = float(torch.exp(2 * log_sum - torch.logsumexp(2 * values, 0)))
    return float(log_sum) - math.log(num), max(0.0, 1 / effective - 1 / num) ** 0.5, effective
