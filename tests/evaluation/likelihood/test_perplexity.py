"""Perplexity: by hand on ten words, its error by simulation, and the NLL of sentences it comes from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.counting import count_draws
from tests.sentences import language_model, lstm_vae, spec_of, split_of
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.latent.active_units import ActiveUnits
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.evaluation.likelihood.perplexity import perplexities, perplexity
from vaebench.testing import make_context, measure, saved
from vaebench.text import END

SPEC = spec_of()
LINES = ("a b c", "d", "e f a b c d")  # ten words
TOKENS = 10 + 3


def nll_of(num_samples: int = 5) -> ImportanceSampledNLL:
    return ImportanceSampledNLL(num_samples=num_samples, num_data=None, subset="first")


def context_of(model: torch.nn.Module, directory: Path):
    return make_context(model, split_of(SPEC, *LINES), directory, spec=SPEC)


def test_a_language_models_perplexity_on_ten_words_by_hand(tmp_path: Path) -> None:
    """Word by word from the begin mark on, END in, begin mark out; whatever the number of samples."""
    model = language_model(SPEC)
    ids = {word: number for number, word in enumerate(SPEC.vocabulary or ())}
    surprise = 0.0
    for line in LINES:
        tokens, state = (
            model.text_decoder.first(torch.zeros(1, 0)),
            model.text_decoder.begin(torch.zeros(1, 0)),
        )
        for token in [*(ids[word] for word in line.split()), END]:
            logits, state = model.text_decoder.advance(tokens, state)
            weights = logits[0].detach().double().exp()
            probabilities = weights / weights.sum()
            surprise -= math.log(probabilities[token])
            tokens = torch.tensor([token])
    for num_samples in (1, 200):
        found = measure(nll_of(num_samples), context_of(model, tmp_path))
        assert found["perplexity"].value == pytest.approx(math.exp(surprise / TOKENS), rel=1e-6)
        assert found["nll_nats"].value == pytest.approx(surprise / 3, rel=1e-6)
        assert found["tokens_per_sentence"].value == pytest.approx(TOKENS / 3)
        assert (found["nll_mc_error"].value, found["importance_samples"].value) == (0, 1)
        assert "bits_per_dim" not in found
    assert saved(context_of(model, tmp_path), "nll_200_3")["tokens"].tolist() == [4, 2, 7]


def test_a_model_that_knows_nothing_has_the_perplexity_of_the_vocabulary(tmp_path: Path) -> None:
    model = language_model(SPEC)
    with torch.no_grad():
        model.decoder.output.weight.zero_()
        model.decoder.output.bias.zero_()
    found = measure(nll_of(), context_of(model, tmp_path))
    assert found["perplexity"].value == pytest.approx(8)  # six words, <unk> and END
    assert found["perplexity"].standard_error == pytest.approx(0, abs=1e-5)


def test_a_vaes_perplexity_is_that_of_importance_sampling_with_all_terms(tmp_path: Path) -> None:
    model = lstm_vae(SPEC)
    context = context_of(model, tmp_path)
    found = measure(nll_of(4000), context)
    x = context.test_data
    z = torch.randn(40_000, 1, 3).expand(-1, 3, -1)  # p(x) = E_p(z) p(x|z), by the prior's draws
    with torch.no_grad():
        log_px = torch.cat([model.likelihood.log_prob(x, model.decode(part, x)) for part in z.split(4000)])
    log_px = torch.logsumexp(log_px.double(), 0) - math.log(len(z))
    assert found["nll_nats"].value == pytest.approx(float(-log_px.mean()), abs=0.06)
    assert found["perplexity"].value == pytest.approx(float(torch.exp(-log_px.sum() / TOKENS)), rel=0.02)


def test_the_error_is_that_of_a_ratio_over_sentences() -> None:
    """The spread of the estimate over many samples of sentences is what one sample says."""
    torch.manual_seed(0)

    def sample(num: int, repeats: int) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.randint(2, 30, (repeats, num)).double()
        return tokens * (3 + 0.3 * torch.randn(repeats, num)) + torch.randn(repeats, num), tokens

    nll, tokens = sample(200, 2000)
    values = torch.exp(nll.sum(1) / tokens.sum(1))
    errors = []
    for one_nll, one_tokens in zip(nll[:50], tokens[:50], strict=True):
        value, per_token, _ = perplexities(one_nll, one_tokens)
        errors.append(value.standard_error)
        assert value.value == pytest.approx(math.exp(per_token.value))
    assert sum(errors) / 50 == pytest.approx(float(values.std()), rel=0.1)
    # The mean of the sentences' own nats per token would weigh short ones as much as long ones.
    assert float(values.mean()) == pytest.approx(math.exp(3), rel=0.02)


def test_a_huge_perplexity_stays_finite() -> None:
    assert perplexity(2.0) == math.exp(2.0)
    assert perplexity(1e4) == math.exp(700)
    assert math.isnan(perplexity(math.nan))


def test_chunks_are_counted_in_what_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lstm_vae(SPEC)
    context = context_of(model, tmp_path)
    assert model.parameters_per_datum == 7 * 8
    context.batch_bytes = 100 * 16 * 7 * 8
    assert context.rows_per_chunk() == 100
    context.batch_bytes = 10 * 16 * 7 * 8
    assert context.rows_per_chunk() == 64  # at least
    context.batch_bytes = 2 * 16 * 7 * 8
    assert context.rows_per_chunk() == 32  # but not above sixteen times the memory
    context.batch_bytes = 1.0
    assert context.rows_per_chunk() == 1
    context.batch_bytes = 10 * 16 * 7 * 8
    counts = count_draws(model, monkeypatch)
    measure(nll_of(200), context)
    assert max(counts) <= 64
    assert sum(counts) == 3 * 200


def test_measures_of_a_code_do_not_apply_to_a_language_model(tmp_path: Path) -> None:
    context = context_of(language_model(SPEC), tmp_path)
    for evaluator in (EvidenceLowerBound(num_samples=1), ActiveUnits(thresholds=[0.01])):
        with pytest.raises(NotApplicableError, match="no latent code"):
            list(evaluator.run(context))
