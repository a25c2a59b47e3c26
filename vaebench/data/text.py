"""Dataset of any folder with sentences: train.txt, valid.txt and test.txt, one sentence per line."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from vaebench.data.binarise import content_hash
from vaebench.data.files import find
from vaebench.data.spec import DataError, DataPaths, DataSpec, Kind, Split, Splits
from vaebench.ranges import Count
from vaebench.text import BEGIN_MARK, END, MARKS, PAD, UNKNOWN

log = logging.getLogger(__name__)

FILES = {"train": ["train.txt"], "valid": ["valid.txt", "val.txt", "dev.txt"], "test": ["test.txt"]}

TooLong = Literal["drop", "cut", "refuse"]
"""Treatment of sentences with more than `max_words` words. drop: leave them out, as in the papers' code. cut:
keep the first words. refuse: raise DataError. Their number is always recorded."""

Batching = Literal["equal", "padded"]
"""Sentences of a training batch. equal: all of the same length, as in the papers. padded: of any length,
padded to the longest."""

Counts = dict[str, int]

ANY_MARK = frozenset((BEGIN_MARK, *MARKS))
MARK_MESSAGES = {
    "begin_marks": "{} <s> at the beginning of a line were removed",
    "end_marks": "{} </s> at the end of a line were removed",
    "inner_marks": "{} <s> or </s> elsewhere were read as <unk>",
    "unknown_marks": "{} <unk> were in the file",
}


@dataclass(frozen=True)
class Sentences:
    """Words of a file's sentences, and counts of what was skipped or changed."""

    words: list[list[str]]
    empty_lines: int
    too_long: int
    marks: Counts
    """Counts of <s>, </s> and <unk> in the file, by the keys of `MARK_MESSAGES`."""


class Text:
    """Sentences, split into words at white space; the vocabulary is the most frequent training words.

    Words outside the vocabulary are UNKNOWN, and so is a literal <unk>. <s> at the beginning of a line and
    </s> at its end are removed, since every sentence has these marks implicitly. Elsewhere in a line they are
    UNKNOWN. The constructor reads the vocabulary, since models are built from its size; `load()` reads the
    rest.
    """

    kind: ClassVar[Kind] = "tokens"
    """Kind, known before any file is read, so that an unsuitable model is refused first."""

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        folder: str,
        max_words: Count,
        max_vocabulary: Count,
        too_long: TooLong,
        batches: Batching,
    ) -> None:
        self.max_words = max_words
        self.too_long: TooLong = too_long
        self.batches: Batching = batches
        self.files = find_files(paths.root / Path(folder).expanduser())
        self.spec = DataSpec(
            name=name,
            shape=(max_words + 1,),
            kind=self.kind,
            num_classes=None,
            vocabulary=vocabulary_of(self.read("train").words, max_vocabulary),
        )

    def read(self, part: str) -> Sentences:
        """Read the sentences of the split `part`."""
        return read_sentences(self.files[part], self.max_words, self.too_long)

    def load(self) -> Splits:
        assert self.spec.vocabulary is not None
        ids = {word: number for number, word in enumerate(self.spec.vocabulary)}
        splits, origin = {}, dict[str, Any](source=str(self.files["train"].parent), vocabulary=len(ids))
        for part, path in self.files.items():
            sentences = self.read(part)
            split = as_split(sentences.words, ids, self.max_words + 1, self.batches)
            counts = counts_of(split, sentences)
            splits[part] = split
            origin[part] = counts | {"file": path.name, "sha256": sha256_of(path)}
            report(path, counts, self.max_words, self.too_long)
        origin["test_hash"] = content_hash(splits["test"].x)
        return Splits(splits["train"], splits["valid"], splits["test"], origin)


def find_files(folder: Path) -> dict[str, Path]:
    """Return the file of each split. Raises DataError that names all missing files."""
    paths = {part: find(folder, names) for part, names in FILES.items()}
    missing = [" or ".join(FILES[part]) for part, path in paths.items() if path is None]
    if missing:
        raise DataError(
            f"{folder} has no {', no '.join(missing)}. Put train.txt, valid.txt and test.txt there, one "
            "sentence per line; dataset.folder=<path below the data root, or absolute> sets another folder "
            "(VAEBENCH_DATA or data_root=... sets another root)."
        )
    return {part: path for part, path in paths.items() if path is not None}


def read_sentences(path: Path, max_words: int, too_long: TooLong) -> Sentences:
    """Read the sentences of a file. Raises DataError if it is not UTF-8 or has no sentence.

    With `too_long` refuse, also raises DataError if a sentence has more than `max_words` words.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 ({error.reason}, byte 0x{content[error.start]:02x}). Convert "
            f"the file, for example with `iconv -f latin1 -t utf-8`."
        ) from error
    # Not splitlines(), which also splits at characters that may occur within a sentence.
    raw_lines = [line.split() for line in text.split("\n")]
    if not raw_lines[-1]:
        raw_lines.pop()  # the empty string after the last line break
    marks = dict.fromkeys(MARK_MESSAGES, 0)
    lines = [without_marks(words, marks) for words in raw_lines]
    longer = [number for number, words in enumerate(lines, 1) if len(words) > max_words]
    if longer and too_long == "refuse":
        raise DataError(
            f"{path}, line {longer[0]}: {len(lines[longer[0] - 1])} words, but dataset.max_words is "
            f"{max_words}; {len(longer)} sentences are longer. Raise dataset.max_words, or use "
            "dataset.too_long=drop or cut."
        )
    sentences = [words for words in lines if words and (too_long == "cut" or len(words) <= max_words)]
    if not sentences:
        raise DataError(
            f"{path} has no sentence of 1 to {max_words} words; expected at least one. Check the file, or "
            "raise dataset.max_words."
        )
    empty_lines = sum(not words for words in lines)
    return Sentences([words[:max_words] for words in sentences], empty_lines, len(longer), marks)


def without_marks(words: list[str], counts: Counts) -> list[str]:
    """Return a line's words without <s> and </s> at its ends; other marks become <unk>. Adds to `counts`."""
    end, unknown = MARKS
    if not words or ANY_MARK.isdisjoint(words):
        return words
    if words[0] == BEGIN_MARK:
        counts["begin_marks"] += 1
        words = words[1:]
    if words and words[-1] == end:
        counts["end_marks"] += 1
        words = words[:-1]
    counts["unknown_marks"] += words.count(unknown)
    counts["inner_marks"] += words.count(BEGIN_MARK) + words.count(end)
    return [unknown if word in ANY_MARK else word for word in words]


def vocabulary_of(sentences: Iterable[list[str]], cap: int) -> tuple[str, ...]:
    """Return MARKS, then the `cap` most frequent words; ties are broken alphabetically."""
    counted = Counter(word for words in sentences for word in words)
    for mark in MARKS:
        counted.pop(mark, None)
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    return (*MARKS, *ranked[:cap])


def as_split(sentences: list[list[str]], ids: Mapping[str, int], length: int, batches: Batching) -> Split:
    """Return a split of token ids `[N, length]`, int32: words, END, then PAD."""
    x = torch.full((len(sentences), length), PAD, dtype=torch.int32)
    counts = torch.tensor([len(words) + 1 for words in sentences])
    flat = [token for words in sentences for token in (*(ids.get(w, UNKNOWN) for w in words), END)]
    x[torch.arange(length) < counts.unsqueeze(1)] = torch.tensor(flat, dtype=torch.int32)
    return Split(x, None, lengths=counts, mixes_lengths=batches == "padded")


def counts_of(split: Split, sentences: Sentences) -> Counts:
    """Return counts of sentences, tokens and changes of a file, for the provenance."""
    assert split.lengths is not None
    return {
        "sentences": len(split),
        "tokens": int(split.lengths.sum()),
        "unknown": int((split.x == UNKNOWN).sum()),
        "empty_lines": sentences.empty_lines,
        "too_long": sentences.too_long,
        **sentences.marks,
    }


def report(path: Path, counts: Counts, max_words: int, too_long: TooLong) -> None:
    """Log a warning about lines and marks that were skipped or changed, if there are any."""
    log.debug("%s: %s", path, counts)
    changes = []
    if counts["empty_lines"]:
        changes.append(f"{counts['empty_lines']} empty lines were left out")
    if counts["too_long"]:
        action = "left out" if too_long == "drop" else "cut"
        changes.append(f"{counts['too_long']} sentences of more than {max_words} words were {action}")
    changes += [text.format(counts[name]) for name, text in MARK_MESSAGES.items() if counts[name]]
    if changes:
        log.warning("%s: %s.", path, "; ".join(changes))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
