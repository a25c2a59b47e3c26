"""Mutual information of x and z from samples alone, without the density of the posterior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.distributions import log_mean_exp
from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.evaluation.information.density_ratio import Fitting, Pair, codes, fit
from vaebench.ranges import AtLeastTwo, Count, Positive
from vaebench.seeding import derive_seed

READ_BATCH = 1000
FEW = 10  # smallest effective number of pairs, as for importance weights


class DensityRatioMI:
    """I(x; z) from a classifier T of pairs (x, z), z ~ q(z|x), against shuffled pairs (x', z) with another
    example's x.

    The classifier is trained on the training split with new codes at every step and evaluated on the test
    split:

    - `mi_density_ratio` = E T over pairs: the classifier's estimate, neither an upper nor a lower bound;
    - `mi_density_ratio_dv` = E T - log E' exp T, with E' over M shuffled pairs: a lower bound of I(x; z) for
      any T (Donsker & Varadhan 1983), up to the error of the second mean over M pairs.

    It applies to any posterior that can be sampled. A classifier underestimates large information, because
    shuffled pairs that could be true ones are then too rare in training. M pairs show at most log M nats
    (McAllester & Stratos 2020). The flag `mi_density_ratio_saturated` is 1 if the bound is within one nat of
    `mi_density_ratio_cap` = log M, or if the second mean has an effective number of pairs below ten. The
    bound then reflects the number of pairs and is not valid. Standard errors are over examples, which the M
    pairs share (`dv_error`).
    """

    version: ClassVar = 2

    def __init__(
        self, *, num_steps: Count, batch_size: AtLeastTwo, width: Count, lr: Positive, num_draws: Count
    ) -> None:
        self.fitting = Fitting(width, lr, batch_size, num_steps)
        self.num_draws = num_draws

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, test_data=2)
        seed = derive_seed(context.seed, "density_ratio_mi")
        generator = torch.Generator(context.device).manual_seed(seed)
        train, test = codes(context, generator)
        steps = context.track(range(self.fitting.num_steps), "density-ratio MI")
        ratios = fit(lambda num: [joint_and_shuffled(*train.draw(num))], self.fitting, generator, steps)
        parts = []
        for _ in range(test.repeats(self.num_draws)):
            # A new order: each code is paired with another x in every repetition.
            order = torch.randperm(len(test.x), generator=generator, device=context.device)
            pair = joint_and_shuffled(*test.at(order))
            above, below = (torch.cat([ratios([v])[0] for v in side.split(READ_BATCH)]) for side in pair)
            at_z, at_x = order.argsort(), order.roll(1).argsort()
            parts.append(torch.stack([above[at_z], below[at_x], below[at_z]]))
        own, by_x, by_z = torch.stack(parts, 1).cpu().double()
        n = len(test.x)
        value, error = mean_and_error(own.mean(0))
        log_mean = log_mean_exp(by_z.flatten(), 0)
        weights_x, weights_z = ((values - log_mean).exp() for values in (by_x, by_z))
        cap = math.log(weights_z.numel())
        dv = value - float(log_mean)
        saturated = dv > cap - 1 or effective_number(weights_z) < FEW
        yield Measurement("mi_density_ratio", value, "nats", True, n, error)
        dv_standard_error = dv_error(own.mean(0), weights_x, weights_z)
        yield Measurement("mi_density_ratio_dv", dv, "nats", True, n, dv_standard_error)
        yield Measurement("mi_density_ratio_cap", cap, "nats", None, weights_z.numel())
        yield Measurement("mi_density_ratio_saturated", float(saturated), "flag", False, n)


def joint_and_shuffled(x: Tensor, z: Tensor) -> Pair:
    """Return pairs (x, z) `[N, F + D]`, and the same with the x of the previous example."""
    return torch.cat([x, z], 1), torch.cat([x.roll(1, 0), z], 1)


def effective_number(weights: Tensor) -> float:
    """Return the effective number of weights, (sum w)^2 / sum w^2."""
    return float(weights.sum().square() / weights.square().sum())


def dv_error(own: Tensor, by_x: Tensor, by_z: Tensor) -> float:
    """Return the standard error over examples of mean(own) - log mean(weights).

    `own [N]` are the values of T at the pairs. `by_x` and `by_z`, `[R, N]`, are the same RN weights of
    shuffled pairs, of mean 1, ordered by the example of their x and by that of their z. An example changes
    the first mean through its pair and the second through all weights that contain it: u_i = own_i - mean_r
    by_x_ri - mean_r by_z_ri. Noise that belongs to a weight but to neither of its examples counts twice in
    sum u^2, so it is subtracted once (as in the variance of dyads, Fafchamps & Gubert 2007).
    """
    n = len(own)
    influence = own - by_x.mean(0) - by_z.mean(0)
    alone = (by_z - 1).square().sum() / by_z.numel() ** 2
    return float((influence.var() / n - alone).clamp(min=alone)) ** 0.5
