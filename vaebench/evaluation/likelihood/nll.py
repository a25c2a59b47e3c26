"""Importance-sampled negative log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.distributions import Posterior
from vaebench.evaluation.base import Context, Measurement, Subset, mean_and_error, scaled
from vaebench.evaluation.likelihood.perplexity import perplexities
from vaebench.evaluation.partial_results import PartialResults
from vaebench.ranges import Count
from vaebench.seeding import derive_seed, seeded
from vaebench.text import lengths


class ImportanceSampledNLL:
    """-log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x), z_s ~ q(z|x) (Burda et al. 2016, eq. 8).

    In expectation an upper bound of -log p(x) that falls with S. Each example is encoded once; its samples
    are decoded in chunks and summed in float64. The estimate uses no training loss: beta is 1 and there is no
    penalty. If the model has an exact density, one sample is used.

    `subset` takes `num_data` test examples, a `random` choice or the `first`; `num_data: null` takes all. The
    standard error is over examples. `nll_mc_error` is its Monte Carlo component, by the delta method from the
    effective sample sizes (sum w)^2 / sum w^2; neither includes the bias. For sentences, perplexity
    (evaluation.likelihood.perplexity) replaces bits per dimension.
    """

    version: ClassVar = 1

    def __init__(self, *, num_samples: Count, num_data: Count | None, subset: Subset) -> None:
        self.num_samples = num_samples
        self.num_data = num_data
        self.subset = subset

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        is_exact = context.model.has_exact_density
        context.require(density=True, latent=not is_exact)
        chosen = context.subset(self.num_data, self.subset).to(context.device)
        x, q = context.test_data[chosen], context.encoded("test")[chosen]
        n, num = len(x), 1 if is_exact else self.num_samples
        log_px, ess = self._estimate(x, q, num, context)
        mean, error = mean_and_error(-log_px)
        # Var[log mean w] = Var[w] / (S E[w]^2) = 1/ESS - 1/S, up to O(1/S^2)
        mc_error = float((1 / ess - 1 / num).clamp(min=0).sum().sqrt() / n)
        arrays = {"log_px": log_px, "ess": ess, "index": chosen.cpu()}
        if context.spec.vocabulary is not None:
            arrays["tokens"] = lengths(x).cpu()
        context.save_arrays(f"nll_{self.num_samples}_{n}", **{key: a.numpy() for key, a in arrays.items()})
        yield Measurement("nll_nats", mean, "nats", False, n, error)
        if is_exact or num > 1:
            yield Measurement("nll_mc_error", mc_error, "nats", False, n)
        if context.spec.vocabulary is None:
            bits = math.prod(context.spec.shape) * math.log(2)
            yield Measurement("bits_per_dim", mean / bits, "bits", False, n, scaled(error, 1 / bits))
        else:
            yield from perplexities(-log_px, lengths(x).cpu())
        yield Measurement("ess_median", float(ess.median()), "samples", True, n)
        yield Measurement("ess_5_percent", float(ess.quantile(0.05)), "samples", True, n)
        yield Measurement("importance_samples", num, "samples", None, n)

    def _estimate(self, x: Tensor, q: Posterior, num: int, context: Context) -> tuple[Tensor, Tensor]:
        """Return log p_S(x) and the effective sample size per example, `[N]` each, float64, on the CPU.

        Finished blocks are saved, so that an interrupted estimate resumes.
        """
        rows = context.rows_per_chunk()
        block = min(len(x), max(1, rows // num))
        options = (num, len(x), self.subset, rows)
        partial_results = PartialResults(context.directory, "nll", self.version, *options)
        result = torch.zeros(2, len(x), dtype=torch.float64)
        track = partial(context.track, name=f"NLL, {num} samples")
        for part in partial_results.blocks(result, block, track):
            with seeded(derive_seed(context.seed, "nll", part.start)):
                chunk = max(1, rows // (part.stop - part.start))
                result[:, part] = self._block(x[part], q[part], num, chunk, context)
        return result[0], result[1]

    def _block(self, x: Tensor, q: Posterior, num_samples: int, chunk: int, context: Context) -> Tensor:
        """Return log p_S(x) and the effective sample size, `[2, B]`, from `num_samples` samples, `chunk` at a
        time."""
        log_sum = torch.full((len(x),), -math.inf, dtype=torch.float64)
        log_sum_squares = log_sum.clone()
        for first in range(0, num_samples, chunk):
            num = min(chunk, num_samples - first)
            log_w = context.model.terms(x, num, q=q, p=context.prior).log_w.cpu().double()
            log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_w, 0))
            log_sum_squares = torch.logaddexp(log_sum_squares, torch.logsumexp(2 * log_w, 0))
        ess = torch.exp(2 * log_sum - log_sum_squares)
        return torch.stack([log_sum - math.log(num_samples), ess])
