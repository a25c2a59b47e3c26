"""Sentences, and small models of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebench.data.spec import DataPaths, DataSpec, Split
from vaebench.data.text import Text, as_split
from vaebench.likelihoods.categorical import Categorical
from vaebench.models.language_model import LanguageModel
from vaebench.models.sentence_vae import SentenceVAE
from vaebench.networks.lstm import LSTMDecoder, LSTMEncoder
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.priors.standard import StandardPrior
from vaebench.text import MARKS

TRAIN = [
    "the cat sat",
    "a dog ran off",
    "the dog sat",
    "a cat",
    "the cat ran to a dog",
    "off",
    "a dog sat",
] * 3
VALID = ["the dog ran", "a cat sat off", "a bird"]
TEST = ["the cat ran off", "a dog", "the bird sat", "to a cat"]


def write_corpus(folder: Path, **parts: Sequence[str]) -> Path:
    """A folder of sentences; `parts` by the name of the file without .txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in ({"train": TRAIN, "valid": VALID, "test": TEST} | parts).items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def text_of(folder: Path, **options: Any) -> Text:
    known: dict[str, Any] = {
        "name": "toy", "max_words": 8, "max_vocabulary": 100, "too_long": "drop", "batches": "equal"
    }  # fmt: skip
    paths = DataPaths(folder.parent, folder.parent / "cache")
    return Text(paths, folder=folder.name, **(known | options))


def spec_of(num_words: int = 6, length: int = 7) -> DataSpec:
    """Sentences of at most `length` tokens, of the words a, b, ..."""
    words = tuple(chr(ord("a") + number) for number in range(num_words))
    return DataSpec("toy", (length,), "tokens", None, vocabulary=(*MARKS, *words))


def sentences(spec: DataSpec, *lines: str) -> Tensor:
    """Token ids `[N, L]`, int64."""
    return split_of(spec, *lines).x.long()


def split_of(spec: DataSpec, *lines: str) -> Split:
    assert spec.vocabulary is not None
    ids = {word: number for number, word in enumerate(spec.vocabulary)}
    return as_split([line.split() for line in lines], ids, spec.shape[0], "padded")


SIZES = {"embedding": 5, "hidden": 6}


def lstm_vae(
    spec: DataSpec,
    *,
    skip: bool = False,
    latent_dim: int = 3,
    dropout: float = 0.0,
    posterior: Callable[..., Any] = DiagonalPosterior,
) -> SentenceVAE:
    """Weights large enough that every part matters."""
    torch.manual_seed(0)
    return SentenceVAE(
        spec,
        name="toy",
        latent_dim=latent_dim,
        init_range=0.8,
        encoder=partial(LSTMEncoder, **SIZES),
        posterior=partial(posterior, logvar_range=None),
        prior=StandardPrior,
        decoder=partial(LSTMDecoder, **SIZES, dropout=dropout, skip=skip),
        likelihood=Categorical,
    ).eval()


def language_model(spec: DataSpec, dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(0)
    decoder = partial(LSTMDecoder, **SIZES, dropout=dropout, skip=False)
    return LanguageModel(spec, name="toy", init_range=0.8, decoder=decoder, likelihood=Categorical).eval()
