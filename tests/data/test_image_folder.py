"""Folders and archives of images: listing, classes, splits, pixels, cache."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.archives import break_member, png, put_folder, put_zip, real_data, same
from tests.config.helpers import config_of, problems_of
from vaebench.config.errors import ConfigError
from vaebench.data import images
from vaebench.data.image_folder import ImageFolder, partition, read_folders
from vaebench.data.spec import DataError, DataPaths, Splits
from vaebench.runner.data_fingerprint import require_same_data

OPTIONS: dict[str, Any] = {
    "name": "pictures",
    "path": "pictures",
    "size": 4,
    "channels": 3,
    "binarisation": "none",
    "binarisation_seed": 777,
    "valid_fraction": 0.2,
    "test_fraction": 0.3,
    "split_seed": 0,
}


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


def plain(level: int, shape: tuple[int, ...] = (4, 4, 3)) -> bytes:
    return png(np.full(shape, level, dtype=np.uint8))


def of(paths: DataPaths, **options: Any) -> ImageFolder:
    return ImageFolder(paths, **OPTIONS | options)


def found(splits: Splits) -> dict[int, tuple[str, int | None]]:
    """Of images of one level each: level -> (split, label)."""
    rows = {}
    for name in ("train", "valid", "test"):
        labels = [None] * len(splits[name]) if splits[name].y is None else splits[name].y.tolist()
        rows |= {int(x.max()): (name, y) for x, y in zip(splits[name].x, labels, strict=True)}
    return rows


@pytest.mark.parametrize("put", [put_folder, put_zip])
def test_classes_come_from_the_nearest_folder_and_the_split_from_a_shuffle(put: Callable[..., Path], paths):
    names = {10 * i: f"top/{'odd' if i % 2 else 'even'}/{i:02}.png" for i in range(20)}
    put(paths.root / "pictures", {file: plain(level) for level, file in names.items()})
    before = sorted(paths.root.rglob("*"))
    dataset = of(paths)
    assert (dataset.spec.name, dataset.spec.shape, dataset.spec.kind) == ("pictures", (3, 4, 4), "uint8")
    assert dataset.spec.num_classes == 2
    splits = dataset.load()
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [10, 4, 6]
    rows = found(splits)
    assert {level: label for level, (_, label) in rows.items()} == {10 * i: i % 2 for i in range(20)}
    assert {rows[level][0] for level in range(0, 100, 10)} == {"train", "valid", "test"}  # shuffled
    assert same(splits, of(paths).load())
    assert found(of(paths, split_seed=1).load()) != rows
    assert sorted(paths.root.rglob("*")) == before


@pytest.mark.parametrize("validation", [None, "valid", "val"])
def test_folders_of_splits_are_respected(validation, paths):
    parts = {"train": range(10), "test": range(10, 14)} | ({validation: range(14, 16)} if validation else {})
    files = {f"all/{part}/{i % 2}/{i}.png": plain(i) for part, numbers in parts.items() for i in numbers}
    put_zip(paths.root / "pictures", files)
    rows = found(of(paths).load())
    assert {level: label for level, (_, label) in rows.items()} == {i: i % 2 for i in range(len(files))}
    assert {level for level, (part, _) in rows.items() if part == "test"} == {10, 11, 12, 13}
    valid = {level for level, (part, _) in rows.items() if part == "valid"}
    assert valid == {14, 15} if validation else (len(valid) == 2 and valid < set(range(10)))


@pytest.mark.parametrize(
    ("names", "splits", "labels"),
    [
        (["1.png", "2.png"], [None, None], None),
        (["faces/1.png", "faces/2.png"], [None, None], None),
        (["a/1.png", "b/c/2.png", "b/d/3.png", "e/d/4.png"], [None] * 4, [0, 1, 2, 2]),
        (["a/1.png", "2.png"], [None, None], None),
        (["train/1.png", "test/2.png"], ["train", "test"], None),
        (["x/train/b/1.png", "x/test/a/2.png"], ["train", "test"], [1, 0]),
        (["train/a/1.png", "train/b/2.png"], [None, None], [0, 1]),
        (["train/1.png", "val/2.png"], ["train", "valid"], None),
        (["valid/1.png", "test/2.png"], [None, None], [1, 0]),
        (["train/1.png", "test/2.png", "others/3.png"], [None] * 3, [2, 1, 0]),
    ],
)
def test_what_folders_say(names, splits, labels):
    assert read_folders(tuple(names)) == (splits, labels)


def test_a_partition_holds_every_image_once():
    parts = partition([None] * 101, 0.25, 0.1, seed=3)
    assert {part: len(members) for part, members in parts.items()} == {"train": 66, "valid": 25, "test": 10}
    assert sorted(i for members in parts.values() for i in members) == list(range(101))


def test_the_middle_is_kept_and_channels_are_in_order(paths):
    """Red, green, blue and grey bands; the same bands on their side."""
    bands = np.zeros((4, 12, 3), dtype=np.uint8)
    for start, colour in ((0, 0), (4, 1), (8, 2)):
        bands[:, start : start + 4, colour] = 200
    bands[0, 4] = (9, 99, 199)
    files = {"1.png": bands, "2.png": bands.transpose(1, 0, 2), "3.png": bands[:, 4:8]}
    put_folder(paths.root / "pictures", {name: png(np.ascontiguousarray(x)) for name, x in files.items()})
    dataset = of(paths, valid_fraction=1 / 3, test_fraction=1 / 3)
    splits = dataset.load()
    x = torch.cat([splits[name].x for name in ("train", "valid", "test")])
    x = x[torch.tensor([dataset.parts[name][0] for name in ("train", "valid", "test")]).argsort()]
    upright = torch.zeros(3, 4, 4, dtype=torch.uint8)
    upright[1] = 200
    upright[:, 0, 0] = torch.tensor([9, 99, 199])
    assert torch.equal(x[0], upright)
    assert torch.equal(x[1], upright)  # the bright corner is on the diagonal
    assert torch.equal(x[2], upright)
    torch.testing.assert_close(splits.train.gather(slice(None), torch.Generator()), splits.train.x / 255)


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (160, 64)])
def test_large_images_are_averaged_not_sampled(shape, paths):
    """Stripes one pixel wide become their mean, on the left and on the right."""
    stripes = np.zeros(shape, dtype=np.uint8)
    stripes[:, ::2] = 100
    stripes[:, shape[1] // 2 + 1 :: 2] = 200
    put_folder(paths.root / "pictures", {f"{i}.png": png(stripes) for i in range(3)})
    x = of(paths, channels=1, valid_fraction=0.3, test_fraction=0.3).load().train.x[0, 0].float()
    assert x.shape == (4, 4)
    assert x[:, 0].sub(50).abs().max() < 5
    assert x[:, 3].sub(150).abs().max() < 5


def test_small_images_are_enlarged(paths):
    put_folder(paths.root / "pictures", {f"{i}.png": plain(77, (2, 3)) for i in range(4)})
    x = of(paths, valid_fraction=0.3, test_fraction=0.3).load().train.x
    assert x.unique().tolist() == [77]


def test_binarised_images_are_drawn_anew_for_training_alone(paths):
    put_folder(paths.root / "pictures", {f"{i}.png": plain(128, (16, 16)) for i in range(10)})
    dataset = of(paths, channels=1, size=16, binarisation="dynamic")
    splits = dataset.load()
    assert dataset.spec.kind == "binary"
    assert splits.train.x.unique().tolist() == [128]
    one, other = (splits.train.gather(slice(None), torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one, other)
    for x in (one, splits.valid.x.float(), splits.test.x.float()):
        assert x.mean() == pytest.approx(128 / 255, abs=5 * 0.5 / x.numel() ** 0.5)
        assert set(x.unique().tolist()) == {0, 1}
    assert splits.origin["binarisation_seed"] == 777


def test_decoding_is_done_once_for_each_size(paths, monkeypatch):
    put_folder(paths.root / "pictures", {f"{i}.png": plain(i) for i in range(10)})
    original, decoded = images._pixels_of, []

    def recording(content: bytes, pixels: Any, name: str) -> Any:
        decoded.append(name)
        return original(content, pixels, name)

    monkeypatch.setattr(images, "_pixels_of", recording)
    first = of(paths).load()
    other_split = of(paths, split_seed=5, test_fraction=0.1).load()
    assert found(first).keys() == found(other_split).keys()
    assert len(decoded) == 10
    of(paths, size=2).load()
    of(paths, channels=1).load()
    assert len(decoded) == 30
    assert same(of(paths).load(), first)
    assert len(decoded) == 30


@pytest.mark.parametrize("put", [put_folder, put_zip])
def test_files_that_changed_are_decoded_anew(put: Callable[..., Path], paths):
    files = {f"{i}.png": plain(i) for i in range(10)}
    assert len(plain(33)) == len(plain(3))
    put(paths.root / "pictures", files)
    of(paths).load()
    put(paths.root / "pictures", files | {"3.png": plain(33)})
    assert set(found(of(paths).load())) == {*range(10), 33} - {3}
    put(paths.root / "pictures", files | {"10.png": plain(10)})
    assert set(found(of(paths).load())) == {*range(11)}


def test_what_systems_leave_behind_is_not_seen(paths):
    files = {f"a/{i}.png": plain(i) for i in range(10)} | {"a/.DS_Store": b"?", "__MACOSX/a/._1.png": b"?"}
    put_zip(paths.root / "pictures", files)
    assert len(of(paths).files) == 10


@pytest.mark.parametrize("put", [put_folder, put_zip])
@pytest.mark.parametrize("content", [b"", b"not an image", plain(7)[:-30], plain(7)[:40]])
def test_a_file_that_is_no_image_is_named(content, put: Callable[..., Path], paths):
    put(paths.root / "pictures", {f"{i}.png": plain(i) for i in range(9)} | {"sub/notes.txt": content})
    with pytest.raises(DataError, match=r"sub/notes\.txt in .*pictures is not an image or is damaged"):
        of(paths).load()
    assert not list(paths.cache.rglob("*"))


def test_a_damaged_member_is_named(paths):
    files = {f"{i}.png": plain(i) for i in range(10)}
    break_member(put_zip(paths.root / "pictures", files), files["6.png"])
    with pytest.raises(DataError, match=r"6\.png in .*pictures is corrupt \(Bad CRC"):
        of(paths).load()


def test_a_path_without_images_is_an_error_at_once(paths, tmp_path):
    with pytest.raises(DataError, match=rf"{paths.root}/pictures is neither a folder nor a \.zip"):
        of(paths)
    (paths.root / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match="pictures holds no images"):
        of(paths)
    with pytest.raises(DataError, match="empty holds no images"):
        of(paths, path=str(put_zip(tmp_path / "empty", {})))
    put_folder(tmp_path, {"text.zip": b"no archive"})
    with pytest.raises(DataError, match=r"text\.zip is not a \.zip"):
        of(paths, path=str(tmp_path / "text.zip"))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"valid_fraction": 0.0}, "valid"),
        ({"test_fraction": 0.01}, "test"),
        ({"valid_fraction": 0.7}, "train"),
    ],
)
def test_an_empty_split_is_an_error_at_once(options, part, paths):
    put_folder(paths.root / "pictures", {f"{i}.png": plain(i) for i in range(10)})
    with pytest.raises(
        DataError, match=rf"its 10 images leave none for {part}; change dataset\.valid_fraction"
    ):
        of(paths, **options)


def test_options_are_those_of_the_file_under_conf():
    assert config_of("dataset=image_folder")["dataset"].keys() == OPTIONS.keys() | {"_target_"}
    problems = problems_of("dataset=image_folder", "dataset.channels=2", "dataset.valid_fraction=2")
    assert set(problems) == {
        "dataset.channels = 2: expected 1 or 3",
        "dataset.valid_fraction = 2: expected 1 or less",
    }


@pytest.mark.slow
def test_real_images_of_an_archive(tmp_path_factory):
    root = real_data("cifar10_images.zip")
    paths = DataPaths(root=root, cache=tmp_path_factory.getbasetemp() / "cache")
    dataset = of(paths, path="cifar10_images.zip", size=32, valid_fraction=0.1)
    assert (dataset.spec.shape, dataset.spec.num_classes) == ((3, 32, 32), 10)
    splits = dataset.load()
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [9_000, 1_000, 2_000]
    assert splits.test.y.bincount().tolist() == [200] * 10
    assert (splits.train.y.bincount() + splits.valid.y.bincount()).tolist() == [1_000] * 10
    mean = splits.train.x.float().mean((0, 2, 3)) / 255
    expected = torch.tensor([0.4914, 0.4822, 0.4465])  # CIFAR-10's known means
    torch.testing.assert_close(mean, expected, atol=0.01, rtol=0)


def test_a_copy_of_the_same_images_is_the_same_data(paths):
    """With other times of change, by which alone the cache looks for them."""
    put_folder(paths.root / "pictures", {f"{i}.png": plain(10 * i) for i in range(20)})
    before = of(paths).load().origin
    for file in (paths.root / "pictures").iterdir():
        os.utime(file, (1e9, 1e9))
    after = of(paths).load().origin
    assert before["files"] != after["files"]
    require_same_data(before, after, paths.cache)
    put_folder(paths.root / "pictures", {"3.png": plain(31)})
    with pytest.raises(ConfigError, match="_hash was"):
        require_same_data(before, of(paths).load().origin, paths.cache)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_images_of_more_than_8_bits_are_refused_and_not_clipped(dtype, paths):
    content = io.BytesIO()
    Image.fromarray(np.full((4, 4), 4096, dtype)).save(content, format="TIFF")
    put_folder(paths.root / "pictures", {f"{i}.tiff": content.getvalue() for i in range(10)})
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        of(paths, channels=1).load()


def test_a_link_to_its_own_folder_is_not_followed_for_ever_and_a_dangling_one_is_named(paths):
    folder = paths.root / "pictures"
    put_folder(folder, {f"{i}.png": plain(10 * i) for i in range(20)})
    (folder / "again").symlink_to(folder)
    (folder / "up").symlink_to(paths.root)
    assert len(of(paths).files) == 20
    put_folder(paths.root / "elsewhere", {"20.png": plain(200)})
    for name in ("one", "other"):  # links to other folders are followed, each
        (folder / name).symlink_to(paths.root / "elsewhere")
    assert len(of(paths).files) == 22
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        of(paths)
