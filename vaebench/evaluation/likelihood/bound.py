"""ELBO, reconstruction and KL on the test set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.ranges import Count


class EvidenceLowerBound:
    """ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)) and its two terms (Kingma & Welling 2014, eq. 3), at beta =
    1.

    Means over `num_samples` samples of z per test example; the KL is in closed form where there is one.
    Standard errors are over test examples. Arrays: all three numbers per example, and the mean KL of each
    latent unit.
    """

    version: ClassVar = 1

    def __init__(self, *, num_samples: Count) -> None:
        self.num_samples = num_samples

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        log_px_z, rate, rate_per_unit = reconstruction_and_kl(context, self.num_samples)
        if rate_per_unit is not None:
            context.save_arrays("kl_per_unit", kl=rate_per_unit.numpy())
        per_datum = {"elbo": log_px_z - rate, "reconstruction": log_px_z, "kl": rate}
        arrays = {name: values.numpy() for name, values in per_datum.items()}
        context.save_arrays(f"bound_{self.num_samples}", **arrays)
        for name, values, higher_is_better in (
            ("elbo", per_datum["elbo"], True),
            ("reconstruction", log_px_z, True),
            ("kl", rate, None),
        ):
            mean, error = mean_and_error(values)
            yield Measurement(name, mean, "nats", higher_is_better, len(values), error)


@torch.no_grad()
def reconstruction_and_kl(context: Context, num_samples: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return E_q[log p(x|z)] `[N]` and the KL `[N]` per test example, and the mean KL per unit `[D]`.

    The KL per unit is None without a closed form.
    """
    context.require(density=True, latent=True)
    q = context.encoded("test")
    size = max(1, context.rows_per_chunk() // num_samples)
    reconstruction, kl, kl_units = [], [], []
    for start in context.track(range(0, len(q), size), "ELBO"):
        part = slice(start, start + size)
        terms = context.model.terms(context.test_data[part], num_samples, q=q[part], p=context.prior)
        reconstruction.append(terms.log_px_z.double().mean(0).cpu())
        kl.append(terms.kl_per_datum.cpu().double())
        if terms.kl is not None:
            kl_units.append(terms.kl.cpu().double())
    return torch.cat(reconstruction), torch.cat(kl), torch.cat(kl_units).mean(0) if kl_units else None
