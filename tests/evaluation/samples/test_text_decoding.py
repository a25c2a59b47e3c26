"""Beam search against all sentences there are, temperatures against their law, and what is filed as text."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tests.sentences import language_model, lstm_vae, spec_of, split_of
from vaebench.data.spec import DataSpec
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.samples.sentences import Sentences, spell
from vaebench.evaluation.samples.text_decoding import at_temperature, beam_search, greedy
from vaebench.testing import LinearGaussian, make_context, measure
from vaebench.text import END, PAD, generate

SMALL = spec_of(num_words=2, length=4)
LINES = ("a b c", "d", "e f a b c d", "b a")


def every_sentence(spec: DataSpec) -> torch.Tensor:
    (length,), num_tokens = spec.shape, len(spec.vocabulary or ())
    lines = [
        (*line, END) for n in range(length) for line in itertools.product(range(1, num_tokens), repeat=n)
    ]
    return torch.tensor([[*line, *[PAD] * (length - len(line))] for line in lines])


def law(model: torch.nn.Module, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """log p(x|z) of each sentence, `[N]`."""
    with torch.no_grad():
        return model.likelihood.log_prob(x, model.decode(z.expand(1, len(x), -1), x))[0]


def test_a_wide_beam_finds_the_most_probable_of_all_sentences() -> None:
    model, x = lstm_vae(SMALL, skip=True), every_sentence(SMALL)
    assert len(x) == 1 + 3 + 9 + 27
    shortfall = []
    torch.manual_seed(0)
    for z in 2 * torch.randn(20, 3):
        log_p = law(model, z, x)
        assert float(torch.logsumexp(log_p, 0)) < 0  # longer ones exist, which are not written
        found, value = beam_search(model.text_decoder, z, width=40)
        assert torch.equal(found, x[log_p.argmax()])
        assert value == pytest.approx(float(log_p.max()), abs=1e-5)
        narrow, narrow_value = beam_search(model.text_decoder, z, width=1)
        assert torch.equal(narrow, generate(model.text_decoder, z.unsqueeze(0), greedy)[0])
        same = law(model, z, narrow.unsqueeze(0))
        assert narrow_value == pytest.approx(float(same), abs=1e-5)
        shortfall.append(float(log_p.max()) - narrow_value)
    assert min(shortfall) >= -1e-5
    assert max(shortfall) > 0.1  # greedy is not the same


def test_temperature_sharpens_each_tokens_law() -> None:
    model, z = language_model(SMALL), torch.zeros(20_000, 0)
    logits, _ = model.text_decoder.advance(model.text_decoder.first(z[:1]), model.text_decoder.begin(z[:1]))
    for temperature in (1.0, 0.5):
        x = generate(model.text_decoder, z, at_temperature(temperature, torch.Generator().manual_seed(0)))
        p = torch.softmax(logits[0] / temperature, -1)
        counted = torch.bincount(x[:, 0], minlength=4) / len(x)
        assert ((counted - p).abs() < 5 * (p * (1 - p) / len(x)).sqrt()).all()
    cold = generate(model.text_decoder, z[:50], at_temperature(1e-4))
    assert torch.equal(cold, generate(model.text_decoder, z[:50], greedy))


def test_sentences_are_spelt_without_marks() -> None:
    spec = spec_of()
    x = split_of(spec, "a zoo b", "").x
    assert spell(x, spec.vocabulary or ()) == ["a <unk> b", "(no word)"]


def sentences_of(model: torch.nn.Module, directory: Path) -> dict[str, str]:
    spec = model.spec
    context = make_context(model, split_of(spec, *LINES), directory, spec=spec)
    assert measure(Sentences(num=3, temperatures=[1.0, 0.5], beam=4, num_steps=5), context) == {}
    return {path.stem: path.read_text() for path in (directory / "sentences").iterdir()}


def test_samples_reconstructions_and_interpolations_are_filed_as_text(tmp_path: Path) -> None:
    model = lstm_vae(spec_of())
    files = sentences_of(model, tmp_path)
    assert {*files} == {"samples", "reconstructions", "interpolations"}
    headings = [line for line in files["samples"].splitlines() if line.startswith("#")]
    assert headings == ["# greedy", "# temperature 1", "# temperature 0.5", "# beam of 4"]
    assert len([line for line in files["samples"].splitlines() if line]) == 4 * (1 + 3)
    blocks = files["reconstructions"].strip().split("\n\n")
    assert len(blocks) == 3
    x = split_of(model.spec, *LINES).x.long()
    with torch.no_grad():
        mean = model.encode(x).mean
        expected = dict(
            zip(
                LINES,
                spell(generate(model.text_decoder, mean, greedy), model.spec.vocabulary or ()),
                strict=True,
            )
        )
    for block in blocks:
        _, original, first, second = (line.split(maxsplit=1) for line in block.splitlines())
        assert (original[0], first[0], second[0]) == ("test", "greedy", "beam")
        assert first[1] == expected[original[1]]
    for block in files["interpolations"].strip().split("\n\n"):
        _, start, *between, end = block.splitlines()
        assert len(between) == 5
        assert (between[0].strip(), between[-1].strip()) == (expected[start], expected[end])


def test_a_language_model_has_samples_and_one_greedy_sentence(tmp_path: Path) -> None:
    files = sentences_of(language_model(spec_of()), tmp_path)
    assert {*files} == {"samples"}
    assert len([line for line in files["samples"].splitlines() if line]) == 2 * (1 + 1) + 2 * (1 + 3)


def test_images_are_no_sentences(tmp_path: Path) -> None:
    toy = LinearGaussian.make([1.0])
    context = make_context(toy.model(), toy.sample(5), tmp_path)
    with pytest.raises(NotApplicableError, match="not sentences"):
        list(Sentences(num=3, temperatures=[1.0], beam=2, num_steps=3).run(context))
