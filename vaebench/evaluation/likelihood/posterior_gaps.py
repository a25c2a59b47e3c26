"""Amortisation gap and approximation gap of the encoder's posterior."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.distributions import Gaussian, Posterior, log_mean_exp
from vaebench.evaluation.base import Context, Measurement, Subset, mean_and_error
from vaebench.evaluation.latent.active_units import ACTIVE, count
from vaebench.evaluation.partial_results import PartialResults
from vaebench.ranges import Count, Positive
from vaebench.seeding import derive_seed, seeded

BLOCK = 500  # examples at a time; their log weights take 20 MB at 5,000 samples
NUM_DRAWS = 100  # samples for the moments of a posterior that is not Gaussian
ROWS = ("elbo_amortised", "elbo_local", "log_px", "kl_amortised", "kl_local", "ess", "from_prior")


class PosteriorGaps:
    """log p(x) - ELBO[q], split in two by the best diagonal Gaussian q* of each example (Cremer, Li &
    Duvenaud 2018, arXiv 1801.03558):

    - `amortisation_gap_nats` = ELBO[q*] - ELBO[q], the loss due to the encoder;
    - `approximation_gap_nats` = log p(x) - ELBO[q*], the loss due to the diagonal Gaussian family;
    - `inference_gap_nats` = KL(q(z|x) || p(z|x)), the sum of both.

    Each of `num_data` test examples gets its own q*: `num_steps` of Adam on the ELBO with `num_samples`
    samples per step, and a learning rate that falls linearly from `lr` to 0. The optimisation runs from
    q(z|x) and from N(0, I), and q* is the result with the higher ELBO.

    The gaps are then estimated from `num_importance` new samples, with the same noise for q and q*. log p(x)
    is importance sampled from q*, in expectation a lower bound, so the inference gap is a lower bound too.
    `ess_local_median` says how far to trust it. If the optimisation does not reach q*, the amortisation gap
    is too small and the approximation gap too large by the same amount; the approximation gap is therefore no
    bound. Standard errors are over examples, of each difference.

    A negative amortisation gap means that q has a higher ELBO than q*. Either `num_steps` is too small, or
    q(z|x) is no diagonal Gaussian; in the second case q* starts from the moments of q and may be worse.

    A large `kl_local_nats` and a `kl_amortised_nats` near 0 mean that the encoder collapsed and the decoder
    did not. Active units are counted on these examples, at a variance of 0.01.
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        num_data: Count | None,
        subset: Subset,
        num_steps: Count,
        lr: Positive,
        num_samples: Count,
        num_importance: Count,
    ) -> None:
        self.num_data = num_data
        self.subset = subset
        self.num_steps = num_steps
        self.lr = lr
        self.num_samples = num_samples
        self.num_importance = num_importance

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(density=True, latent=True)
        chosen = context.subset(self.num_data, self.subset).to(context.device)
        q = context.encoded("test")[chosen]
        rows, local = self._all(context.test_data[chosen], q, context)
        by_name = dict(zip(ROWS, rows, strict=True))
        context.save_arrays(
            "posterior_gaps",
            index=chosen.cpu().numpy(),
            mean=local.mean.numpy(),
            logvar=local.logvar.numpy(),
            **{name: values.numpy() for name, values in by_name.items()},
        )
        amortised, best, log_px = by_name["elbo_amortised"], by_name["elbo_local"], by_name["log_px"]
        for name, values, higher_is_better in (
            ("amortisation_gap_nats", best - amortised, False),
            ("approximation_gap_nats", log_px - best, False),
            ("inference_gap_nats", log_px - amortised, False),
            ("kl_amortised_nats", by_name["kl_amortised"], None),
            ("kl_local_nats", by_name["kl_local"], None),
        ):
            mean, error = mean_and_error(values)
            yield Measurement(name, mean, "nats", higher_is_better, len(values), error)
        n = len(chosen)
        for name, means in (("amortised", q.mean), ("local", local.mean)) if n > 1 else ():
            active = count(means.cpu().double().var(0), ACTIVE)
            yield Measurement(f"active_units_{name}", active, "units", True, n)
        yield Measurement("local_from_prior", float(by_name["from_prior"].mean()), "fraction", None, n)
        yield Measurement("ess_local_median", float(by_name["ess"].median()), "samples", True, n)

    def _all(self, x: Tensor, q: Posterior, context: Context) -> tuple[Tensor, Gaussian]:
        """Return the numbers per example `[len(ROWS), N]` and the local posteriors, on the CPU, in float64.

        Finished blocks are saved, so that an interrupted search resumes.
        """
        n, dim = q.mean.shape
        block = min(n, BLOCK, max(1, context.rows_per_chunk() // self.num_samples))
        options = (self.subset, self.num_steps, self.lr, self.num_samples, self.num_importance, n, block)
        partial_results = PartialResults(context.directory, "posterior_gaps", self.version, *options)
        result = torch.zeros(len(ROWS) + 2 * dim, n, dtype=torch.float64)
        track = partial(context.track, name="posterior gaps")
        for part in partial_results.blocks(result, block, track):
            seed = derive_seed(context.seed, "posterior gaps", part.start)
            result[:, part] = self._block(x[part], q[part], context, seed)
        numbers, mean, logvar = result.split([len(ROWS), dim, dim])
        return numbers, Gaussian(mean.T, logvar.T)

    def _block(self, x: Tensor, q: Posterior, context: Context, seed: int) -> Tensor:
        """Return the numbers per example of a block, then mean and logvar of q*, `[len(ROWS) + 2D, B]`."""
        zeros = torch.zeros_like(q.mean)
        with seeded(derive_seed(seed, "search")):
            starts = (as_gaussian(q, context), Gaussian(zeros, zeros))
            near, far = (self._refine(x, start, context) for start in starts)
        # Selected and measured on different samples: the larger of two noisy numbers is biased upwards.
        elbo_near, elbo_far = (
            self._log_weights(x, candidate, context, derive_seed(seed, "choice"))[0].mean(0)
            for candidate in (near, far)
        )
        from_prior = elbo_far > elbo_near
        row = from_prior.to(x.device).unsqueeze(1)
        local = Gaussian(torch.where(row, far.mean, near.mean), torch.where(row, far.logvar, near.logvar))
        measured = derive_seed(seed, "measure")
        log_w, kl = self._log_weights(x, q, context, measured)
        log_w_local, kl_local = self._log_weights(x, local, context, measured)
        ess = torch.exp(2 * torch.logsumexp(log_w_local, 0) - torch.logsumexp(2 * log_w_local, 0))
        elbos, log_px = (log_w.mean(0), log_w_local.mean(0)), log_mean_exp(log_w_local, 0)
        numbers = (*elbos, log_px, kl, kl_local, ess, from_prior.double())
        return torch.cat([torch.stack(numbers), local.mean.T.cpu().double(), local.logvar.T.cpu().double()])

    def _refine(self, x: Tensor, start: Gaussian, context: Context) -> Gaussian:
        """Return each example's Gaussian after optimisation.

        Adam works element by element, so all examples are optimised at once.
        """
        mean, logvar = (t.clone().requires_grad_() for t in (start.mean, start.logvar))
        optimizer = torch.optim.Adam([mean, logvar], lr=self.lr)
        for step in range(self.num_steps):
            context.check_stop()
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / self.num_steps)
            with torch.enable_grad():
                q = Gaussian(mean, logvar)
                terms = context.model.terms(x, self.num_samples, q=q, p=context.prior)
                loss = (terms.kl_per_datum - terms.log_px_z.mean(0)).sum()
            # backward() would add gradients to the model's parameters.
            mean.grad, logvar.grad = torch.autograd.grad(loss, (mean, logvar))
            optimizer.step()
        return Gaussian(mean.detach(), logvar.detach())

    def _log_weights(self, x: Tensor, q: Posterior, context: Context, seed: int) -> tuple[Tensor, Tensor]:
        """Return log w of `num_importance` samples `[S, B]` and the KL to the prior `[B]`, on the CPU, in
        float64."""
        chunk = max(1, context.rows_per_chunk() // len(x))
        log_w, kl = [], torch.zeros(len(x), dtype=torch.float64)
        with seeded(seed):
            for first in range(0, self.num_importance, chunk):
                num = min(chunk, self.num_importance - first)
                terms = context.model.terms(x, num, q=q, p=context.prior)
                log_w.append(terms.log_w.cpu().double())
                kl += terms.kl_per_datum.cpu().double() * (num / self.num_importance)
        return torch.cat(log_w), kl


def as_gaussian(q: Posterior, context: Context) -> Gaussian:
    """Return q(z|x) if it is a diagonal Gaussian, else the Gaussian with the moments of its samples."""
    if context.model.has_gaussian_posterior:
        return Gaussian(q.mean, q.logvar)  # type: ignore[attr-defined]
    z = q.rsample(NUM_DRAWS)
    return Gaussian(z.mean(0), z.var(0).log())
