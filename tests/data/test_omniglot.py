"""Omniglot: small files of both formats, and the real drawings."""

import io
import os
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import Tensor

from tests.archives import break_member, png, put_zip, real_data, same
from vaebench.data import binarise, images, omniglot
from vaebench.data.omniglot import Omniglot
from vaebench.data.spec import DataError, DataPaths, Splits

NUM_TRAIN, NUM_TEST = 9, 5
BACKGROUND, EVALUATION = (f"omniglot-py/{name}" for name in omniglot.ARCHIVES)
Drawings = dict[str, np.ndarray]


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture
def grey(monkeypatch) -> None:
    """Held-out images keep their grey levels, so that they can be recognised."""
    monkeypatch.setattr(binarise, "binarise_once", lambda x, scale, seed: x)


def dataset(paths: DataPaths, num_valid: int = 2, split_seed: int = 0) -> Omniglot:
    return Omniglot(
        paths,
        name="omniglot",
        num_valid=num_valid,
        fallback_name="omniglot_images",
        fallback_num_valid=4,
        split_seed=split_seed,
        binarisation_seed=777,
    )


def load(paths: DataPaths, num_valid: int = 2, split_seed: int = 0) -> Splits:
    return dataset(paths, num_valid, split_seed).load()


def found(splits: Splits) -> list[tuple[bytes, int]]:
    """Every image, with its label."""
    parts = [splits.train, splits.valid, splits.test]
    return [(x.numpy().tobytes(), int(y)) for part in parts for x, y in zip(part.x, part.y, strict=True)]


# chardata.mat


def chardata(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Upright images `[N, 28, 28]` in [0, 1] and their alphabets."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, 28, 28)) / 255, rng.integers(0, 50, num)


def mat(num_train: int = NUM_TRAIN, scale: float = 1.0) -> bytes:
    """A file of chardata.mat's format: pixels by images, each image column after column, as MATLAB does."""
    content = {}
    for prefix, num, seed in (("", num_train, 0), ("test", NUM_TEST, 1)):
        x, y = chardata(num, seed)
        content[f"{prefix}data"] = scale * np.stack([image.flatten(order="F") for image in x], axis=1)
        content[f"{prefix}target"] = np.eye(50)[:, y]
        content[f"{prefix}targetchar"] = np.ones((1, num))
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    return buffer.getvalue()


def put_chardata(paths: DataPaths, content: bytes) -> Path:
    file = paths.root / "omniglot/chardata.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def expected(num: int, seed: int) -> tuple[Tensor, Tensor]:
    x, y = chardata(num, seed)
    return torch.from_numpy(np.rint(255 * x)).to(torch.uint8).unsqueeze(1), torch.from_numpy(y)


def test_chardata_is_read_upright_and_split_by_one_shuffle(paths, grey):
    put_chardata(paths, mat())
    splits = load(paths)
    spec = dataset(paths).spec
    assert (spec.name, spec.shape, spec.kind, spec.num_classes) == ("omniglot", (1, 28, 28), "binary", 50)
    assert splits.origin["is_the_file_of_yburda_iwae"] is False
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [7, 2, 5]
    x, y = expected(NUM_TEST, 1)
    assert torch.equal(splits.test.x, x)
    assert torch.equal(splits.test.y, y)
    x, y = expected(NUM_TRAIN, 0)
    originals = [(image.numpy().tobytes(), int(label)) for image, label in zip(x, y, strict=True)]
    assert found(splits)[:NUM_TRAIN] != originals  # shuffled,
    assert Counter(found(splits)[:NUM_TRAIN]) == Counter(originals)  # with none lost and none twice
    assert same(splits, load(paths))
    assert not same(splits, load(paths, split_seed=1))
    assert [len(part) for part in (load(paths, 3).train, load(paths, 3).valid)] == [6, 3]


def test_chardata_goes_before_drawings_under_its_own_name(paths, official):
    assert dataset(paths).spec.name == "omniglot"
    put_drawings(paths, official)
    assert dataset(paths).spec.name == "omniglot_images"
    put_chardata(paths, mat())
    assert dataset(paths).spec.name == "omniglot"


def test_training_images_are_drawn_anew_and_the_others_once_by_seeds_of_their_own(paths, monkeypatch):
    put_chardata(paths, mat())
    original, seeds = binarise.binarise_once, []

    def recording(x: Tensor, scale: float, seed: int) -> Tensor:
        seeds.append(seed)
        return original(x, scale, seed)

    monkeypatch.setattr(binarise, "binarise_once", recording)
    splits = load(paths)
    assert seeds == [777, 778]
    one, other = (splits.train.gather(slice(None), torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one, other)
    for x in (one, splits.valid.x, splits.test.x):
        assert set(x.unique().tolist()) == {0, 1}
    probability = splits.train.x.float() / 255
    assert not one[probability == 0].any()
    assert one[probability == 1].all()
    assert one.mean() == pytest.approx(float(probability.mean()), abs=5 * 0.5 / one.numel() ** 0.5)
    assert splits.origin["binarisation_seed"] == 777
    assert splits.origin["test_hash"] == binarise.content_hash(splits.test.x)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (mat()[:-200], r"chardata\.mat.* truncated"),
        (mat()[:2000], r"chardata\.mat.* truncated"),
        (mat(scale=255.0), r"chardata\.mat: data is not in \[0, 1\]"),
        (mat(num_train=2), "2 validation images leave none of 2"),
    ],
    ids=["end", "middle", "levels", "few"],
)
def test_a_bad_chardata_is_named(content, complaint, paths):
    put_chardata(paths, content)
    with pytest.raises(DataError, match=complaint):
        load(paths)


def test_without_files_chardata_is_downloaded_once_and_checked(paths, monkeypatch):
    content, fetched = mat(), []

    def online(url: str, timeout: float) -> io.BytesIO:
        fetched.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr(omniglot, "urlopen", online)
    with pytest.raises(DataError, match="is not the file it was"):
        load(paths)
    assert not list(paths.cache.rglob("*.mat"))
    monkeypatch.setattr(omniglot, "CHARDATA_BLOB", omniglot.git_blob(content))
    splits = load(paths)
    assert splits.origin["is_the_file_of_yburda_iwae"] is True
    assert same(splits, load(paths))
    assert fetched == [omniglot.CHARDATA_URL] * 2


def test_a_file_is_named_as_git_names_it():
    assert omniglot.git_blob(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert omniglot.git_blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_without_files_and_network_the_error_says_which_files_go_where(paths, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(omniglot, "urlopen", offline)
    with pytest.raises(DataError, match="could not be downloaded") as error:
        load(paths)
    for word in (
        f"{paths.root}/omniglot/",
        f"{paths.root}/omniglot-py/",
        *omniglot.ARCHIVES,
        "VAEBENCH_DATA",
    ):
        assert word in str(error.value)


# the official drawings


@pytest.fixture
def official(monkeypatch) -> tuple[Drawings, Drawings]:
    """24 drawings of three alphabets, which pass for the official ones: true is paper."""
    monkeypatch.setattr(omniglot, "NUM_DRAWINGS", 24)
    monkeypatch.setattr(omniglot, "NUM_ALPHABETS", 3)
    rng = np.random.default_rng(0)
    layout = [{"images_background": ("Zulu", "Adlam")}, {"images_evaluation": ("Mayan",)}]
    first, second = (
        {
            f"{top}/{alphabet}/character{c:02}/{i:04}_{c:02}.png": rng.random((105, 105)) < 0.7
            for top, alphabets in part.items()
            for alphabet in alphabets
            for c in (1, 2)
            for i in range(4)
        }
        for part in layout
    )
    return first, second


def put_drawings(paths: DataPaths, official: tuple[Drawings, Drawings]) -> list[Path]:
    return [
        put_zip(paths.root / name, {file: png(pixels) for file, pixels in drawings.items()})
        for name, drawings in zip((BACKGROUND, EVALUATION), official, strict=True)
    ]


def averaged_by_counting(paper: np.ndarray) -> bytes:
    """Ink in 28x28: with each pixel cut in 4x4, exactly 15x15 of them make one of the new ones."""
    fine = np.kron(~paper, np.ones((4, 4)))
    share = np.array(
        [[fine[15 * i : 15 * i + 15, 15 * j : 15 * j + 15].mean() for j in range(28)] for i in range(28)]
    )
    return np.rint(255 * share).astype(np.uint8).tobytes()


def test_drawings_are_inverted_averaged_labelled_and_split(paths, official, grey):
    put_drawings(paths, official)
    before = sorted(paths.root.rglob("*"))
    splits = load(paths)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [14, 4, 6]
    number = {"Adlam": 0, "Mayan": 1, "Zulu": 2}
    drawings = official[0] | official[1]
    originals = [(averaged_by_counting(x), number[name.split("/")[1]]) for name, x in drawings.items()]
    assert Counter(found(splits)) == Counter(originals)
    assert len({label for _, label in found(splits)[:14]}) == 3  # all drawings are shuffled together
    assert sorted(paths.root.rglob("*")) == before
    assert same(splits, load(paths))
    assert not same(splits, load(paths, split_seed=1))
    assert set(found(load(paths, split_seed=1))[-6:]) != set(found(splits)[-6:])


def test_the_order_within_the_archives_does_not_matter(paths, official, tmp_path):
    put_drawings(paths, official)
    other = DataPaths(root=tmp_path / "other", cache=tmp_path / "other_cache")
    put_drawings(other, tuple(dict(reversed(drawings.items())) for drawings in official))  # type: ignore[arg-type]
    one, two = load(paths), load(other)
    assert same(one, two)
    assert one.origin == two.origin


def test_drawings_are_decoded_once(paths, official, monkeypatch):
    put_drawings(paths, official)
    first = load(paths)
    monkeypatch.setattr(images, "_pixels_of", lambda *args: pytest.fail("decoded again"))
    assert same(first, load(paths))


def test_other_drawings_in_a_file_of_the_same_size_and_time_are_seen(paths, official, grey):
    archive, _ = put_drawings(paths, official)
    first, stat = load(paths), archive.stat()
    name, other = next(iter(official[0].items()))
    changed = official[0] | {name: ~other}
    put_drawings(paths, (changed, official[1]))
    os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = load(paths)
    assert averaged_by_counting(other) in {x for x, _ in found(first)}
    assert averaged_by_counting(other) not in {x for x, _ in found(second)}
    assert averaged_by_counting(~other) in {x for x, _ in found(second)}


def smaller(raw: bytes) -> bytes:
    """A sound file of fewer images."""
    buffer = io.BytesIO()
    np.save(buffer, np.load(io.BytesIO(raw))[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-7], lambda raw: b"", lambda raw: b"\x93" + raw, smaller]
)
def test_a_damaged_cache_is_made_anew(damage, paths, official):
    put_drawings(paths, official)
    first = load(paths)
    kept = list(paths.cache.rglob("*.npy"))
    whole = [file.read_bytes() for file in kept]
    assert len(kept) == 2
    for file, raw in zip(kept, whole, strict=True):
        file.write_bytes(damage(raw))
    assert same(first, load(paths))
    assert [file.read_bytes() for file in kept] == whole
    assert list(paths.cache.rglob("*.tmp")) == []


def test_one_archive_alone_is_refused(paths, official):
    put_drawings(paths, official)[1].unlink()
    with pytest.raises(DataError, match=r"images_background\.zip, but not images_evaluation\.zip"):
        dataset(paths)


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_truncated_archive_is_named(keep, paths, official):
    archive = put_drawings(paths, official)[1]
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"images_evaluation\.zip is not a \.zip, or is truncated or corrupt"):
        load(paths)


def test_a_damaged_drawing_is_named_and_nothing_is_cached(paths, official):
    archive = put_drawings(paths, official)[0]
    name, pixels = next(iter(official[0].items()))
    break_member(archive, png(pixels))
    with pytest.raises(DataError, match=rf"{name} in .*images_background\.zip is corrupt"):
        load(paths)
    assert not list(paths.cache.rglob("*"))


def test_drawings_of_another_size_or_number_are_refused(paths, official, monkeypatch):
    name = next(iter(official[1]))
    put_drawings(paths, (official[0], official[1] | {name: np.ones((28, 105), dtype=bool)}))
    with pytest.raises(DataError, match=rf"{name} in .*: expected 105x105 pixels, not 105x28"):
        load(paths)
    put_drawings(paths, (official[0], {name: official[1][name]}))
    with pytest.raises(
        DataError, match="hold 17 drawings of 3 alphabets; the official archives hold 24 of 3"
    ):
        load(paths)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Splits:
    root = real_data(BACKGROUND, EVALUATION)
    paths = DataPaths(root=root, cache=tmp_path_factory.getbasetemp() / "cache")
    return Omniglot(
        paths,
        name="omniglot",
        num_valid=2000,
        fallback_name="omniglot_images",
        fallback_num_valid=1345,
        split_seed=0,
        binarisation_seed=777,
    ).load()


@pytest.mark.slow
def test_real_drawings_are_split_as_the_recipe_says(real):
    """The hash is part of the benchmark: change it, and numbers of before cannot be compared."""
    assert [len(real[name]) for name in ("train", "valid", "test")] == [23_000, 1_345, 8_115]
    y = torch.cat([real[name].y for name in ("train", "valid", "test")])
    counts = y.bincount()
    assert len(counts) == 50
    # alphabets by name: 20 characters of the Magi, 29 Anglo-Saxon, 20 Angelic, each drawn 20 times
    assert counts[:3].tolist() == [20 * 20, 20 * 20, 29 * 20]
    assert real.origin["test_hash"] == "81a01a3d15f31db6"


@pytest.mark.slow
def test_real_drawings_are_thin_strokes_in_the_middle(real):
    level = real.train.x.float().mean(0)[0] / 255
    assert level.mean() == pytest.approx(0.0806, abs=1e-3)
    assert level[9:19, 9:19].mean() > 5 * level[[0, -1]].mean()
    assert real.test.x.float().mean() == pytest.approx(float(level.mean()), abs=2e-3)
