"""Validation pass of an epoch: ELBO at beta = 1, KL and active units."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaebench.data.batches import in_order
from vaebench.data.spec import Split
from vaebench.evaluation.information.mutual_information import sandwich
from vaebench.evaluation.latent.active_units import ACTIVE, count
from vaebench.evaluation.latent.fisher_shannon import gaussian_fisher
from vaebench.evaluation.likelihood.perplexity import perplexity
from vaebench.model import Model
from vaebench.seeding import seeded

BATCH = 1000
NUMBERS = 2**27
"""Largest number of decoded values in memory at once: 512 MiB in float32."""


@torch.no_grad()
def validate(model: Model, split: Split, seed: int, track_information: int | None = None) -> dict[str, float]:
    """Return means over the split, in nats, from one sample of z per example.

    The samples are the same at every call.

    - All models: `elbo` and `reconstruction`. A model without a code has ELBO = log p(x), no KL, no units.
    - Models with a code: `kl` and, for two examples or more, `active_units`.
    - Sentences: `perplexity_bound`, the upper bound of the perplexity that follows from the ELBO.
    - Gaussian posteriors: `posterior_fisher` and `entropy_power`, the coordinates of the Fisher-Shannon plane
      (evaluation.latent.fisher_shannon).
    - With `track_information`, for two examples or more: bounds of the mutual information of the first
      `track_information` examples and their codes. These are the samples of z of the ELBO.
    """
    size = max(1, min(BATCH, NUMBERS // model.parameters_per_datum))
    device = split.x.device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(4, dtype=dtype, device=device)
    means, draws = [], []
    posteriors: list[Any] = []
    was_training = model.training
    model.eval()
    with seeded(seed):
        for x in in_order(split, size, seed):
            terms = model.terms(x)
            q: Any = terms.q
            totals = [terms.log_px_z.sum(), terms.kl_per_datum.sum()]
            if model.has_gaussian_posterior:
                totals += [gaussian_fisher(q.logvar).sum(), q.logvar.mean(-1).sum()]
            sums[: len(totals)] += torch.stack(totals).to(dtype)
            means.append(q.mean)
            if track_information is not None and size * len(posteriors) < track_information:
                posteriors.append(q)
                draws.append(terms.z[0])
    model.train(was_training)
    reconstruction, kl, fisher, log_power = (sums / len(split)).tolist()
    numbers: dict[str, float] = {"elbo": reconstruction - kl, "reconstruction": reconstruction}
    if model.has_latent:
        numbers["kl"] = kl
        if len(split) > 1:
            numbers["active_units"] = count(torch.cat(means).to(dtype).var(0), ACTIVE)
    if split.lengths is not None:
        numbers["perplexity_bound"] = perplexity(-numbers["elbo"] / split.lengths.double().mean().item())
    if model.has_gaussian_posterior:
        numbers |= {"posterior_fisher": fisher, "entropy_power": math.exp(log_power)}
    if posteriors and len(split) > 1:
        q = posteriors[0].cat(posteriors)[:track_information]
        numbers |= information(q, torch.cat(draws)[:track_information])
    return numbers


def information(q: Any, z: Tensor) -> dict[str, float]:
    """Return the lower and upper bound of I_q(x; z), in nats, and the cap log N of the lower bound.

    The definitions are in evaluation.information.mutual_information.
    """
    if z.device.type == "mps":  # no float64 there
        q, z = q.to("cpu"), z.cpu()
    _, lower, upper = sandwich(q, z.double())
    return {"mi_lower": float(lower.mean()), "mi_upper": float(upper.mean()), "mi_cap": math.log(len(z))}
