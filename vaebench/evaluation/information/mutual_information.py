"""Lower and upper bounds of the mutual information of x and z, in nats."""

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
LEAST = 4  # two examples in each half that a Gaussian is fitted to

Track = Callable[[range], Iterable[int]]
"""Function that iterates over the tiles of a long computation, for example with a progress bar."""


class MutualInformation:
    """I_q(x; z) and KL(q(z) || p(z)) over N test examples, with one sample z_i ~ q(z|x_i) each.

    The aggregate posterior is estimated by the mixture of all N posteriors (Hoffman & Johnson 2016):

    - `mi_lower` = mean_i [log q_i(z_i) - log 1/N sum_j q_j(z_i)]: at most log N, in expectation a lower bound
      of the mutual information under the data distribution;
    - `mi_upper`, with the mixture of the N - 1 others: in expectation an upper bound, without a cap.

    `mi_saturated` is 1 if `mi_lower` is within one nat of its cap or if the two bounds are more than one nat
    apart. The value then reflects N rather than the code. KL(q(z)||p(z)) = E KL - I lies between
    `marginal_kl_lower` and `marginal_kl_upper`. Standard errors treat the N terms as independent.

    Any density m(z) in place of the mixture gives an upper bound. It is too large by KL(q(z) || m), and N
    does not limit it. `mi_upper_prior` uses the prior: it is the mean of KL(q(z|x) || p(z)), in closed form
    where there is one. `mi_upper_gaussian` uses a Gaussian fitted to the codes of the other half of the
    examples.

    The interval goes from `mi_interval_low` = `mi_lower` to `mi_interval_high`, the smallest of the three
    upper bounds; negative ends are set to 0. log N caps the lower end. The upper end exceeds the truth, in
    expectation, by the KL(q(z) || m) of the bound that is smallest. The minimum of noisy bounds is biased
    downwards, by less than the errors of those that are close. Its standard error is that of the selected
    bound, so the two ends may cross by about that much.
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
            # Relative to the prior: if its KL is in closed form, the noise of the samples of z matters less.
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
    """Return log q_i(z_i) and the terms of `mi_lower` and `mi_upper`, `[N]` each, for one sample z_i of each
    q_i."""
    n = len(z)
    log_own, log_others = pair_densities(q, z, track)
    log_all = torch.logaddexp(log_own, log_others) - math.log(n)
    return log_own, log_own - log_all, log_own - (log_others - math.log(n - 1))


def pair_densities(q: Any, z: Tensor, track: Track) -> tuple[Tensor, Tensor]:
    """Return log q_i(z_i) and log sum_{j != i} q_j(z_i), `[N]` each, from N x N densities in tiles."""
    own, others = [], []
    for start in track(range(0, len(z), TILE)):
        pairs = q.log_prob_pairs(z[start : start + TILE])
        row = torch.arange(len(pairs), device=pairs.device)
        own.append(pairs[row, row + start])
        pairs[row, row + start] = -math.inf
        others.append(torch.logsumexp(pairs, 1))
    return torch.cat(own), torch.cat(others)


def cross_fitted(z: Tensor) -> Tensor:
    """Return log m(z_i) `[N]`, where m is the Gaussian fitted to the half of the codes that does not contain
    z_i.

    The halves are the codes at even and at odd positions. Since m is never evaluated on codes it was fitted
    to, the bound stays valid. The covariance is shrunk towards I by D pseudo-codes, which keeps it regular
    for any number of codes. The result is -inf if it is singular all the same, because codes are too far
    apart.
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
