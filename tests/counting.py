"""Counting what a model decodes."""

from __future__ import annotations

import pytest
from torch import Tensor, nn


def count_draws(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many codes each call of `model.decode` decodes, from now on."""
    counts: list[int] = []
    decode = model.decode

    def counting(z: Tensor, x: Tensor | None = None) -> Tensor:
        counts.append(z.shape[0] * z.shape[1])
        return decode(z, x)

    monkeypatch.setattr(model, "decode", counting)
    return counts
