"""Stochastic binarisation with a recorded seed: x ~ Bernoulli(grey level)."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from vaebench.data.spec import Split, Splits

Part = tuple[Tensor, Tensor | None]
"""Images and labels of one split."""


def binarise_once(grey: Tensor, scale: float, seed: int) -> Tensor:
    """One Bernoulli draw of uint8 levels `[N, ...]`, as uint8 zeros and ones.

    The draw depends on the seed alone, not on the device or on the global random state.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [
        torch.rand(part.shape, generator=generator).lt(part.float() * scale)
        for part in grey.split(10_000)  # bounds the memory of the uniform numbers
    ]
    return torch.cat(draws).to(torch.uint8)


def dynamically(
    train: Part, valid: Part, test: Part, scale: float, seed: int, origin: dict[str, Any]
) -> Splits:
    """Training images drawn anew at each look, the others once; `origin` is added to."""
    # A seed of its own for each split: the same uniform numbers would tie their noise together.
    held_out = [Split(binarise_once(x, scale, seed + i), y) for i, (x, y) in enumerate([valid, test])]
    drawn = {
        "binarisation_seed": seed,
        "train_hash": content_hash(train[0]),
        "test_hash": content_hash(held_out[1].x),
    }
    return Splits(Split(*train, scale=scale, stochastic=True), held_out[0], held_out[1], origin | drawn)


def content_hash(x: Tensor) -> str:
    """The first 16 hex digits of the data's SHA-256: two runs with the same hash saw the same bits."""
    return hashlib.sha256(x.contiguous().numpy().data).hexdigest()[:16]
