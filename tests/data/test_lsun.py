"""Tests of LSUN on a small database, read with lmdb if it is installed, otherwise with a replacement."""

import json
import os
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from tests.archives import png, same
from vaebench.data import lsun
from vaebench.data.lsun import LSUN
from vaebench.data.spec import DataError, DataPaths, Splits

# torchvision leaves it to the garbage collector to close the file of its keys.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

OPTIONS = {"name": "lsun", "size": 4, "num_images": 7, "num_valid": 2, "num_test": 1}


def bedroom(level: int) -> bytes:
    """Return a wide image with one level in the centre, white at its sides."""
    x = np.full((8, 16, 3), 255, dtype=np.uint8)
    x[:, 2:14] = (level, level + 1, level + 2)
    return png(x)


RECORDS = {f"{key:040x}": bedroom(10 * i) for i, key in enumerate((3, 5, 8, 13, 21, 34, 55, 89, 144))}


class FakeLMDB(ModuleType):
    """Replacement of lmdb, whose databases are JSON in data.mdb."""

    def __init__(self) -> None:
        super().__init__("lmdb")
        self.__spec__ = ModuleSpec("lmdb", None)

    @staticmethod
    def open(path: str, **options: object) -> SimpleNamespace:
        assert options["readonly"]
        assert not options["lock"]
        stored = json.loads(Path(path, "data.mdb").read_text())
        records = {key.encode(): bytes.fromhex(value) for key, value in sorted(stored.items())}
        cursor = SimpleNamespace(iternext=lambda keys, values: iter(records))
        transaction = SimpleNamespace(
            stat=lambda: {"entries": len(records)}, cursor=lambda: cursor, get=records.__getitem__
        )

        @contextmanager
        def begin(write: bool):
            assert not write
            yield transaction

        return SimpleNamespace(begin=begin)


@pytest.fixture(params=["lmdb", "fake"])
def paths(request, tmp_path: Path, monkeypatch) -> DataPaths:
    folder = tmp_path / "data/lsun/bedroom_train_lmdb"
    folder.mkdir(parents=True)
    if request.param == "fake":
        monkeypatch.setitem(sys.modules, "lmdb", FakeLMDB())
        (folder / "data.mdb").write_text(json.dumps({key: value.hex() for key, value in RECORDS.items()}))
    else:
        lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed")
        with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
            for key, value in RECORDS.items():
                transaction.put(key.encode(), value)
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


def load(paths: DataPaths, **options: int) -> Splits:
    return LSUN(paths, **OPTIONS | options).load()


def test_the_first_images_are_split_in_their_order_and_the_middle_is_kept(paths, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    splits = load(DataPaths(root=Path("../data"), cache=paths.cache))  # a relative root, too
    assert not list(Path().iterdir())  # torchvision's pickle of keys
    levels = {name: splits[name].x[:, 0, 0, 0].tolist() for name in ("train", "valid", "test")}
    assert levels == {"train": [0, 10, 20, 30], "valid": [40, 50], "test": [60]}
    colour = torch.tensor([20, 21, 22], dtype=torch.uint8)[:, None, None]
    assert torch.equal(splits.train.x[2], colour.expand(3, 4, 4))
    torch.testing.assert_close(splits.test.gather(slice(None), torch.Generator()), splits.test.x / 255)


def test_images_are_decoded_once(paths, monkeypatch):
    first = load(paths)
    monkeypatch.setattr(lsun, "open_database", lambda *args: pytest.fail("decoded again"))
    assert same(load(paths), first)
    with pytest.raises(pytest.fail.Exception):
        load(paths, size=5)


def test_a_pickle_of_keys_in_the_working_directory_is_not_trusted(paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = str(paths.root.absolute() / "lsun/bedroom_train_lmdb")
    name = "_cache_" + "".join(letter for letter in root if letter.isascii() and letter.isalpha())
    (tmp_path / name).write_bytes(b"not a pickle")
    assert len(load(paths).train) == 4


def test_more_images_than_there_are_and_none_left_are_refused(paths):
    with pytest.raises(DataError, match=r"dataset\.num_images = 10: .*data\.mdb has 9 images"):
        load(paths, num_images=10)
    with pytest.raises(DataError, match=r"dataset\.num_images = 3: expected more than .* = 3"):
        load(paths, num_images=3)


def test_a_damaged_image_and_a_damaged_database_are_named(paths, monkeypatch):
    monkeypatch.setattr(lsun, "fit", lambda *args: 1 / 0)
    with pytest.raises(DataError, match=r"Image 0 of .*data\.mdb is damaged"):
        load(paths)
    monkeypatch.undo()
    if find_spec("lmdb") is None:
        monkeypatch.setitem(sys.modules, "lmdb", FakeLMDB())
    (paths.root / "lsun/bedroom_train_lmdb/data.mdb").write_bytes(b"\0" * 8192)
    with pytest.raises(DataError, match="bedroom_train_lmdb is truncated or corrupt"):
        load(paths)


def test_without_the_database_the_error_says_what_to_put_where(tmp_path):
    paths = DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="LSUN is not here") as caught:
        load(paths)
    for word in ("bedroom_train_lmdb.zip", f"{paths.root}/lsun/", "VAEBENCH_DATA", "dataset=image_folder"):
        assert word in str(caught.value)


def test_without_lmdb_the_error_says_what_to_install(tmp_path, monkeypatch):
    folder = tmp_path / "bedroom_train_lmdb"
    folder.mkdir()
    (folder / "data.mdb").write_bytes(os.urandom(16))
    monkeypatch.setattr(lsun, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install lmdb"):
        load(DataPaths(root=tmp_path, cache=tmp_path / "cache"))
