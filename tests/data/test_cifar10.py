"""Tests of CIFAR-10 on small batches in place of the official ones."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10

from tests.archives import put_folder, same
from vaebench.data import cifar10
from vaebench.data.cifar10 import CIFAR10
from vaebench.data.spec import DataError, DataPaths, Splits

NUM_VALID, BATCH = 3, 4
Files = dict[str, bytes]


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pixels() -> np.ndarray:
    """Return images `[24, 3, 32, 32]`: five batches of training images, one of test images."""
    return np.random.default_rng(0).integers(0, 256, (6 * BATCH, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def official(monkeypatch) -> Files:
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    rows = pixels().reshape(6, BATCH, -1)
    batches = [
        {"data": x, "labels": [(BATCH * i + j) % 10 for j in range(BATCH)]} for i, x in enumerate(rows)
    ]
    content = {name: pickle.dumps(batch) for name, batch in zip(names, batches, strict=True)}
    content["batches.meta"] = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]})
    hashes = [[name, md5(file)] for name, file in content.items()]
    monkeypatch.setattr(TorchvisionCIFAR10, "train_list", hashes[:5])
    monkeypatch.setattr(TorchvisionCIFAR10, "test_list", hashes[5:6])
    monkeypatch.setattr(
        TorchvisionCIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": hashes[6][1]}
    )
    monkeypatch.setattr(cifar10, "NUM_VALID", NUM_VALID)
    return {f"cifar-10-batches-py/{name}": file for name, file in content.items()}


def put_archive(paths: DataPaths, official: Files, monkeypatch) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in official.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(TorchvisionCIFAR10, "tgz_md5", md5(buffer.getvalue()))
    return put_folder(paths.root, {"cifar-10-python.tar.gz": buffer.getvalue()}) / "cifar-10-python.tar.gz"


def load(paths: DataPaths) -> Splits:
    return CIFAR10(paths, name="cifar10").load()


@pytest.mark.parametrize("folder", ["", "cifar10"])
def test_batches_are_read_in_their_order(folder, paths, official):
    put_folder(paths.root / folder, official)
    splits = load(paths)
    x, y = torch.from_numpy(pixels()), torch.arange(6 * BATCH) % 10
    for name, part in (("train", slice(0, 17)), ("valid", slice(17, 20)), ("test", slice(20, 24))):
        assert torch.equal(splits[name].x, x[part])
        assert torch.equal(splits[name].y, y[part])
        torch.testing.assert_close(splits[name].gather(slice(None), torch.Generator()), x[part] / 255)
    assert not paths.cache.exists()


def test_an_archive_is_unpacked_once_into_the_cache(paths, official, monkeypatch):
    archive = put_archive(paths, official, monkeypatch)
    first = load(paths)
    assert [path.name for path in paths.root.iterdir()] == [archive.name]
    monkeypatch.setattr(tarfile, "open", lambda *args: pytest.fail("unpacked again"))
    assert same(load(paths), first)


def test_a_half_unpacked_archive_is_unpacked_again(paths, official, monkeypatch):
    put_archive(paths, official, monkeypatch)
    first = load(paths)
    batch = paths.cache / "cifar10/cifar-10-batches-py/data_batch_4"
    batch.write_bytes(batch.read_bytes()[:-9])
    assert same(load(paths), first)


@pytest.mark.parametrize("damage", [None, b"", b"\x80\x04."])
def test_a_bad_batch_is_named_and_never_unpickled(damage, paths, official, monkeypatch):
    batch = put_folder(paths.root, official) / "cifar-10-batches-py/data_batch_3"
    batch.unlink() if damage is None else batch.write_bytes(damage)
    monkeypatch.setattr(pickle, "load", lambda *args, **kwargs: pytest.fail("unpickled"))
    with pytest.raises(DataError, match="data_batch_3 is missing, truncated or corrupt"):
        load(paths)


def test_a_truncated_archive_is_named(paths, official, monkeypatch):
    archive = put_archive(paths, official, monkeypatch)
    archive.write_bytes(archive.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is truncated or corrupt"):
        load(paths)


def test_without_files_and_network_the_error_says_what_to_put_where_and_names_a_stand_in(paths, monkeypatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(DataError, match="CIFAR-10 is not here and could not be downloaded") as error:
        load(paths)
    for word in ("cifar-10-python.tar.gz", f"{paths.root}/", "VAEBENCH_DATA", "dataset=image_folder"):
        assert word in str(error.value)
