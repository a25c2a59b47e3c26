"""How much the code knows about the data, in nats, from below and from above."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaebench.distributions import LOG_2PI, kl_divergence
from vaebench.evaluation.base import Context, Measurement, NotApplicableError, mean_and_error, require_data
from vaebench.ranges import AtLeastTwo

TILE = 1000  # rows of the N x N matrix at a time: 80 MB in float64 at N = 10,000


LEAST = 4  # two in each half that a Gaussian is fitted to

Track = Callable[[range], Iterable[int]]
"""Goes through the tiles of a long computation."""


class MutualInformation:
    """I_q(x; z) and KL(q(z) || p(z)) over N test data, one draw z_i ~ q(z|x_i) each.

    With the aggregate posterior as the mixture of all N (Hoffman & Johnson 2016):

    - `mi_lower` = mean_i [log q_i(z_i) - log 1/N sum_j q_j(z_i)]: at most log N, in expectation a lower
      bound of the mutual information under the data's law;
    - `mi_upper`, with the mixture of the N - 1 others: in expectation an upper bound, unbounded.

    Saturated (1) where the lower one is within a nat of its cap or the two are a nat apart: then the
    number says how many data there are, not what the code knows. KL(q(z)||p(z)) = E KL - I is between
    `marginal_kl_lower` and `marginal_kl_upper`. Standard errors treat the N terms as independent.

    Any m(z) in place of the mixture gives an upper bound, too large by KL(q(z) || m) and not capped by N:
    `mi_upper_prior`, the mean KL(q(z|x) || p(z)), with the prior, in closed form where there is one, and
    `mi_upper_gaussian` with a Gaussian fitted to the codes of the other half of the data. The interval goes
    from `mi_interval_low` = `mi_lower`, which log N caps, to `mi_interval_high`, the smallest of the three
    upper bounds, whose cap is the KL(q(z) || m) of the one that it equals; neither end is below 0. The
    smallest of noisy numbers tends to be too small, by less than the errors of those that are close; the
    standard error is that of the chosen one, and ends that meet may cross by it.
    """

    version: ClassVar = 2

    def __init__(self, *, num_data: AtLeastTwo | None) -> None:
        self.num_data = num_data

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        q = context.encoded("test")[: self.num_data]
        if not hasattr(q, "log_prob_pairs"):
            raise NotApplicableError("the posterior's density at another datum's code has no closed form")
        kl = kl_divergence(q, context.prior)
        if q.mean.device.type == "mps":  # no float64 there
            q = q.to("cpu")
        n = len(q)
        require_data(n, LEAST)
        z = q.rsample(1)[0].double()
        log_own, lower, upper = sandwich(q, z, partial(context.track, name="mutual information"))
        log_pz = context.prior.log_prob(z.to(context.device) if z.device != context.device else z).to(z)
        rate = log_own - log_pz
        kl_prior = rate if kl is None else kl.sum(-1).to(rate)
        values = {
            "mi_lower": lower,
            "mi_upper": upper,
            "mi_upper_prior": kl_prior,
            # By way of the prior: where its KL is in closed form, the draws of z then matter less.
            "mi_upper_gaussian": kl_prior + log_pz - cross_fitted(z),
            "marginal_kl_lower": rate - upper,
            "marginal_kl_upper": rate - lower,
        }
        means, errors = {}, {}
        for name, per_datum in values.items():
            means[name], errors[name] = mean_and_error(per_datum)
            better = True if name.startswith("mi") else None
            yield Measurement(name, means[name], "nats", better, n, errors[name])
        bounds = {name: mean for name, mean in means.items() if name.startswith("mi_upper")}
        best = min(bounds, key=lambda name: bounds[name] if math.isfinite(bounds[name]) else math.inf)
        for name, end in (("mi_interval_low", "mi_lower"), ("mi_interval_high", best)):
            value, known_error = (0.0, None) if means[end] <= 0 else (means[end], errors[end])
            yield Measurement(name, value, "nats", True, n, known_error)
        cap = math.log(n)
        saturated = means["mi_lower"] > cap - 1 or means["mi_upper"] - means["mi_lower"] > 1
        yield Measurement("mi_cap", cap, "nats", None, n)
        yield Measurement("mi_saturated", float(saturated), "flag", False, n)


def sandwich(q: Any, z: Tensor, track: Track = iter) -> tuple[Tensor, Tensor, Tensor]:
    """log q_i(z_i) and the terms of `mi_lower` and `mi_upper`, each `[N]`, for a draw z_i of each q_i."""
    n = len(z)
    log_own, log_others = pair_densities(q, z, track)
    log_all = torch.logaddexp(log_own, log_others) - math.log(n)
    return log_own, log_own - log_all, log_own - (log_others - math.log(n - 1))


def pair_densities(q: Any, z: Tensor, track: Track) -> tuple[Tensor, Tensor]:
    """log q_i(z_i) and log sum_{j != i} q_j(z_i), each `[N]`, from N x N densities in tiles."""
    own, others = [], []
    for start in track(range(0, len(z), TILE)):
        pairs = q.log_prob_pairs(z[start : start + TILE])
        row = torch.arange(len(pairs), device=pairs.device)
        own.append(pairs[row, row + start])
        pairs[row, row + start] = -math.inf
        others.append(torch.logsumexp(pairs, 1))
    return torch.cat(own), torch.cat(others)


def cross_fitted(z: Tensor) -> Tensor:
    """log m(z_i) `[N]`, m the Gaussian of the codes in every second place that i is not in.

    Fitted to others than it is asked about, so that it errs on the safe side. The covariance leans on I by
    D imaginary codes, which keeps it regular for any number of codes; -inf where codes are so far apart that
    it is singular all the same.
    """
    dim = z.shape[1]
    log_m = torch.empty_like(z[:, 0])
    eye = torch.eye(dim, dtype=z.dtype, device=z.device)
    for fold in (0, 1):
        others = z[1 - fold :: 2]
        centred = others - others.mean(0)
        scale, failed = torch.linalg.cholesky_ex((centred.T @ centred + dim * eye) / (len(others) + dim))
        if failed:
            log_m[fold::2] = -math.inf
            continue
        whitened = torch.linalg.solve_triangular(scale, (z[fold::2] - others.mean(0)).T, upper=False)
        log_m[fold::2] = -0.5 * (whitened.square().sum(0) + dim * LOG_2PI) - scale.diagonal().log().sum()
    return log_m
