"""The validation pass of an epoch: the ELBO at beta 1, and whether the code is collapsing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaebench.data.batches import in_order
from vaebench.data.spec import Split
from vaebench.evaluation.information.mutual_information import sandwich
from vaebench.model import Model
from vaebench.seeding import seeded

BATCH = 1000
NUMBERS = 2**27
"""Decoded at once at most: 512 MiB."""
ACTIVE = 0.01  # variance of the posterior mean, Burda et al. (2016)


@torch.no_grad()
def validate(model: Model, split: Split, seed: int, track_information: int | None = None) -> dict[str, float]:
    """Means over the split, in nats, from one draw of z per datum; the same draws at every call.

    Without a code there is no KL and no unit; the ELBO is log p(x). With a Gaussian posterior also its place
    in the Fisher-Shannon plane (evaluation.fisher_shannon), and with `track_information` the mutual
    information of that many data and their codes, whose draws are the same. Of sentences also the perplexity
    that the ELBO bounds from above. One datum shows no variance and no information: without those two.
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
                totals += [torch.exp(-q.logvar).sum(), q.logvar.mean(-1).sum()]
            sums[: len(totals)] += torch.stack(totals).to(dtype)
            means.append(q.mean)
            if track_information is not None and size * len(posteriors) < track_information:
                posteriors.append(q)
                draws.append(terms.z[0])
    model.train(was_training)
    reconstruction, kl, fisher, log_power = (sums / len(split)).tolist()
    found = {"elbo": reconstruction - kl, "reconstruction": reconstruction}
    if model.has_latent:
        found["kl"] = kl
        if len(split) > 1:
            variance = torch.cat(means).to(dtype).var(0)
            found["active_units"] = int((variance > ACTIVE).sum())
    if split.lengths is not None:
        per_token = -found["elbo"] / split.lengths.double().mean().item()
        found["perplexity_bound"] = math.exp(min(per_token, 700.0))
    if model.has_gaussian_posterior:
        found |= {"posterior_fisher": fisher, "entropy_power": math.exp(log_power)}
    if posteriors and len(split) > 1:
        q = posteriors[0].cat(posteriors)[:track_information]
        found |= information(q, torch.cat(draws)[:track_information])
    return found


def information(q: Any, z: Tensor) -> dict[str, float]:
    """I_q(x; z) from below and above, and the cap of the lower one (evaluation.mutual_information)."""
    if z.device.type == "mps":  # no float64 there
        q, z = q.to("cpu"), z.cpu()
    _, lower, upper = sandwich(q, z.double())
    return {"mi_lower": float(lower.mean()), "mi_upper": float(upper.mean()), "mi_cap": math.log(len(z))}
