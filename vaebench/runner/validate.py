"""The validation pass of an epoch: the ELBO at beta 1, and whether the code is collapsing."""

from __future__ import annotations

import torch

from vaebench.data.batches import in_order
from vaebench.data.spec import Split
from vaebench.model import Model
from vaebench.seeding import seeded

BATCH = 1000
ACTIVE = 0.01  # variance of the posterior mean, Burda et al. (2016)


@torch.no_grad()
def validate(model: Model, split: Split, seed: int) -> dict[str, float]:
    """Means over the split, in nats, from one draw of z per datum; the same draws at every call."""
    device = split.x.device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(2, dtype=dtype, device=device)
    means = []
    was_training = model.training
    model.eval()
    with seeded(seed):
        for x in in_order(split, BATCH, seed):
            terms = model.terms(x)
            sums += torch.stack([terms.log_px_z.sum(), terms.kl_per_datum.sum()]).to(dtype)
            means.append(terms.q.mean)
    model.train(was_training)
    reconstruction, kl = (sums / len(split)).tolist()
    variance = torch.cat(means).to(dtype).var(0)
    return {
        "elbo": reconstruction - kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "active_units": int((variance > ACTIVE).sum()),
    }
