"""Importance-sampled negative log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import Posterior
from vaebench.evaluation.base import Context, Measurement, Subset, mean_and_error, scaled
from vaebench.evaluation.likelihood.perplexity import perplexities
from vaebench.evaluation.partial_results import Scratch
from vaebench.ranges import Count
from vaebench.seeding import derive_seed, seeded
from vaebench.text import lengths


class ImportanceSampledNLL:
    """-log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x), z_s ~ q(z|x) (Burda et al. 2016, eq. 8).

    In expectation an upper bound of -log p(x), falling with S. Each datum is encoded once; draws are decoded
    in chunks and summed in float64. `num_data` takes a `random` choice of test data or the `first`, null
    all. The standard error is over data; `nll_mc_error` is the part that more samples would remove, by the
    delta method from the effective sample sizes (sum w)^2 / sum w^2. Never through a training loss: no
    beta, no penalty. Of sentences the perplexity (evaluation.perplexity) stands for bits per dimension. Where
    the density is exact, one sample is enough.
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
        mc_error = float((1 / ess - 1 / num).clamp(min=0).sum().sqrt() / n)  # nothing is known from one
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
        """log p_S(x) and effective sample size of each datum, `[N]`, float64, on the CPU.

        What is done is kept on disk while it runs, so that an interrupted estimate goes on where it was.
        """
        rows = context.rows_per_chunk()
        block = min(len(x), max(1, rows // num))
        scratch = Scratch(context.directory, "nll", self.version, num, len(x), self.subset, rows)
        result, done = torch.zeros(2, len(x), dtype=torch.float64), 0
        if (stored := scratch.load()) is not None:
            result, done = torch.from_numpy(stored["result"]), int(stored["done"])
        for start in context.track(range(done, len(x), block), f"NLL, {num} samples"):
            stop = min(start + block, len(x))
            with seeded(derive_seed(context.seed, "nll", start)):
                chunk = max(1, rows // (stop - start))
                result[:, start:stop] = self._block(x[start:stop], q[start:stop], num, chunk, context)
            if scratch.is_due:
                scratch.save({"result": result.numpy(), "done": np.array(stop)})
        scratch.remove()
        return result[0], result[1]

    def _block(self, x: Tensor, q: Posterior, num_samples: int, chunk: int, context: Context) -> Tensor:
        """log p_S(x) and effective sample size `[2, B]`, from `num_samples` draws, `chunk` at a time."""
        log_sum = torch.full((len(x),), -math.inf, dtype=torch.float64)
        log_sum_squares = log_sum.clone()
        for first in range(0, num_samples, chunk):
            num = min(chunk, num_samples - first)
            log_w = context.model.terms(x, num, q=q, p=context.prior).log_w.cpu().double()
            log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_w, 0))
            log_sum_squares = torch.logaddexp(log_sum_squares, torch.logsumexp(2 * log_w, 0))
        ess = torch.exp(2 * log_sum - log_sum_squares)
        return torch.stack([log_sum - math.log(num_samples), ess])
