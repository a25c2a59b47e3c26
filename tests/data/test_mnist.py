"""MNIST's files: found, checked and read; the real ones, and small ones of the same format."""

import gzip
import hashlib
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from tests.archives import official_mnist
from vaebench.data import mnist
from vaebench.data.batches import Batches
from vaebench.data.mnist import MNIST, MNISTStatic
from vaebench.data.spec import DataError, DataPaths, Splits

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
NUM_TRAIN, NUM_VALID, NUM_TEST = 6, 3, 4


def idx(array: np.ndarray) -> bytes:
    """The idx format of bytes: two zeros, the type 8, the rank, the sizes, the content."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    (tmp_path / "data/MNIST/raw").mkdir(parents=True)
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture
def official(monkeypatch) -> dict[str, bytes]:
    """The content of four small files, which pass for the official ones."""
    rng = np.random.default_rng(0)
    content = {}
    for name, num in (("train", NUM_TRAIN + NUM_VALID), ("t10k", NUM_TEST)):
        images = rng.integers(0, 256, (num, 28, 28), dtype=np.uint8) * rng.integers(
            0, 2, (num, 28, 28), dtype=np.uint8
        )
        content[f"{name}-images-idx3-ubyte"] = idx(images)
        content[f"{name}-labels-idx1-ubyte"] = idx((np.arange(num) % 10).astype(np.uint8))
    hashes = {name: hashlib.sha256(file).hexdigest() for name, file in content.items()}
    monkeypatch.setattr(mnist, "SHA256", hashes)
    monkeypatch.setattr(mnist, "NUM_TRAIN", NUM_TRAIN)
    return content


def put(paths: DataPaths, content: dict[str, bytes], packed: tuple[str, ...] = ()) -> None:
    """Write raw files, those of `packed` as .gz."""
    for name, file in content.items():
        raw = paths.root / "MNIST/raw"
        if name in packed:
            (raw / f"{name}.gz").write_bytes(gzip.compress(file))
        else:
            (raw / name).write_bytes(file)


def load(paths: DataPaths, binarisation: str = "dynamic") -> Splits:
    return MNIST(paths, name="mnist", binarisation=binarisation, binarisation_seed=777).load()  # type: ignore[arg-type]


def grey(file: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(file[16:]), dtype=torch.uint8).view(-1, 1, 28, 28)


@pytest.mark.parametrize("num_packed", [0, 2, 4])
def test_files_are_read_packed_or_not_and_nothing_is_written_beside_them(num_packed, paths, official):
    put(paths, official, packed=tuple(official)[:num_packed])
    before = sorted(paths.root.rglob("*"))
    splits = load(paths)
    assert torch.equal(splits.train.x, grey(official[TRAIN])[:NUM_TRAIN])
    assert splits.train.y.tolist() == list(range(NUM_TRAIN))
    assert splits.valid.y.tolist() == [6, 7, 8]
    assert splits.test.y.tolist() == [0, 1, 2, 3]
    assert sorted(paths.root.rglob("*")) == before


@pytest.mark.parametrize("keep", [5, 300, -4])
def test_a_truncated_archive_is_named(keep, paths, official):
    put(paths, official, packed=tuple(official))
    archive = paths.root / "MNIST/raw" / f"{TEST}.gz"
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"{TEST}\.gz is truncated or corrupt"):
        load(paths)


def test_a_file_of_wrong_content_is_named(paths, official):
    put(paths, official)
    (paths.root / "MNIST/raw" / TEST).write_bytes(official[TEST][:-1] + b"\1")
    with pytest.raises(DataError, match=rf"MNIST/raw/{TEST} is truncated or corrupt"):
        load(paths)


def test_without_files_and_network_the_error_says_which_files_go_where(paths, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    with pytest.raises(DataError, match="could not be downloaded") as error:
        load(paths)
    message = str(error.value)
    assert all(name in message for name in mnist.SHA256)
    assert f"{paths.root}/MNIST/raw/" in message
    assert "VAEBENCH_DATA" in message


def put_amat(paths: DataPaths, images: list[torch.Tensor]) -> None:
    for name, x in zip(MNISTStatic.FILES, images, strict=False):
        np.savetxt(paths.root / name, x.flatten(1).numpy(), fmt="%d")


def static(paths: DataPaths) -> MNISTStatic:
    return MNISTStatic(paths, name="mnist_static", fallback_name="mnist_static_seeded", binarisation_seed=777)


def binarised(official: dict[str, bytes]) -> list[torch.Tensor]:
    """A binarisation of train, valid and test that the grey images could have given."""
    x, test = (grey(official[name]).gt(100).to(torch.uint8) for name in (TRAIN, TEST))
    return [x[:NUM_TRAIN], x[NUM_TRAIN:], test]


def test_fixed_binarisation_without_grey_files_has_no_labels(paths, official):
    images = binarised(official)
    put_amat(paths, images)
    dataset = static(paths)
    assert dataset.spec.name == "mnist_static"
    assert dataset.spec.num_classes is None
    splits = dataset.load()
    for name, x in zip(("train", "valid", "test"), images, strict=True):
        assert torch.equal(splits[name].x, x)
        assert splits[name].y is None
        assert not splits[name].stochastic


def test_fixed_binarisation_takes_labels_from_grey_files(paths, official):
    put(paths, official)
    put_amat(paths, binarised(official))
    dataset = static(paths)
    assert dataset.spec.num_classes == 10
    splits = dataset.load()
    assert [splits[name].y.tolist() for name in ("train", "valid", "test")] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8],
        [0, 1, 2, 3],
    ]


def test_fixed_binarisation_that_contradicts_the_grey_files_is_refused(paths, official):
    put(paths, official)
    train, valid, test = binarised(official)
    put_amat(paths, [train, valid, test.flip(0)])
    with pytest.raises(DataError, match="do not match the official images"):
        static(paths).load()


def test_without_fixed_binarisation_there_is_a_seeded_one_under_its_own_name(paths, official):
    put(paths, official)
    dataset = static(paths)
    assert dataset.spec.name == "mnist_static_seeded"
    splits, again = dataset.load(), static(paths).load()
    for name, size in (("train", NUM_TRAIN), ("valid", NUM_VALID), ("test", NUM_TEST)):
        assert splits[name].x.shape == (size, 1, 28, 28)
        assert splits[name].x.max() == 1
        assert not splits[name].stochastic
        assert torch.equal(splits[name].x, again[name].x)


def test_every_split_is_binarised_by_random_numbers_of_its_own(paths, official, monkeypatch):
    put(paths, official)
    original, seeds = mnist.binarise_once, []

    def recording(x: torch.Tensor, scale: float, seed: int) -> torch.Tensor:
        seeds.append(seed)
        return original(x, scale, seed)

    monkeypatch.setattr(mnist, "binarise_once", recording)
    static(paths).load()
    assert len(set(seeds)) == 3


def test_two_of_three_fixed_files_are_refused(paths, official):
    put_amat(paths, binarised(official)[:2])
    with pytest.raises(DataError, match=r"but not binarized_mnist_test\.amat"):
        static(paths)


def test_a_truncated_fixed_file_is_named(paths, official):
    put_amat(paths, binarised(official))
    file = paths.root / MNISTStatic.FILES[1]
    file.write_text(file.read_text()[:-100])
    with pytest.raises(DataError, match=r"binarized_mnist_valid\.amat is truncated"):
        static(paths).load()


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[DataPaths, Splits]:
    paths = official_mnist(tmp_path_factory)
    return paths, load(paths)


@pytest.mark.slow
def test_real_mnist_is_split_in_its_order_and_binarised_by_its_grey_levels(real):
    paths, splits = real
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [50_000, 10_000, 10_000]
    none = load(paths, "none")
    assert splits.train.x.float().mean() / 255 == pytest.approx(0.1307, abs=1e-3)  # MNIST's known mean
    assert torch.equal(none.train.x, splits.train.x)
    assert none.test.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for name in ("valid", "test"):
        level, x = none[name].x, splits[name].x
        assert torch.equal(none[name].y, splits[name].y)
        assert not x[level == 0].any()
        assert x[level == 255].all()
        middle = x[(level > 120) & (level < 136)].float()
        assert middle.mean() == pytest.approx(128 / 255, abs=5 * 0.5 / len(middle) ** 0.5)
    shown = none.test.gather(slice(0, 10), torch.Generator())
    torch.testing.assert_close(shown, none.test.x[:10] / 255)


def test_real_mnist_trains_on_new_bits_every_epoch_and_tests_on_the_same(real):
    paths, splits = real
    some = Batches(splits.train, batch_size=100, seed=0)
    assert some(0, 0).shape == (100, 1, 28, 28)
    assert set(some(0, 0).unique().tolist()) == {0, 1}
    one, other = (splits.train.gather(slice(0, 100), torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one, other)
    again = load(paths)
    assert torch.equal(again.valid.x, splits.valid.x)
    assert again.origin["test_hash"] == splits.origin["test_hash"] == "36ada320197ad8c9"
