"""Cache of the posteriors of iterative (SVI) models, so that an interrupted encoding resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from vaebench import layout
from vaebench.distributions import Gaussian
from vaebench.evaluation.partial_results import PartialResults
from vaebench.model import Model
from vaebench.seeding import derive_seed, seeded

VERSION = 1
"""Raised when the refined codes would change."""
BETWEEN_CHECKS = 100  # examples encoded between two checks for a request to stop


@torch.no_grad()
def refined(
    model: Model,
    chunks: Iterable[Tensor],
    seed: int,
    partial_results: PartialResults,
    check_stop: Callable[[], None],
) -> Gaussian:
    """Return q(z|x) of all examples of `chunks`, `[B, *shape]` each, for a model with a Gaussian posterior.

    Finished parts are saved. The file stays when all are done, so that later attempts read the encoding.
    """
    parts: list[Gaussian] = []
    done = total = 0

    def save() -> None:
        q = Gaussian.cat(parts)
        partial_results.save({"mean": q.mean.cpu().numpy(), "logvar": q.logvar.cpu().numpy()})

    stored = partial_results.load()
    for x in (part for chunk in chunks for part in chunk.split(BETWEEN_CHECKS)):
        if stored is not None and not parts:
            parts = [Gaussian(*(torch.from_numpy(stored[name]).to(x.device) for name in ("mean", "logvar")))]
            done = len(parts[0])
        total += len(x)
        if total <= done:
            continue
        check_stop()
        with seeded(derive_seed(seed, total)):
            q = model.encode(x)
        parts.append(Gaussian(q.mean, q.logvar))  # type: ignore[attr-defined]
        if partial_results.is_due:
            save()
    if total > done:
        save()
    return Gaussian.cat(parts)


def scratch_of(directory: Path, split: str, model: Model, x: Tensor, size: int) -> PartialResults:
    """Return the cache file of the encoding of stored examples `x` in chunks of `size`.

    Its name contains a hash of the weights and the examples.
    """
    digest = hashlib.sha256()
    for tensor in (*model.state_dict().values(), x):
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return PartialResults(directory, "encoded", VERSION, split, size, digest.hexdigest()[:16])


def forget(directory: Path) -> None:
    """Delete all cached encodings of a run. Call it once no evaluation is left to do."""
    for path in (directory / layout.PARTIAL_RESULTS).glob("encoded_*.npz"):
        path.unlink()
