"""Stochastic binarisation with a recorded seed: x ~ Bernoulli(grey level)."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


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


def content_hash(x: Tensor) -> str:
    """The first 16 hex digits of the data's SHA-256: two runs with the same hash saw the same bits."""
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()[:16]
