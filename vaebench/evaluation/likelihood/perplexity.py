"""Perplexity of sentences: exp of the negative log-likelihood per token."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from vaebench.evaluation.base import Measurement, scaled

LARGEST = 700.0  # nats per token; exp of more than 709 overflows


def perplexity(nats_per_token: float) -> float:
    """Return exp(nats per token), at most exp(700), so that it stays finite."""
    return math.exp(min(nats_per_token, LARGEST))


def perplexities(nll: Tensor, tokens: Tensor) -> Iterator[Measurement]:
    """Yield the perplexity exp(sum_i nll_i / sum_i tokens_i), nats per token and tokens per sentence.

    `nll [N]` is in nats and `tokens [N]` counts the tokens of each sentence. As in the papers, END counts and
    the start symbol does not. An upper bound of the NLL gives an upper bound of the perplexity.

    The standard error is over sentences, by the delta method for the ratio R = sum nll / sum tokens: Var[R] =
    sum_i (nll_i - R tokens_i)^2 / (sum_i tokens_i)^2 N / (N - 1). The error of exp(R) is exp(R) times that of
    R.
    """
    nll, tokens = nll.double(), tokens.double()
    n, total = len(nll), float(tokens.sum())
    per_token = float(nll.sum()) / total
    spread = float((nll - per_token * tokens).square().sum())
    error = math.sqrt(spread * n / (n - 1)) / total if n > 1 else None
    value = perplexity(per_token)
    yield Measurement("perplexity", value, "tokens", False, n, scaled(error, value))
    yield Measurement("nats_per_token", per_token, "nats", False, n, error)
    yield Measurement("tokens_per_sentence", total / n, "tokens", None, n)
