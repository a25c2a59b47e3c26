"""Comparison of cached and naive sampling, for the tests of autoregressive decoders."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaebench.networks.raster import generate_naively


def assert_samples_agree(decoder: Any, z: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Assert that both samplers compute the same logits and binary images; return images and logits."""
    logits: list[list[Tensor]] = [[], []]

    def pick(parameters: Tensor, seen: list[Tensor], generator: torch.Generator) -> Tensor:
        seen.append(parameters)
        return torch.bernoulli(torch.sigmoid(parameters), generator=generator)

    images = [
        sample(partial(pick, seen=seen, generator=torch.Generator().manual_seed(1)))
        for seen, sample in zip(
            logits,
            (lambda p: decoder.sample(z, p), lambda p: generate_naively(decoder, z, shape, p)),
            strict=True,
        )
    ]
    assert torch.equal(*images)
    torch.testing.assert_close(torch.stack(logits[0]), torch.stack(logits[1]), atol=1e-5, rtol=1e-5)
    return images[0], torch.stack(logits[0])
