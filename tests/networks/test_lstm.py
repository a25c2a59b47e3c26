"""Tests of the LSTMs of sentences: equations by hand, padding, skip connections, and generation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import config_of
from tests.counting import count_draws
from tests.sentences import language_model, lstm_vae, sentences, spec_of
from vaebench.config.build import factory
from vaebench.errors import UserError
from vaebench.networks.lstm import LSTMDecoder, SentenceLSTM
from vaebench.text import END, PAD, append, lengths, trim

SPEC = spec_of()
X = sentences(SPEC, "a b c", "d", "e f a b c d", "b a c")


def by_hand(lstm: SentenceLSTM, inputs: Tensor, h: Tensor) -> list[Tensor]:
    """Compute the states of one sentence `[L, F]` step by step, from h and c = 0."""
    c, states = torch.zeros_like(h), []
    for step in inputs:
        gates = lstm.weight_ih_l0 @ step + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return states


@pytest.mark.parametrize("training", [False, True])
def test_encoder_gives_the_state_at_each_sentences_own_end(training: bool) -> None:
    encoder = lstm_vae(SPEC).encoder.train(training)
    features = encoder(X)
    assert features.shape == (4, encoder.out_features)
    for row, sentence in zip(features, X, strict=True):
        words = encoder.embedding(sentence[sentence != PAD])
        expected = by_hand(encoder.lstm, words, torch.zeros(encoder.out_features))[-1]
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("skip", [False, True])
def test_decoder_by_hand(skip: bool) -> None:
    """Inputs [w_{t-1}, z] with w_0 the begin mark, h_0 = U z + b, c_0 = 0, logits W [h, z] or W h."""
    decoder = lstm_vae(SPEC, skip=skip).decoder
    z = torch.randn(4, 3)
    logits = decoder(z, X)
    assert logits.shape == (4, 7, 8)
    for code, sentence, found in zip(z, X, logits, strict=True):
        n = int((sentence != PAD).sum())
        before = torch.cat([torch.tensor([8]), sentence[: n - 1]])
        inputs = torch.cat([decoder.embedding.weight[before], code.expand(n, 3)], 1)
        states = torch.stack(by_hand(decoder.lstm, inputs, decoder.code.weight @ code + decoder.code.bias))
        seen = torch.cat([states, code.expand(n, 3)], 1) if skip else states
        torch.testing.assert_close(found[:n], seen @ decoder.output.weight.T + decoder.output.bias)


def test_skip_wiring_alone_reaches_the_softmax() -> None:
    """Without the paths through the LSTM, z changes the logits of every position only if there is a skip."""
    for skip in (False, True):
        decoder = lstm_vae(SPEC, skip=skip).decoder
        with torch.no_grad():
            decoder.code.weight.zero_()
            decoder.lstm.weight_ih_l0[:, -3:] = 0
        z = torch.randn(4, 3, requires_grad=True)
        logits = decoder(z, X)
        for position in range(7):
            (grad,) = torch.autograd.grad(logits[:, position].logsumexp(-1).sum(), z, retain_graph=True)
            assert bool((grad.abs().sum(1) > 0).all()) is skip


@pytest.mark.parametrize("skip", [False, True])
def test_a_position_sees_what_is_before_it_and_nothing_else(skip: bool) -> None:
    decoder, z = lstm_vae(SPEC, skip=skip).decoder, torch.randn(1, 3)
    x = sentences(SPEC, "a b c d e f")
    first = decoder(z, x)
    for position in range(7):
        other = x.clone()
        other[0, position] = (other[0, position] + 3) % 8
        changed = (decoder(z, other) != first).any(-1)[0]
        assert not changed[: position + 1].any()
        assert changed[position + 1 :].all()


def test_terms_of_a_language_model_have_one_row_per_sample_from_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = language_model(SPEC)
    counts = count_draws(model, monkeypatch)
    terms = model.terms(X, 3)
    assert terms.log_px_z.shape == terms.log_w.shape == (3, 4)
    assert torch.equal(terms.log_w[0], terms.log_w[2])
    assert counts == [4]


@pytest.mark.parametrize("model", [lstm_vae(SPEC), lstm_vae(SPEC, skip=True), language_model(SPEC)])
def test_padded_and_equal_length_batches_give_equal_log_likelihoods(model: nn.Module) -> None:
    q = model.encode(X)
    z = q.rsample(5)
    for training in (False, True):  # which pads to L, and trims
        model.train(training)
        together = model.likelihood.log_prob(X, model.decode(z, X))
        assert together.shape == (5, 4)
        for length in lengths(X).unique():
            of_length = lengths(X) == length
            batch = X[of_length][:, :length]
            assert (batch != PAD).all()
            alone = model.likelihood.log_prob(batch, model.decode(z[:, of_length], batch))
            torch.testing.assert_close(together[:, of_length], alone)
            torch.testing.assert_close(model.encode(batch).mean, q.mean[of_length])


@pytest.mark.parametrize("model", [lstm_vae(SPEC), lstm_vae(SPEC, skip=True), language_model(SPEC)])
def test_what_is_written_greedily_is_the_teachers_greedy_choice(model: nn.Module) -> None:
    z = 3 * torch.randn(20, model.latent_dim)
    x = model.decoder.sample(z, lambda logits: logits.argmax(-1))
    assert x.shape == (20, 7)
    assert x.dtype == torch.int64
    best = model.decoder(z, x).argmax(-1)
    n = lengths(x)
    for sentence, choice, tokens in zip(x, best, n, strict=True):
        assert sentence[tokens - 1] == END
        assert (sentence[tokens:] == PAD).all()
        free = min(int(tokens), 6)  # the seventh token is END, whatever it would be
        assert torch.equal(sentence[:free], choice[:free])


def test_writing_draws_by_the_models_law() -> None:
    """The frequencies of the first two tokens in many samples are their probabilities under the decoder."""
    model = lstm_vae(SPEC)
    z = torch.randn(1, 3)
    torch.manual_seed(1)
    x = model.sample_x(z.expand(20_000, -1))
    first = torch.softmax(model.decoder(z, x[:1])[0, 0], -1)
    counted = torch.bincount(x[:, 0], minlength=8) / len(x)
    assert ((counted - first).abs() < 5 * (first * (1 - first) / len(x)).sqrt()).all()
    after = x[x[:, 0] == 4]
    second = torch.softmax(model.decoder(z, after[:1])[0, 1], -1)
    counted = torch.bincount(after[:, 1], minlength=8) / len(after)
    assert ((counted - second).abs() < 5 * (second * (1 - second) / len(after)).sqrt()).all()


def test_dropout_acts_in_training_on_words_and_on_states() -> None:
    decoder, z = lstm_vae(SPEC, dropout=0.5).decoder, torch.randn(4, 3)
    assert torch.equal(decoder(z, X), decoder(z, X))
    seen: list[Tensor] = []
    decoder.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    decoder.train()(z, X)
    words, states = seen
    assert (words.shape, states.shape) == ((4, 7, 5), (4, 7, 6))
    for dropped in seen:
        assert 0.2 < (dropped == 0).float().mean() < 0.8


def test_an_lstm_gives_gradients_of_gradients_in_evaluation() -> None:
    """Iterative posteriors need these gradients."""
    model = lstm_vae(SPEC)
    assert model.decoder.lstm.training
    assert not model.decoder.dropout.training
    z = torch.randn(1, 4, 3, dtype=torch.float32, requires_grad=True)
    log_px = model.likelihood.log_prob(X, model.decode(z, X)).sum()
    (grad,) = torch.autograd.grad(log_px, z, create_graph=True)
    (hessian_ones,) = torch.autograd.grad(grad.sum(), z)
    with torch.no_grad():
        step = 1e-2

    def gradient(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        return torch.autograd.grad(model.likelihood.log_prob(X, model.decode(at, X)).sum(), at)[0]

    expected = (gradient(z + step) - gradient(z - step)) / (2 * step)
    torch.testing.assert_close(hessian_ones, expected, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_data_that_are_no_sentences_are_refused(part: str) -> None:
    make = factory(config_of(f"model/{part}=lstm")["model"][part])
    shape = (1, 8, 8)
    with pytest.raises(UserError, match=rf"^model/{part}=lstm works on sentences.*use model/{part}=mlp\.$"):
        make(shape) if part == "encoder" else make(3, shape, shape)


def test_an_lm_decoder_has_no_parameter_for_a_code() -> None:
    decoder = LSTMDecoder(0, (7, 8), (7, 8), embedding=5, hidden=6, dropout=0.0, skip=True)
    assert decoder.code is None
    assert decoder.output.in_features == 6
    assert decoder(torch.zeros(4, 0), X).shape == (4, 7, 8)


def test_trim_and_lengths() -> None:
    assert lengths(X).tolist() == [4, 2, 7, 4]
    assert trim(X[:2]).shape == (2, 4)
    assert trim(X[:0]).shape == (0, 7)


def test_append_ends_what_has_ended_and_what_is_full() -> None:
    x = torch.full((3, 3), PAD)
    assert append(x, torch.tensor([4, END, 5]), 0).tolist() == [True, False, True]
    assert append(x, torch.tensor([END, 5, 6]), 1).tolist() == [False, False, True]
    assert append(x, torch.tensor([7, 7, 7]), 2).tolist() == [False, False, False]
    assert x.tolist() == [[4, END, PAD], [END, PAD, PAD], [5, 6, END]]
