"""Sentences as token ids: what the ids mean in every dataset, and who writes a sentence.

A sentence of n words is `[L]`: n ids, END, then PAD. Ids from 0 to V - 1 are what a model may write, UNKNOWN
and END among them; the begin mark is never written, and belongs to the decoder alone.
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
"""How END and UNKNOWN are spelt; words have the ids behind them."""
BEGIN_MARK = "<s>"
"""How corpora spell the begin mark, which has no id here."""

State = tuple[Tensor, ...]
"""What a writer remembers of N sentences, each tensor `[N, ...]`."""


TokenSampler = Callable[[Tensor], Tensor]
"""Logits of the next token, `[N, V]`, to the token, `[N]`."""


class TextDecoder(Protocol):
    """p(x|z) word by word."""

    length: int
    """L, the tokens of the longest sentence, END among them."""

    def begin(self, z: Tensor) -> State:
        """The state before the first word of a sentence for each code `z [N, D]`."""
        ...

    def first(self, z: Tensor) -> Tensor:
        """The begin mark of each sentence, `[N]`."""
        ...

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of what comes after `tokens [N]`, `[N, V]`, and the state there."""
        ...


def lengths(x: Tensor) -> Tensor:
    """How many tokens sentences `[..., L]` have, END among them: as papers count."""
    return (x != PAD).sum(-1)


def trim(x: Tensor) -> Tensor:
    """Sentences `[N, L]` without the columns behind the longest. Waits for the host to know it."""
    return x[:, : int(lengths(x).max())] if len(x) else x


@torch.no_grad()
def generate(text_decoder: TextDecoder, z: Tensor, pick: TokenSampler) -> Tensor:
    """A sentence for each code `z [N, D]`, `[N, L]`: each state is computed once, the last token is END."""
    tokens, state = text_decoder.first(z), text_decoder.begin(z)
    x = torch.full((len(z), text_decoder.length), PAD, device=z.device)
    for position in range(text_decoder.length):
        logits, state = text_decoder.advance(tokens, state)
        if not append(x, pick(logits), position).any():
            break
        tokens = x[:, position]
    return x


def append(x: Tensor, tokens: Tensor, position: int) -> Tensor:
    """Put `tokens [N]` at `position` of the sentences `x [N, L]` that have not ended, END where L is reached;
    returns which of them go on, `[N]`."""
    if position == x.shape[1] - 1:
        tokens = torch.full_like(tokens, END)
    if position:
        ended = (x[:, position - 1] == END) | (x[:, position - 1] == PAD)
        tokens = tokens.masked_fill(ended, PAD)
    x[:, position] = tokens
    return (tokens != END) & (tokens != PAD)
