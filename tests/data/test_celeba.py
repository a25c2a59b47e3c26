"""Tests of CelebA on small files in the official layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import png, put_folder, put_zip, same
from vaebench.data import celeba
from vaebench.data.celeba import CelebA
from vaebench.data.spec import DataError, DataPaths, Splits

NUM = 10


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(root=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def few(monkeypatch) -> None:
    monkeypatch.setattr(celeba, "NUM_IMAGES", NUM)


def faces() -> dict[str, bytes]:
    """Return images, by name, of one level each in the central 108 x 108 pixels, black outside."""
    files = {}
    for i in range(NUM):
        x = np.zeros((218, 178, 3), dtype=np.uint8)
        x[55:163, 35:143] = (20 * i, 20 * i + 1, 20 * i + 2)
        files[f"{i + 1:06}.jpg"] = png(x)
    return files


def load(paths: DataPaths, **options: int) -> Splits:
    return CelebA(paths, **{"name": "celeba", "crop": 108, "size": 64, "num_valid": 3} | options).load()


def levels(splits: Splits) -> dict[str, list[int]]:
    return {name: (splits[name].x[:, 0, 0, 0] // 20).tolist() for name in ("train", "valid", "test")}


@pytest.mark.parametrize("put", [put_folder, put_zip])
@pytest.mark.parametrize("folder", ["", "celeba"])
def test_files_are_split_in_their_order_and_the_middle_is_kept(put, folder, paths):
    if put is put_zip:
        put(
            paths.root / folder / "img_align_celeba.zip",
            {f"img_align_celeba/{k}": v for k, v in faces().items()},
        )
    else:
        put(paths.root / folder / "img_align_celeba", faces())
    before = sorted(paths.root.rglob("*"))
    splits = load(paths)
    assert levels(splits) == {"train": [0, 1, 2, 3, 4], "valid": [5, 6, 7], "test": [8, 9]}
    colour = torch.tensor([20, 21, 22], dtype=torch.uint8)[:, None, None]
    assert torch.equal(splits.train.x[1], colour.expand(3, 64, 64))  # no black from around the crop
    torch.testing.assert_close(splits.test.gather(slice(None), torch.Generator()), splits.test.x / 255)
    assert splits.train.y is None
    assert sorted(paths.root.rglob("*")) == before


def test_a_larger_crop_is_another_image_and_decoding_is_done_once(paths, monkeypatch):
    put_folder(paths.root / "celeba/img_align_celeba", faces())
    first = load(paths)
    assert load(paths, crop=178).test.x[0, 0, 0, 0] == 0
    monkeypatch.setattr(celeba, "face", lambda *args: pytest.fail("decoded again"))
    assert same(load(paths), first)


def test_the_spec_is_known_before_anything_is_there(paths):
    spec = CelebA(paths, name="celeba", crop=108, size=32, num_valid=1).spec
    assert (spec.name, spec.shape, spec.kind, spec.num_classes) == ("celeba", (3, 32, 32), "uint8", None)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            dict(list(faces().items())[:-1]),
            r"img_align_celeba holds 9 files; expected the 10 images of CelebA",
        ),
        (
            faces() | {"000003.jpg": png(np.zeros((64, 64, 3), np.uint8))},
            "000003.jpg.* expected 178x218 pixels",
        ),
        (faces() | {"000003.jpg": b"no image"}, "000003.jpg in .* is not an image or is damaged"),
    ],
)
def test_what_is_not_the_official_archive_is_named(files, reason, paths):
    put_folder(paths.root / "celeba/img_align_celeba", files)
    with pytest.raises(DataError, match=reason):
        load(paths)


def test_validation_that_leaves_nothing_to_train_on_is_refused(paths):
    put_folder(paths.root / "img_align_celeba", faces())
    with pytest.raises(DataError, match=r"dataset\.num_valid = 8: expected less than 8"):
        load(paths, num_valid=8)


def test_what_torchvision_downloads_goes_to_the_cache(paths, monkeypatch):
    class Fetching:
        base_folder = "celeba"

        def __init__(self, root: str, download: bool) -> None:
            assert download
            put_folder(Path(root) / "celeba/img_align_celeba", faces())

    monkeypatch.setattr("torchvision.datasets.CelebA", Fetching)
    first = load(paths)
    assert levels(first)["test"] == [8, 9]
    assert not paths.root.exists()
    monkeypatch.setattr(Fetching, "__init__", lambda *args, **kwargs: pytest.fail("downloaded again"))
    assert same(load(paths), first)


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("needs gdown")])
def test_without_files_and_network_the_error_says_what_to_put_where_and_names_a_stand_in(
    error, paths, monkeypatch
):
    def offline(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.celeba.download_file_from_google_drive", offline)
    with pytest.raises(DataError, match="CelebA is not here and could not be downloaded") as caught:
        load(paths)
    for word in ("img_align_celeba.zip", f"{paths.root}/celeba/", "VAEBENCH_DATA", "dataset=image_folder"):
        assert word in str(caught.value)


def test_a_crop_beyond_the_image_is_refused(paths):
    with pytest.raises(DataError, match=r"dataset\.crop = 179: expected at most 178"):
        load(paths, crop=179)
