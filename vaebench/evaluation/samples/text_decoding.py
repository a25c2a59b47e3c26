"""Sampling of tokens from logits, and beam search for the most probable sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from vaebench.text import END, PAD, TextDecoder, TokenSampler, append


def greedy(logits: Tensor) -> Tensor:
    """Return the most probable token, `[N]`."""
    return logits.argmax(-1)


def at_temperature(temperature: float, generator: torch.Generator | None = None) -> TokenSampler:
    """Return a sampler from softmax(logits / temperature).

    Temperature 1 samples from p(x|z); towards 0 it becomes greedy.
    """

    def pick(logits: Tensor) -> Tensor:
        return torch.softmax(logits / temperature, -1).multinomial(1, generator=generator).squeeze(1)

    return pick


@torch.no_grad()
def beam_search(text_decoder: TextDecoder, z: Tensor, width: int) -> tuple[Tensor, float]:
    """Return the most probable sentence found for one code `z [D]`, `[L]`, and its log p(x|z) in nats.

    After each token the beam keeps the `width` most probable prefixes, finished sentences included. The
    search ends when the most probable one is finished, since no continuation of another can exceed it. Log
    probabilities are not divided by the length. A sentence of L tokens is forced to end with END.
    """
    tokens, state = text_decoder.first(z.unsqueeze(0)), text_decoder.begin(z.unsqueeze(0))
    x = torch.full((1, text_decoder.length), PAD, device=z.device)
    log_p = z.new_zeros(1)
    unfinished = torch.ones(1, dtype=torch.bool, device=z.device)
    for position in range(text_decoder.length):
        logits, state = text_decoder.advance(tokens, state)
        log_next = torch.log_softmax(logits, -1)
        if position == text_decoder.length - 1:
            log_next[:, :END] = log_next[:, END + 1 :] = -torch.inf
        log_next[~unfinished] = -torch.inf  # the only continuation of a finished sentence is itself
        log_next[~unfinished, END] = 0
        log_p, best = (log_p.unsqueeze(1) + log_next).flatten().topk(min(width, log_next.numel()))
        rows, tokens = best // log_next.shape[1], best % log_next.shape[1]
        x, state = x[rows], tuple(part[rows] for part in state)
        unfinished = append(x, tokens, position)
        if not unfinished[0]:
            break
        tokens = x[:, position]
    return x[0], float(log_p[0])
