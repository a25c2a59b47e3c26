"""How a token is picked from its logits, and the search for the most probable sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from vaebench.text import END, PAD, TextDecoder, TokenSampler, append


def greedy(logits: Tensor) -> Tensor:
    """The most probable token, `[N]`."""
    return logits.argmax(-1)


def at_temperature(temperature: float, generator: torch.Generator | None = None) -> TokenSampler:
    """Picks from softmax(logits / temperature): at 1 a draw from p(x|z), towards 0 greedy."""

    def pick(logits: Tensor) -> Tensor:
        return torch.softmax(logits / temperature, -1).multinomial(1, generator=generator).squeeze(1)

    return pick


@torch.no_grad()
def beam_search(text_decoder: TextDecoder, z: Tensor, width: int) -> tuple[Tensor, float]:
    """The most probable sentence found for one code `z [D]`, `[L]`, and its log p(x|z) in nats.

    After each token the `width` most probable beginnings are kept, finished sentences among them, until the
    most probable is finished: no continuation of another can overtake it. Log probabilities are not divided
    by the length. Of the sentences that reach L tokens, the last is END.
    """
    tokens, state = text_decoder.first(z.unsqueeze(0)), text_decoder.begin(z.unsqueeze(0))
    x = torch.full((1, text_decoder.length), PAD, device=z.device)
    log_p = z.new_zeros(1)
    goes_on = torch.ones(1, dtype=torch.bool, device=z.device)
    for position in range(text_decoder.length):
        logits, state = text_decoder.advance(tokens, state)
        log_next = torch.log_softmax(logits, -1)
        if position == text_decoder.length - 1:
            log_next[:, :END] = log_next[:, END + 1 :] = -torch.inf
        log_next[~goes_on] = -torch.inf  # a finished sentence has one continuation, itself
        log_next[~goes_on, END] = 0
        log_p, best = (log_p.unsqueeze(1) + log_next).flatten().topk(min(width, log_next.numel()))
        rows, tokens = best // log_next.shape[1], best % log_next.shape[1]
        x, state = x[rows], tuple(part[rows] for part in state)
        goes_on = append(x, tokens, position)
        if not goes_on[0]:
            break
        tokens = x[:, position]
    return x[0], float(log_p[0])
