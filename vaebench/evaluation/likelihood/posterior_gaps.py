"""How far the encoder's posterior is from the best Gaussian one, and that one from the true posterior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import Gaussian, Posterior, log_mean_exp
from vaebench.evaluation.base import Context, Measurement, Subset, mean_and_error
from vaebench.evaluation.latent.active_units import count
from vaebench.evaluation.partial_results import Scratch
from vaebench.ranges import Count, Positive
from vaebench.seeding import derive_seed, seeded

ACTIVE = 0.01  # variance of the posterior mean, Burda et al. (2016)
BLOCK = 500  # data; their log weights are kept, 20 MB at 5,000 draws
NUM_DRAWS = 100  # for the moments of a posterior that is not Gaussian
ROWS = ("elbo_amortised", "elbo_local", "log_px", "kl_amortised", "kl_local", "ess", "from_prior")


class PosteriorGaps:
    """log p(x) - ELBO[q] split in two by the best diagonal Gaussian q* of each datum (Cremer, Li & Duvenaud
    2018, arXiv 1801.03558):

    - `amortisation_gap_nats` = ELBO[q*] - ELBO[q], what the encoder loses;
    - `approximation_gap_nats` = log p(x) - ELBO[q*], what the family loses;
    - `inference_gap_nats`, their sum, KL(q(z|x) || p(z|x)).

    Each of `num_data` test data gets its own q*: `num_steps` of Adam on the ELBO with `num_samples` draws
    each, the learning rate falling linearly from `lr` to 0, once from q(z|x) and once from N(0, I); of the
    two the one with the higher ELBO. The gaps are then measured on `num_importance` fresh draws, the same
    noise for q and q*; log p(x) is importance sampled from q*, in expectation from below, so that the
    inference gap is a lower bound (`ess_local_median` says how far to trust it). What the search falls short
    of q* is missing from the amortisation gap and added to the approximation gap, which is hence no bound.
    Standard errors are over data, of each difference. A negative amortisation gap says that q beats q*:
    `num_steps` were too few, or q(z|x) is no diagonal Gaussian, in which case q* starts from its moments and
    may be worse than it.

    A large `kl_local_nats` beside a `kl_amortised_nats` near 0 says that the encoder collapsed and the
    decoder did not. Active units are over these data, at a variance of 0.01.
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
        """The numbers of each datum `[len(ROWS), N]` and its local posterior, on the CPU, in float64.

        What is done is kept on disk while it runs, so that an interrupted search goes on where it was.
        """
        n, dim = q.mean.shape
        block = min(n, BLOCK, max(1, context.rows_per_chunk() // self.num_samples))
        options = (self.subset, self.num_steps, self.lr, self.num_samples, self.num_importance, n, block)
        scratch = Scratch(context.directory, "posterior_gaps", self.version, *options)
        result, done = torch.zeros(len(ROWS) + 2 * dim, n, dtype=torch.float64), 0
        if (stored := scratch.load()) is not None:
            result, done = torch.from_numpy(stored["result"]), int(stored["done"])
        for start in context.track(range(done, n, block), "posterior gaps"):
            part = slice(start, min(start + block, n))
            seed = derive_seed(context.seed, "posterior gaps", start)
            result[:, part] = self._block(x[part], q[part], context, seed)
            if scratch.is_due:
                scratch.save({"result": result.numpy(), "done": np.array(part.stop)})
        scratch.remove()
        numbers, mean, logvar = result.split([len(ROWS), dim, dim])
        return numbers, Gaussian(mean.T, logvar.T)

    def _block(self, x: Tensor, q: Posterior, context: Context, seed: int) -> Tensor:
        """The numbers of each datum of a block, then mean and logvar of q*, `[len(ROWS) + 2D, B]`."""
        zeros = torch.zeros_like(q.mean)
        with seeded(derive_seed(seed, "search")):
            starts = (as_gaussian(q, context), Gaussian(zeros, zeros))
            near, far = (self._refine(x, start, context) for start in starts)
        # Chosen on other draws than measured on: the better of two noisy numbers flatters itself.
        elbo_near, elbo_far = (
            self._log_weights(x, each, context, derive_seed(seed, "choice"))[0].mean(0)
            for each in (near, far)
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
        """Each datum's Gaussian after its ascent; Adam works by element, so that all climb at once."""
        mean, logvar = (t.clone().requires_grad_() for t in (start.mean, start.logvar))
        optimizer = torch.optim.Adam([mean, logvar], lr=self.lr)
        for step in range(self.num_steps):
            context.check_stop()
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / self.num_steps)
            with torch.enable_grad():
                q = Gaussian(mean, logvar)
                terms = context.model.terms(x, self.num_samples, q=q, p=context.prior)
                loss = (terms.kl_per_datum - terms.log_px_z.mean(0)).sum()
            # Not backward(), which would leave gradients in the model's parameters.
            mean.grad, logvar.grad = torch.autograd.grad(loss, (mean, logvar))
            optimizer.step()
        return Gaussian(mean.detach(), logvar.detach())

    def _log_weights(self, x: Tensor, q: Posterior, context: Context, seed: int) -> tuple[Tensor, Tensor]:
        """log w of `num_importance` draws `[S, B]`, and KL to the prior `[B]`, on the CPU, in float64."""
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
    """q(z|x) itself where it is a diagonal Gaussian, else the one with the moments of its draws."""
    if context.model.has_gaussian_posterior:
        return Gaussian(q.mean, q.logvar)  # type: ignore[attr-defined]
    z = q.rsample(NUM_DRAWS)
    return Gaussian(z.mean(0), z.var(0).log())
