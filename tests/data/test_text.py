"""Tests of folders of sentences: lines, marks, batches, and errors."""

from __future__ import annotations

import io
import logging
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from tests.sentences import TRAIN, spec_of, split_of, text_of, write_corpus
from vaebench.data import yahoo
from vaebench.data.batches import Batches
from vaebench.data.spec import DataError, DataPaths, Split
from vaebench.data.text import vocabulary_of
from vaebench.data.yahoo import Yahoo, unpack_yahoo
from vaebench.text import END, PAD, UNKNOWN


def test_vocabulary_is_by_frequency_then_alphabet_and_capped() -> None:
    read = [["b", "a", "<unk>"], ["c", "a", "</s>"], ["d", "b"]]
    assert vocabulary_of(read, 10) == ("</s>", "<unk>", "a", "b", "c", "d")
    assert vocabulary_of(read, 3) == ("</s>", "<unk>", "a", "b", "c")


def test_a_sentence_is_its_words_then_end_then_padding(tmp_path: Path) -> None:
    text = text_of(write_corpus(tmp_path / "c", train=["b b a", "b"], test=["a  b\tzoo <unk>"]), max_words=4)
    assert text.spec.vocabulary == ("</s>", "<unk>", "b", "a")
    assert (text.spec.shape, text.spec.kind, text.spec.input_shape) == ((5,), "tokens", (5, 4))
    splits = text.load()
    assert splits.train.x.tolist() == [[2, 2, 3, END, PAD], [2, END, PAD, PAD, PAD]]
    assert splits.test.x.tolist() == [[3, 2, UNKNOWN, UNKNOWN, END]]
    assert splits.train.lengths is not None
    assert splits.train.lengths.tolist() == [4, 2]
    counts = {"sentences": 1, "tokens": 5, "unknown": 2, "empty_lines": 0, "too_long": 0}
    assert counts.items() <= splits.origin["test"].items()


def test_only_training_sentences_that_are_kept_make_the_vocabulary(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c", train=["a b", "x y z x y z"], valid=["c"], test=["d"])
    assert text_of(folder, max_words=3).spec.vocabulary == ("</s>", "<unk>", "a", "b")
    assert "y" in (text_of(folder, max_words=3, too_long="cut").spec.vocabulary or ())


@pytest.mark.parametrize(("too_long", "kept"), [("drop", 2), ("cut", 3)])
def test_nothing_is_lost_in_silence(
    too_long: str, kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_corpus(tmp_path / "c", train=["a b", "", "c d e f", "  ", "a"])
    with caplog.at_level(logging.WARNING):
        splits = text_of(folder, max_words=3, too_long=too_long).load()
    facts = splits.origin["train"]
    assert (facts["sentences"], facts["empty_lines"], facts["too_long"]) == (kept, 2, 1)
    done = "left out" if too_long == "drop" else "cut"
    (line,) = [record.getMessage() for record in caplog.records if "train.txt" in record.getMessage()]
    assert "2 empty lines were left out" in line
    assert f"1 sentences of more than 3 words were {done}" in line
    if too_long == "cut":
        assert (splits.train.x[1] == torch.tensor([*splits.train.x[1][:3], END])).all()


def test_marks_around_a_line_are_those_that_it_gets_anyway(tmp_path: Path) -> None:
    """Marks in a file must not add a second END per sentence: it would halve the perplexity."""
    plain = text_of(write_corpus(tmp_path / "plain")).load()
    folder = write_corpus(tmp_path / "c", train=[f"<s> {line} </s>" for line in TRAIN], test=["a </s>"])
    marked = text_of(folder, max_words=6)  # of the longest training sentence, without its marks
    splits = marked.load()
    assert marked.spec.vocabulary == text_of(tmp_path / "plain").spec.vocabulary
    assert splits.train.x[:, :7].tolist() == plain.train.x[:, :7].tolist()
    assert splits.origin["train"]["tokens"] == plain.origin["train"]["tokens"]
    assert splits.origin["train"]["begin_marks"] == splits.origin["train"]["end_marks"] == len(TRAIN)
    assert (splits.test.x == END).sum(1).tolist() == [1]


@pytest.mark.parametrize(
    ("line", "words", "counts"),
    [
        ("the cat </s> dog", "the cat <unk> dog", (0, 0, 1, 0)),
        ("the <s> cat", "the <unk> cat", (0, 0, 1, 0)),
        ("<s> <s> the </s> </s>", "<unk> the <unk>", (1, 1, 2, 0)),
        ("</s> the <s>", "<unk> the <unk>", (0, 0, 2, 0)),
        ("<unk> the <unk>", "<unk> the <unk>", (0, 0, 0, 2)),
        ("the</s> cat", "the</s> cat", (0, 0, 0, 0)),
    ],
)
def test_marks_elsewhere_are_unknown_words(
    line: str, words: str, counts: tuple[int, ...], tmp_path: Path
) -> None:
    text = text_of(write_corpus(tmp_path / "c", train=[line, "the cat dog"]))
    vocabulary = text.spec.vocabulary
    assert vocabulary is not None
    assert "<s>" not in vocabulary
    splits = text.load()
    expected = [*(vocabulary.index(word) for word in words.split()), END]
    assert [token for token in splits.train.x[0].tolist() if token != PAD] == expected
    found = splits.origin["train"]
    names = ("begin_marks", "end_marks", "inner_marks", "unknown_marks")
    assert tuple(found[name] for name in names) == counts


def test_marks_are_logged_once_per_file_and_a_line_of_nothing_else_is_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = ["<s> a </s>", "b </s> b </s>", "<s> </s>", "<unk> a"]
    folder = write_corpus(tmp_path / "c", train=content)
    with caplog.at_level(logging.WARNING):
        splits = text_of(folder).load()
    assert (splits.origin["train"]["sentences"], splits.origin["train"]["empty_lines"]) == (3, 1)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith(
        "train.txt: 1 empty lines were left out; 2 <s> at the beginning of a line were removed; "
        "3 </s> at the end of a line were removed; 1 <s> or </s> elsewhere were read as <unk>; "
        "1 <unk> were in the file."
    )
    (folder / "train.txt").write_text("a\n</s>")  # without a line's end it is a line all the same
    assert text_of(folder).read("train").empty_lines == 1


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        (
            {"too_long": "refuse", "max_words": 3},
            b"a\nb c d e\n",
            "train.txt, line 2: 4 words.*max_words is 3",
        ),
        ({}, b"good\nna\xefve words\n", "train.txt, line 2: not UTF-8 .*byte 0xef"),
        ({}, b"\n\n", "train.txt has no sentence of 1 to 8 words"),
        ({}, b"<s> </s>\n", "train.txt has no sentence of 1 to 8 words"),
        ({}, b"", "train.txt has no sentence"),
    ],
)
def test_a_bad_file_is_named_with_its_line(
    options: dict, content: bytes, message: str, tmp_path: Path
) -> None:
    folder = write_corpus(tmp_path / "c")
    (folder / "train.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        text_of(folder, **options)


def test_missing_files_are_named_together_and_val_is_valid(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c")
    (folder / "valid.txt").rename(folder / "val.txt")
    assert text_of(folder).load().valid.x.shape == (3, 9)
    (folder / "val.txt").unlink()
    (folder / "test.txt").unlink()
    with pytest.raises(DataError, match=r"c has no valid.txt or val.txt or dev.txt, no test.txt\. Put"):
        text_of(folder)


def test_marks_of_other_systems_do_not_break_lines(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c")
    (folder / "train.txt").write_bytes("\ufeffa b\r\nc\u2028d\r\n".encode())  # BOM, CRLF, a line separator
    text = text_of(folder)
    assert text.spec.vocabulary == ("</s>", "<unk>", "a", "b", "c", "d")
    assert len(text.load().train) == 2


def epoch_of(batches: Batches, epoch: int) -> list[torch.Tensor]:
    return [batches(epoch, index) for index in range(len(batches))]


def mixed_split(mixes: bool) -> Split:
    """Build a split whose sentence i is word i, repeated i % 3 + 1 times."""
    spec = spec_of(num_words=11, length=9)
    lines = [" ".join([chr(ord("a") + i)] * (i % 3 + 1)) for i in range(11)]
    split = split_of(spec, *lines)
    return Split(split.x, None, lengths=split.lengths, mixes_lengths=mixes)


@pytest.mark.parametrize("mixes", [False, True])
def test_every_epoch_has_every_sentence_once_in_batches_no_longer_than_they_need(mixes: bool) -> None:
    split = mixed_split(mixes)
    batches = Batches(split, 3, seed=1)
    assert len(batches) == (4 if mixes else 2 + 2 + 1)
    for epoch in (0, 1):
        parts = epoch_of(batches, epoch)
        assert sorted(int(word) for part in parts for word in part[:, 0]) == list(range(2, 13))
        for part in parts:
            tokens = (part != PAD).sum(1)
            assert part.dtype == torch.int64
            assert part.shape[1] == tokens.max()
            assert mixes or (tokens == part.shape[1]).all()
    assert [part.tolist() for part in epoch_of(batches, 0)] != [
        part.tolist() for part in epoch_of(batches, 1)
    ]


@pytest.mark.parametrize("mixes", [False, True])
def test_a_batch_is_a_pure_function_of_seed_epoch_and_index(mixes: bool) -> None:
    split = mixed_split(mixes)
    expected = epoch_of(Batches(split, 2, seed=1), 1)[2]
    fresh = Batches(split, 2, seed=1)
    assert torch.equal(fresh(1, 2), expected)
    fresh(0, 0)
    assert torch.equal(fresh(1, 2), expected)
    assert [b.tolist() for b in epoch_of(Batches(split, 2, seed=2), 1)] != [
        b.tolist() for b in epoch_of(fresh, 1)
    ]


def test_lengths_come_in_no_order() -> None:
    split = split_of(spec_of(), *(["a", "a b", "a b c", "a b c d"] * 8))
    split = Split(split.x, None, lengths=split.lengths)
    seen = [part.shape[1] for part in epoch_of(Batches(split, 2, seed=0), 0)]
    assert sorted(seen) == sorted([2, 3, 4, 5] * 4)
    assert seen != sorted(seen)


def yahoo_of(root: Path) -> Yahoo:
    paths = DataPaths(root, root / "cache")
    options: dict = {"max_words": 8, "max_vocabulary": 50, "too_long": "drop", "batches": "equal"}
    return Yahoo(paths, name="yahoo", **options)


def test_yahoo_is_read_as_any_folder_and_its_size_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_corpus(
        tmp_path / "yahoo", train=[*TRAIN, "", "nine words are too many of them to be kept"]
    )
    (folder / "valid.txt").rename(folder / "val.txt")
    with pytest.raises(
        DataError, match=r"train.txt has 23 lines; the train split of Yahoo Answers has 100000"
    ):
        yahoo_of(tmp_path).load()
    monkeypatch.setattr(yahoo, "NUM_LINES", {"train": 23, "valid": 3, "test": 4})
    assert len(yahoo_of(tmp_path).load().train) == 21


def test_without_a_network_yahoos_files_and_place_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(yahoo, "urlopen", offline)
    with pytest.raises(DataError, match=rf"(?s)no network.*yahoo/train.txt.*into {tmp_path}/yahoo/"):
        yahoo_of(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_downloaded_archive_leaves_the_three_files(kind: str, tmp_path: Path) -> None:
    names = ["data/yahoo/train.txt", "data/yahoo/val.txt", "data/yahoo/test.txt", "data/other/train.txt"]
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive_tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(name)
                archive_tar.addfile(info, io.BytesIO(name.encode()))
    unpack_yahoo(buffer.getvalue(), tmp_path / "y")
    found = {path.name: path.read_text() for path in (tmp_path / "y").iterdir()}
    assert found == {Path(name).name: name for name in names[:3]}
    for broken in (b"<html>quota exceeded</html>", buffer.getvalue()[: len(buffer.getvalue()) // 3]):
        with pytest.raises(OSError, match=r"not an intact archive|does not contain yahoo/train.txt"):
            unpack_yahoo(broken, tmp_path / "z")
