"""The categorical likelihood of sentences."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.text import PAD


class Categorical(nn.Module):
    """p(x|z) = prod_t softmax(l_t)[x_t] over the tokens of a sentence, END in, begin mark and padding out.

    Constructed with (L, V). Parameters `[..., L, V]` may end where the longest sentence does: behind it there
    is nothing to predict. A token has no mean; `mean` is the most probable one.
    """

    kinds: ClassVar = frozenset({"tokens"})

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.parameter_shape = tuple(shape)

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        tokens = x[..., : logits.shape[-2]].expand(logits.shape[:-1])
        # One pass that keeps the log softmax alone: of V numbers a token, no others stay in memory.
        surprise = F.cross_entropy(
            logits.flatten(0, -2), tokens.flatten(), ignore_index=PAD, reduction="none"
        )
        return -surprise.view(tokens.shape).sum(-1)

    def mean(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = torch.softmax(logits, -1).flatten(0, -2).multinomial(1, generator=generator)
        return drawn.view(logits.shape[:-1])
