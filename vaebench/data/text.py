"""Any folder of sentences: train.txt, valid.txt and test.txt, a sentence a line."""

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
"""What is done with a sentence of more words than `max_words`: it is left out, as in the papers' code; its
first words are kept; the run ends. However it is, they are counted."""

Batching = Literal["equal", "padded"]
"""A training batch has sentences of one length (the papers' way), or of any, padded to the longest."""

Counts = dict[str, int]

ANY_MARK = frozenset((BEGIN_MARK, *MARKS))
TOLD_OF_MARKS = {
    "begin_marks": "{} <s> at the beginning of a line were left out",
    "end_marks": "{} </s> at the end of a line were left out",
    "inner_marks": "{} <s> or </s> elsewhere were read as <unk>",
    "unknown_marks": "{} <unk> were there already",
}


@dataclass(frozen=True)
class Sentences:
    """The words of a file's sentences, and what of the file is not among them."""

    words: list[list[str]]
    empty_lines: int
    too_long: int
    marks: Counts
    """What in the file is spelt as a mark of ours, by what became of it."""


class Text:
    """Sentences, words split at white space; the vocabulary is the training sentences' most frequent words.

    Words outside it are UNKNOWN, and so is a literal <unk>. A line may begin with <s> and end with </s>,
    which every sentence has anyway; elsewhere they are UNKNOWN. The vocabulary is read when the dataset is
    constructed, since models are built from its size; everything else is read in `load()`.
    """

    kind: ClassVar[Kind] = "tokens"
    """Known before any file is: what does not fit is said first."""

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
    """The file of each split. Raises DataError with all that are missing."""
    found = {part: find(folder, names) for part, names in FILES.items()}
    missing = [" or ".join(FILES[part]) for part, path in found.items() if path is None]
    if missing:
        raise DataError(
            f"{folder} has no {', no '.join(missing)}. Put train.txt, valid.txt and test.txt there, a "
            "sentence a line; dataset.folder=<path below the data root, or absolute> names another folder "
            "(VAEBENCH_DATA or data_root=... names another root)."
        )
    return {part: path for part, path in found.items() if path is not None}


def read_sentences(path: Path, max_words: int, too_long: TooLong) -> Sentences:
    """The sentences of a file. Raises DataError where it is not UTF-8, or holds no sentence."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 ({error.reason}, byte 0x{content[error.start]:02x}). Convert "
            f"the file, for example with `iconv -f latin1 -t utf-8`."
        ) from error
    # Not splitlines(), which also ends a line at characters that may stand within a sentence.
    written = [line.split() for line in text.split("\n")]
    if not written[-1]:
        written.pop()  # what is behind the last line's end is no line
    marks = dict.fromkeys(TOLD_OF_MARKS, 0)
    lines = [without_marks(words, marks) for words in written]
    longer = [number for number, words in enumerate(lines, 1) if len(words) > max_words]
    if longer and too_long == "refuse":
        raise DataError(
            f"{path}, line {longer[0]}: {len(lines[longer[0] - 1])} words, and dataset.max_words is "
            f"{max_words}; {len(longer)} sentences are longer. Raise it, or choose too_long=drop or cut."
        )
    kept = [words for words in lines if words and (too_long == "cut" or len(words) <= max_words)]
    if not kept:
        raise DataError(f"{path} holds no sentence of 1 to {max_words} words.")
    empty_lines = sum(not words for words in lines)
    return Sentences([words[:max_words] for words in kept], empty_lines, len(longer), marks)


def without_marks(words: list[str], found: Counts) -> list[str]:
    """A line's words without the marks around them, those within as <unk>; all are added to `found`."""
    end, unknown = MARKS
    if not words or ANY_MARK.isdisjoint(words):
        return words
    if words[0] == BEGIN_MARK:
        found["begin_marks"] += 1
        words = words[1:]
    if words and words[-1] == end:
        found["end_marks"] += 1
        words = words[:-1]
    found["unknown_marks"] += words.count(unknown)
    found["inner_marks"] += words.count(BEGIN_MARK) + words.count(end)
    return [unknown if word in ANY_MARK else word for word in words]


def vocabulary_of(sentences: Iterable[list[str]], cap: int) -> tuple[str, ...]:
    """MARKS, then the `cap` most frequent words; of equally frequent ones the alphabet's first."""
    counted = Counter(word for words in sentences for word in words)
    for mark in MARKS:
        counted.pop(mark, None)
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    return (*MARKS, *ranked[:cap])


def as_split(sentences: list[list[str]], ids: Mapping[str, int], length: int, batches: Batching) -> Split:
    """Token ids `[N, length]`, int32: words, END, PAD."""
    x = torch.full((len(sentences), length), PAD, dtype=torch.int32)
    counts = torch.tensor([len(words) + 1 for words in sentences])
    flat = [token for words in sentences for token in (*(ids.get(w, UNKNOWN) for w in words), END)]
    x[torch.arange(length) < counts.unsqueeze(1)] = torch.tensor(flat, dtype=torch.int32)
    return Split(x, None, lengths=counts, mixes_lengths=batches == "padded")


def counts_of(split: Split, sentences: Sentences) -> Counts:
    """What of a file became what, for the provenance."""
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
    """A line of what was not read as it stands; nothing where there is nothing."""
    log.debug("%s: %s", path, counts)
    found = []
    if counts["empty_lines"]:
        found.append(f"{counts['empty_lines']} empty lines were left out")
    if counts["too_long"]:
        done = "left out" if too_long == "drop" else "cut"
        found.append(f"{counts['too_long']} sentences of more than {max_words} words were {done}")
    found += [told.format(counts[name]) for name, told in TOLD_OF_MARKS.items() if counts[name]]
    if found:
        log.warning("%s: %s.", path, "; ".join(found))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
