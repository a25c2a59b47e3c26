"""What travels to a machine without a network, and what comes back from it."""

import tarfile
from pathlib import Path

import pytest

from scripts.offline_bundle import FILES, collect, pack
from tests.config.helpers import CONF
from tests.runs import small_run
from vaebench.reporting.runs import find_runs


def test_a_bundle_has_the_files_at_their_places_and_the_compressed_one_of_two(tmp_path: Path) -> None:
    data = tmp_path / "data"
    names = [
        "MNIST/raw/a-ubyte.gz",
        "MNIST/raw/a-ubyte",
        "MNIST/raw/b-ubyte",
        "omniglot-py/images_background.zip",
    ]
    for name in (*names, "other.txt"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    pack(tmp_path / "bundle", data, ["mnist", "omniglot"], wheels=False)
    found = {
        path.relative_to(tmp_path / "bundle/data")
        for path in (tmp_path / "bundle").rglob("*")
        if path.is_file()
    }
    assert found == {Path(names[0]), Path(names[2]), Path(names[3])}
    assert (tmp_path / "bundle/data" / names[3]).read_text() == names[3]


def test_a_dataset_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="svhn: found no file in"):
        pack(tmp_path / "bundle", tmp_path, ["svhn"], wheels=False)


def test_every_dataset_that_wants_files_can_be_packed() -> None:
    own = {"digits", "gmm", "mnist_gray", "image_folder"}  # made here; the files of mnist; any folder
    assert {path.stem for path in (CONF / "dataset").glob("*.yaml")} <= {*FILES, *own}


def test_collected_runs_are_read_again_without_their_checkpoints(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    results = small_run(outputs, "training.epochs=1")
    collect(outputs, tmp_path / "results.tar.gz")
    with tarfile.open(tmp_path / "results.tar.gz") as archive:
        assert not any("checkpoints" in name for name in archive.getnames())
        archive.extractall(tmp_path / "again", filter="data")
    (run,) = find_runs(tmp_path / "again")
    assert run.results == results
    assert run.state == "complete"


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte.gz"),
        ("mnist_static", "binarized_mnist/binarized_mnist_train.amat"),
        ("omniglot", "omniglot/chardata.mat"),
        ("svhn", "SVHN/train_32x32.mat"),
        ("cifar10", "CIFAR10/cifar-10-python.tar.gz"),
        ("celeba", "celeba/img_align_celeba.zip"),
        ("lsun", "lsun/bedroom_train_lmdb/data.mdb"),
        ("yahoo", "data/yahoo/train.txt"),
    ],
)
def test_files_are_packed_from_where_the_loaders_look_for_them(
    dataset: str, file: str, tmp_path: Path
) -> None:
    put = tmp_path / "data" / file
    put.parent.mkdir(parents=True)
    put.write_text("here")
    pack(tmp_path / "bundle", tmp_path / "data", [dataset], wheels=False)
    assert (tmp_path / "bundle/data" / file).read_text() == "here"
