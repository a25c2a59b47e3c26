"""The validation pass of an epoch: the ELBO at beta 1, and whether the code is collapsing."""

from __future__ import annotations

import math
from typing import Any

import torch

from vaebench.data.batches import in_order
from vaebench.data.spec import Split
from vaebench.model import Model
from vaebench.seeding import seeded

BATCH = 1000
ACTIVE = 0.01  # variance of the posterior mean, Burda et al. (2016)


@torch.no_grad()
def validate(model: Model, split: Split, seed: int) -> dict[str, float]:
    """Means over the split, in nats, from one draw of z per datum; the same draws at every call.

    With a Gaussian posterior also its place in the Fisher-Shannon plane (evaluation.fisher_shannon).
    """
    device = split.x.device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(4, dtype=dtype, device=device)
    means = []
    was_training = model.training
    model.eval()
    with seeded(seed):
        for x in in_order(split, BATCH, seed):
            terms = model.terms(x)
            q: Any = terms.q
            totals = [terms.log_px_z.sum(), terms.kl_per_datum.sum()]
            if model.has_gaussian_posterior:
                totals += [torch.exp(-q.logvar).sum(), q.logvar.mean(-1).sum()]
            sums[: len(totals)] += torch.stack(totals).to(dtype)
            means.append(q.mean)
    model.train(was_training)
    reconstruction, kl, fisher, log_power = (sums / len(split)).tolist()
    variance = torch.cat(means).to(dtype).var(0)
    found = {
        "elbo": reconstruction - kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "active_units": int((variance > ACTIVE).sum()),
    }
    if model.has_gaussian_posterior:
        found |= {"posterior_fisher": fisher, "entropy_power": math.exp(log_power)}
    return found
