"""Tests of SVHN on small files of the official format."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests.archives import same
from vaebench.data import svhn
from vaebench.data.spec import DataError, DataPaths, Splits
from vaebench.data.svhn import SVHN

SIZES = {"train": 11, "extra": 9, "test": 4}
NUM_VALID = 5


@pytest.fixture
def paths(tmp_path: Path, monkeypatch) -> DataPaths:
    monkeypatch.setattr(svhn, "NUM_VALID", NUM_VALID)
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


def content(part: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images `[N, H, W, 3]` and the file's labels, 1 to 10."""
    rng = np.random.default_rng([seed, SIZES[part]])
    num = SIZES[part]
    return rng.integers(0, 256, (num, 32, 32, 3), dtype=np.uint8), 10 - np.arange(num, dtype=np.uint8) % 10


def put(paths: DataPaths, seed: int = 0) -> dict[str, Path]:
    files = {part: paths.root / f"svhn/{part}_32x32.mat" for part in SIZES}
    for part, file in files.items():
        x, y = content(part, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {"X": x.transpose(1, 2, 3, 0), "y": y[:, None]}, do_compression=True)
    return files


def load(paths: DataPaths) -> Splits:
    return SVHN(paths, name="svhn").load()


def test_images_stand_upright_in_their_order_and_ten_means_zero(paths):
    put(paths)
    splits = load(paths)
    for name, part, num in (("train", "train", 11), ("valid", "extra", NUM_VALID), ("test", "test", 4)):
        x, y = content(part)
        assert splits[name].x.shape == (num, 3, 32, 32)
        assert splits[name].x.is_contiguous()
        for channel in range(3):
            assert np.array_equal(splits[name].x[:, channel].numpy(), x[:num, :, :, channel])
        assert splits[name].y.tolist() == [0 if label == 10 else label for label in y[:num].tolist()]
        assert not splits[name].stochastic
    shown = splits.train.gather(slice(None), torch.Generator())
    torch.testing.assert_close(shown, splits.train.x / 255)
    assert SVHN(paths, name="svhn").spec.kind == "uint8"


def test_the_large_file_is_read_once_and_again_when_it_changes(paths, monkeypatch):
    files = put(paths)
    before = sorted(paths.root.rglob("*"))
    first, reads, original = load(paths), [], svhn.read_images

    def recording(path: Path, num: int) -> np.ndarray:
        reads.append(path.name)
        return original(path, num)

    monkeypatch.setattr(svhn, "read_images", recording)
    assert same(load(paths), first)
    assert reads == ["train_32x32.mat", "test_32x32.mat"]
    assert sorted(paths.root.rglob("*")) == before
    put(paths, seed=1)
    files["extra"].touch()
    assert np.array_equal(load(paths).valid.x[:, 0].numpy(), content("extra", 1)[0][:NUM_VALID, :, :, 0])


@pytest.mark.parametrize("part", list(SIZES))
@pytest.mark.parametrize("keep", [0, 60, 0.5, 0.99])
def test_a_truncated_file_is_named(keep, part, paths):
    file = put(paths)[part]
    raw = file.read_bytes()
    file.write_bytes(raw[: keep if keep > 1 else int(keep * len(raw))])
    with pytest.raises(DataError, match=rf"{part}_32x32\.mat.* truncated"):
        load(paths)


def test_a_changed_byte_is_noticed(paths):
    file = put(paths)["test"]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"test_32x32\.mat is truncated or corrupt"):
        load(paths)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, "no array 'y'"),
        ({"X": np.zeros((2, 32, 32, 3), np.uint8), "y": [[1], [2]]}, r"X has shape \[2, 32, 32, 3\]"),
        ({"X": np.zeros((32, 32, 3, 3), np.uint8), "y": [[1], [2]]}, r"expected \[32, 32, 3, 2\]"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]}, "X has type float64, expected uint8"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[0], [2]]}, "y has values outside 1 to 10"),
        (
            {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1, 2]]},
            r"y has shape \[1, 2\], expected \[N, 1\]",
        ),
    ],
)
def test_a_file_of_another_format_is_named(arrays, complaint, paths):
    savemat(put(paths)["train"], arrays)
    with pytest.raises(DataError, match=rf"train_32x32\.mat.*{complaint}"):
        load(paths)


def test_a_missing_file_is_downloaded_or_the_error_says_where_it_goes(paths, monkeypatch):
    def offline(*args: object) -> None:
        raise URLError("no route to host")

    extra = put(paths)["extra"]
    elsewhere = extra.read_bytes()
    extra.unlink()
    monkeypatch.setattr("torchvision.datasets.utils.download_url", offline)
    with pytest.raises(DataError, match=r"extra_32x32\.mat is not here and could not") as error:
        load(paths)
    assert f"{paths.root}/svhn/" in str(error.value)

    def online(url: str, folder: Path, name: str, md5: str) -> None:
        assert (url.rsplit("/", 1)[1], md5) == (name, "a93ce644f1a588dc4d68dda5feec44a7")
        folder.mkdir(parents=True)
        (folder / name).write_bytes(elsewhere)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", online)
    assert np.array_equal(load(paths).valid.x[:, 1].numpy(), content("extra")[0][:NUM_VALID, :, :, 1])
