"""Perplexity: the likelihood of sentences by the token."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from vaebench.evaluation.base import Measurement, scaled


def perplexities(nll: Tensor, tokens: Tensor) -> Iterator[Measurement]:
    """exp(sum_i nll_i / sum_i tokens_i) of sentences' NLL `[N]` (nats) and numbers of tokens `[N]`.

    Tokens are counted as papers do: END in, begin mark out. The error is over sentences, by the delta method
    of a ratio R: Var[R] = sum_i (nll_i - R tokens_i)^2 / (sum_i tokens_i)^2 N / (N - 1), and exp(R) has R's
    error times exp(R). A bound of the NLL from above gives one of the perplexity.
    """
    nll, tokens = nll.double(), tokens.double()
    n, total = len(nll), float(tokens.sum())
    per_token = float(nll.sum()) / total
    spread = float((nll - per_token * tokens).square().sum())
    error = math.sqrt(spread * n / (n - 1)) / total if n > 1 else None
    perplexity = math.exp(per_token)
    yield Measurement("perplexity", perplexity, "tokens", False, n, scaled(error, perplexity))
    yield Measurement("nats_per_token", per_token, "nats", False, n, error)
    yield Measurement("tokens_per_sentence", total / n, "tokens", None, n)
