"""LSUN bedrooms (Yu et al., 2015), from the official LMDB database."""

from __future__ import annotations

import hashlib
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vaebench.data.binarise import content_hash
from vaebench.data.cached import Pixels, cached
from vaebench.data.files import find
from vaebench.data.image_folder import LEVEL, fit
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits
from vaebench.ranges import Count

DATABASE = "bedroom_train"
FOLDERS = ("", "lsun", "LSUN")
INSTRUCTIONS = (
    "LSUN is not here, and it is not downloaded automatically, since it has 43 GB. Put the official "
    "bedroom_train_lmdb.zip (github.com/fyu/lsun), unpacked, into {root}/lsun/bedroom_train_lmdb/; "
    "VAEBENCH_DATA or data_root=... sets another root. To use other images, stored under their own name: "
    "dataset=image_folder dataset.path=<a folder or .zip of images> dataset.size=64."
)


class LSUN:
    """First `num_images` training bedrooms, resized to a shorter side of `size`, with the centre cropped.

    Their order is random, since the keys of the database are hashes. The last `num_test` of these images are
    the test set, and the `num_valid` before them are the validation set: the official validation set has
    only 300 images, and Zhao et al. test on training data. There are no labels.
    """

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        size: Count,
        num_images: Count,
        num_valid: Count,
        num_test: Count,
    ) -> None:
        if num_valid + num_test >= num_images:
            raise DataError(
                f"dataset.num_images = {num_images}: expected more than dataset.num_valid + "
                f"dataset.num_test = {num_valid + num_test}."
            )
        self.paths = paths
        self.num_images = num_images
        self.sizes = [num_images - num_valid - num_test, num_valid, num_test]
        self.spec = DataSpec(name=name, shape=(3, size, size), kind="uint8", num_classes=None)

    def load(self) -> Splits:
        x = torch.from_numpy(bedrooms(self.paths, self.num_images, self.spec.shape))
        train, valid, test = (Split(part, None, scale=LEVEL) for part in x.split(self.sizes))
        origin = {"source": f"LSUN, {DATABASE}", "test_hash": content_hash(test.x)}
        return Splits(train, valid, test, origin)


def bedrooms(paths: DataPaths, num: int, shape: tuple[int, ...]) -> Pixels:
    """Return the first `num` images of the database, uint8 `[num, *shape]`; the decoded images are cached.

    Raises DataError if the database is missing or damaged, or has fewer images.
    """
    database = find(paths.root, [str(Path(folder, f"{DATABASE}_lmdb", "data.mdb")) for folder in FOLDERS])
    if database is None:
        raise DataError(INSTRUCTIONS.format(root=paths.root))
    stat = database.stat()
    facts = f"{stat.st_size} {stat.st_mtime_ns} {num} {shape} shorter side, middle"
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def make() -> Pixels:
        images = open_database(database.parent.parent)
        if len(images) < num:
            raise DataError(f"dataset.num_images = {num}: {database} has {len(images):,} images. Lower it.")
        x = np.empty((num, *shape), dtype=np.uint8)
        for i in tqdm(range(num), "decoding LSUN", leave=False, disable=None):
            try:
                x[i] = fit(images[i][0], shape[-1], shape[0])
            except Exception as error:  # Pillow's readers raise many types
                raise DataError(
                    f"Image {i} of {database} is damaged ({type(error).__name__}: {error}). "
                    "Download LSUN again."
                ) from error
        return x

    return cached(paths.cache / "lsun" / f"{DATABASE}-{key}.npy", (num, *shape), make)


def open_database(folder: Path) -> Any:
    """Open torchvision's LSUN, whose `[i]` is (image, class). Raises DataError if it cannot be read."""
    if find_spec("lmdb") is None:
        raise DataError("dataset=lsun needs the package lmdb, which is not installed; run: pip install lmdb")
    from torchvision.datasets import LSUN as TorchvisionLSUN

    root = str(folder.absolute())
    # torchvision writes a pickle of all keys to the current folder, and loads one that is there unchecked.
    with TemporaryDirectory() as scratch, chdir(scratch):
        try:
            return TorchvisionLSUN(root, classes=[DATABASE])
        except Exception as error:  # lmdb has its own error types
            raise DataError(
                f"{folder / DATABASE}_lmdb is truncated or corrupt ({error}). Download it again."
            ) from error
