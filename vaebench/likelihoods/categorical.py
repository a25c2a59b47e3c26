"""Categorical likelihood of sentences."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.text import PAD


class Categorical(nn.Module):
    """Likelihood p(x|z) = prod_t softmax(l_t)[x_t] over the tokens of a sentence.

    END counts as a token; the begin mark and the padding do not. `shape` is (L, V). The logits `[..., L, V]`
    may be cut after the longest sentence, since the rest is padding. `mean` returns the most probable tokens,
    since tokens have no mean.
    """

    kinds: ClassVar = frozenset({"tokens"})

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.parameter_shape = tuple(shape)

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        tokens = x[..., : logits.shape[-2]].expand(logits.shape[:-1])
        # cross_entropy stores only the log softmax for the backward pass, V numbers per token.
        nll = F.cross_entropy(logits.flatten(0, -2), tokens.flatten(), ignore_index=PAD, reduction="none")
        return -nll.view(tokens.shape).sum(-1)

    def mean(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        tokens = torch.softmax(logits, -1).flatten(0, -2).multinomial(1, generator=generator)
        return tokens.view(logits.shape[:-1])
