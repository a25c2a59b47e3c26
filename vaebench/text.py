"""Sentences as token ids: the special ids of all datasets, and generation of sentences by a decoder.

A sentence of n words is a vector `[L]`: n ids, END, then PAD. A model can generate the ids 0 to V - 1, which
include END and UNKNOWN. The begin mark is never generated; only the decoder uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

PAD = -1
END = 0
UNKNOWN = 1
MARKS = ("</s>", "<unk>")
"""Spelling of END and UNKNOWN; words have the ids after them."""
BEGIN_MARK = "<s>"
"""Spelling of the begin mark in corpora; it has no id."""

State = tuple[Tensor, ...]
"""Hidden state of a text decoder for N sentences, each tensor `[N, ...]`."""

TokenSampler = Callable[[Tensor], Tensor]
"""Function from logits of the next token, `[N, V]`, to the token, `[N]`."""


class TextDecoder(Protocol):
    """Decoder p(x|z) that generates a sentence token by token."""

    length: int
    """L, the number of tokens of the longest sentence, END included."""

    def begin(self, z: Tensor) -> State:
        """Return the state before the first token, for each code `z [N, D]`."""
        ...

    def first(self, z: Tensor) -> Tensor:
        """Return the begin mark of each sentence, `[N]`."""
        ...

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits of the token after `tokens [N]`, `[N, V]`, and the next state."""
        ...


def lengths(x: Tensor) -> Tensor:
    """Return the number of tokens of sentences `[..., L]`, END included, as the papers count them."""
    return (x != PAD).sum(-1)


def trim(x: Tensor) -> Tensor:
    """Cut sentences `[N, L]` after the longest one. The host waits for the device, to read its length."""
    return x[:, : int(lengths(x).max())] if len(x) else x


@torch.no_grad()
def generate(text_decoder: TextDecoder, z: Tensor, pick: TokenSampler) -> Tensor:
    """Generate a sentence for each code `z [N, D]`, `[N, L]`; each state is computed once.

    A sentence that reaches L tokens gets END as its last token.
    """
    tokens, state = text_decoder.first(z), text_decoder.begin(z)
    x = torch.full((len(z), text_decoder.length), PAD, device=z.device)
    for position in range(text_decoder.length):
        logits, state = text_decoder.advance(tokens, state)
        if not append(x, pick(logits), position).any():
            break
        tokens = x[:, position]
    return x


def append(x: Tensor, tokens: Tensor, position: int) -> Tensor:
    """Write `tokens [N]` at `position` of the sentences `x [N, L]` that have not ended.

    At the last position the token is END. Returns, for each sentence, whether it continues, `[N]`.
    """
    if position == x.shape[1] - 1:
        tokens = torch.full_like(tokens, END)
    if position:
        ended = (x[:, position - 1] == END) | (x[:, position - 1] == PAD)
        tokens = tokens.masked_fill(ended, PAD)
    x[:, position] = tokens
    return (tokens != END) & (tokens != PAD)
