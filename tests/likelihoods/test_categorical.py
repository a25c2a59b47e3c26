"""Tests of the categorical likelihood of sentences: enumeration, and padding."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.sentences import sentences, spec_of
from vaebench.likelihoods.categorical import Categorical
from vaebench.text import END, PAD

SPEC = spec_of(num_words=2, length=3)
V = 4


def random_logits(*shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_probabilities_sum_to_one_over_the_vocabulary() -> None:
    """The tokens before and after the position are fixed."""
    likelihood, logits = Categorical((3, V)), random_logits(3, V)
    for position in range(3):
        x = torch.tensor([2, 3, END]).repeat(V, 1)
        x[:, position] = torch.arange(V)
        others = [torch.log_softmax(logits[t], 0)[x[0, t]] for t in range(3) if t != position]
        total = torch.logsumexp(likelihood.log_prob(x, logits.expand(V, 3, V)), 0)
        torch.testing.assert_close(total, sum(others, start=torch.zeros((), dtype=torch.float64)))


def test_sentences_of_every_length_have_probability_one_in_all() -> None:
    """With END as the last token, whatever its logits, this is a distribution over all sentences."""
    likelihood, logits = Categorical((3, V)), random_logits(3, V)
    logits[2] = torch.tensor([0.0, -math.inf, -math.inf, -math.inf])
    lines = [(*line, END) for n in range(3) for line in itertools.product(range(1, V), repeat=n)]
    x = torch.tensor([[*line, *[PAD] * (3 - len(line))] for line in lines])
    assert len(x) == 1 + 3 + 9
    log_p = likelihood.log_prob(x, logits.expand(len(x), 3, V))
    torch.testing.assert_close(torch.logsumexp(log_p, 0), torch.zeros((), dtype=torch.float64))


def test_end_counts_and_padding_does_not() -> None:
    likelihood, logits = Categorical((3, V)), random_logits(2, 3, V)
    x = sentences(SPEC, "b", "a b")
    log_p = torch.log_softmax(logits, -1)
    expected = torch.stack(
        [log_p[0, 0, 3] + log_p[0, 1, END], log_p[1, 0, 2] + log_p[1, 1, 3] + log_p[1, 2, END]]
    )
    torch.testing.assert_close(likelihood.log_prob(x, logits), expected)
    moved = logits.clone()
    moved[0, 2] = 100 * torch.randn(V)
    assert torch.equal(likelihood.log_prob(x, moved), likelihood.log_prob(x, logits))


def test_draws_have_leading_dimensions_and_parameters_may_end_early() -> None:
    likelihood, logits = Categorical((3, V)), random_logits(5, 2, 3, V)
    x = sentences(SPEC, "b", "a")
    whole = likelihood.log_prob(x, logits)
    assert whole.shape == (5, 2)
    torch.testing.assert_close(likelihood.log_prob(x, logits[:, :, :2]), whole)
    for draw in range(5):
        torch.testing.assert_close(likelihood.log_prob(x, logits[draw]), whole[draw])


def test_draws_and_the_mode() -> None:
    likelihood, logits = Categorical((3, V)), random_logits(V)
    drawn = likelihood.sample(logits.expand(20_000, V), torch.Generator().manual_seed(0))
    p = torch.softmax(logits, -1)
    frequencies = torch.bincount(drawn, minlength=V) / len(drawn)
    assert ((frequencies - p).abs() < 5 * (p * (1 - p) / len(drawn)).sqrt()).all()
    assert likelihood.sample(random_logits(2, 3, V)).shape == (2, 3)
    assert int(likelihood.mean(logits)) == int(p.argmax())


@pytest.mark.parametrize("kind", ["binary", "uint8", "real"])
def test_it_fits_tokens_alone(kind: str) -> None:
    assert kind not in Categorical.kinds
    assert "tokens" in Categorical.kinds
