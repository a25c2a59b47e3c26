"""Sentences of a run, as text to read: samples, reconstructions, and what lies between two sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.samples.text_decoding import at_temperature, beam_search, greedy
from vaebench.ranges import AtLeastTwo, Count, Positive
from vaebench.text import END, PAD, TextDecoder, generate


class Sentences:
    """What the model writes, filed as text in `sentences/`, without measurements.

    samples.txt: from codes of the prior, greedily, at each of `temperatures` and by a beam of width `beam`,
    the same codes each time; a model without a code has one greedy and one beam sentence.
    reconstructions.txt: a test sentence, and what the mean of its posterior gives. interpolations.txt: greedy
    sentences of `num_steps` codes on the line between the posterior means of two test sentences.
    """

    version: ClassVar = 1

    def __init__(
        self, *, num: Count, temperatures: list[Positive], beam: Count, num_steps: AtLeastTwo
    ) -> None:
        self.num = num
        self.temperatures = temperatures
        self.beam = beam
        self.num_steps = num_steps

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        text_decoder, words = context.model.text_decoder, context.spec.vocabulary
        if text_decoder is None or words is None:
            raise NotApplicableError("the data are no sentences")
        z = context.prior.rsample(self.num)
        few = self.num if context.model.has_latent else 1
        blocks = {"greedy": spell(generate(text_decoder, z[:few], greedy), words)}
        for temperature in self.temperatures:
            drawn = generate(text_decoder, z, at_temperature(temperature))
            blocks[f"temperature {temperature:g}"] = spell(drawn, words)
        blocks[f"beam of {self.beam}"] = self._searched(text_decoder, z[:few], words, context)
        file(context, "samples", blocks)
        if context.model.has_latent:
            self._code(text_decoder, words, context)
        yield from ()

    def _code(self, text_decoder: TextDecoder, words: Sequence[str], context: Context) -> None:
        """Reconstructions and interpolations, of test sentences by the seed."""
        chosen = context.subset(self.num, "random").to(context.device)
        x, mean = context.test_data[chosen], context.encoded("test")[chosen].mean
        originals = spell(x, words)
        greedily = spell(generate(text_decoder, mean, greedy), words)
        searched = self._searched(text_decoder, mean, words, context)
        file(
            context,
            "reconstructions",
            {
                f"{number}": [f"test    {original}", f"greedy  {first}", f"beam    {second}"]
                for number, (original, first, second) in enumerate(
                    zip(originals, greedily, searched, strict=True), 1
                )
            },
        )
        weights = torch.linspace(0, 1, self.num_steps, device=mean.device).unsqueeze(1)
        blocks = {}
        for number, (first, last) in enumerate(zip(range(len(x) - 1), range(1, len(x)), strict=True), 1):
            path = torch.lerp(mean[first], mean[last], weights)
            between = [f"  {sentence}" for sentence in spell(generate(text_decoder, path, greedy), words)]
            blocks[f"{number}"] = [originals[first], *between, originals[last]]
        file(context, "interpolations", blocks or {"none: it takes two test sentences, and there is one": []})

    def _searched(
        self, text_decoder: TextDecoder, z: Tensor, words: Sequence[str], context: Context
    ) -> list[str]:
        rows = context.track(range(len(z)), "beam search")
        return spell(torch.stack([beam_search(text_decoder, z[row], self.beam)[0] for row in rows]), words)


def spell(x: Tensor, words: Sequence[str]) -> list[str]:
    """Sentences `[N, L]` in words, without END and what is behind it."""
    return [
        " ".join(words[token] for token in sentence if token not in (END, PAD)) or "(no word)"
        for sentence in x.tolist()
    ]


def file(context: Context, name: str, blocks: dict[str, list[str]]) -> None:
    """File sentences as `sentences/<name>.txt`, each block under its heading."""
    text = "\n".join("\n".join([f"# {heading}", *lines, ""]) for heading, lines in blocks.items())
    context.save_text(f"sentences/{name}", text)
