"""Stochastic binarisation with a recorded seed: x ~ Bernoulli(grey level)."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from vaebench.data.spec import Split, Splits

Part = tuple[Tensor, Tensor | None]
"""Images and labels of one split; None without labels."""


def binarise_once(grey: Tensor, scale: float, seed: int) -> Tensor:
    """Sample x ~ Bernoulli(scale * grey) once for uint8 levels `[N, ...]`; return uint8 zeros and ones.

    The sample depends on the seed only, not on the device or the global random state.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [
        torch.rand(part.shape, generator=generator).lt(part.float() * scale)
        for part in grey.split(10_000)  # limits the memory that the uniform numbers need
    ]
    return torch.cat(draws).to(torch.uint8)


def dynamically(
    train: Part, valid: Part, test: Part, scale: float, seed: int, origin: dict[str, Any]
) -> Splits:
    """Return splits whose training images are resampled at every access, the others sampled once.

    `origin` is extended by the seed and the hashes of the data.
    """
    # Each split has its own seed: with the same uniform numbers, their noise would be dependent.
    held_out = [Split(binarise_once(x, scale, seed + i), y) for i, (x, y) in enumerate([valid, test])]
    facts = {
        "binarisation_seed": seed,
        "train_hash": content_hash(train[0]),
        "test_hash": content_hash(held_out[1].x),
    }
    return Splits(Split(*train, scale=scale, stochastic=True), held_out[0], held_out[1], origin | facts)


def content_hash(x: Tensor) -> str:
    """Return the first 16 hex digits of the SHA-256 of the data; runs with equal hashes used equal data."""
    return hashlib.sha256(x.contiguous().numpy().data).hexdigest()[:16]
