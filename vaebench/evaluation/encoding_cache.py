"""Encoding a split by a posterior that refines itself: long enough to be stopped, and to be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from vaebench.distributions import Gaussian
from vaebench.evaluation.partial_results import FOLDER, Scratch
from vaebench.model import Model
from vaebench.seeding import derive_seed, seeded

VERSION = 1
"""Rises when refined codes would change."""
BETWEEN_LOOKS = 100  # data refined between two looks at whether to stop


@torch.no_grad()
def refined(
    model: Model, chunks: Iterable[Tensor], seed: int, scratch: Scratch, check_stop: Callable[[], None]
) -> Gaussian:
    """q(z|x) of all data of `chunks`, `[B, *shape]` each, of a model with a Gaussian posterior.

    What is done is kept on disk, also when all is, so that an interrupted encoding goes on where it was.
    """
    parts: list[Gaussian] = []
    done = total = 0

    def save() -> None:
        q = Gaussian.cat(parts)
        scratch.save({"mean": q.mean.cpu().numpy(), "logvar": q.logvar.cpu().numpy()})

    stored = scratch.load()
    for x in (part for chunk in chunks for part in chunk.split(BETWEEN_LOOKS)):
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
        if scratch.is_due:
            save()
    if total > done:
        save()
    return Gaussian.cat(parts)


def scratch_of(directory: Path, split: str, model: Model, x: Tensor, size: int) -> Scratch:
    """Where the encoding of stored data `x` in chunks of `size` is kept: named by these data and weights."""
    digest = hashlib.sha256()
    for tensor in (*model.state_dict().values(), x):
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return Scratch(directory, "encoded", VERSION, split, size, digest.hexdigest()[:16])


def forget(directory: Path) -> None:
    """Remove what was kept. To be called once no evaluation is left to do."""
    for path in (directory / FOLDER).glob("encoded_*.npz"):
        path.unlink()
