"""LSUN (Yu et al., 2015), bedrooms, from the official LMDB database."""

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
    "LSUN is not here, and at 43 GB is not downloaded unasked. Put the official bedroom_train_lmdb.zip "
    "(github.com/fyu/lsun), unpacked, into {root}/lsun/bedroom_train_lmdb/ (VAEBENCH_DATA or data_root=... "
    "names another root). A stand-in under its own name: dataset=image_folder dataset.path=<a folder or .zip "
    "of images> dataset.size=64."
)


class LSUN:
    """The first `num_images` bedrooms for training, the shorter side brought to `size`, the middle cut out.

    Keys are hashes, so their order is random. The last `num_test` of these images test, the `num_valid`
    before them validate: the official validation set has 300 images, and Zhao et al. test on training data.
    There are no labels.
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
                f"dataset.num_test, which are {num_valid + num_test}."
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
    """The first `num` images of the database, uint8 `[num, *shape]`, decoded once and kept in the cache.

    Raises DataError where the database is not there, is damaged or has fewer.
    """
    found = find(paths.root, [str(Path(folder, f"{DATABASE}_lmdb", "data.mdb")) for folder in FOLDERS])
    if found is None:
        raise DataError(INSTRUCTIONS.format(root=paths.root))
    stat = found.stat()
    facts = f"{stat.st_size} {stat.st_mtime_ns} {num} {shape} shorter side, middle"
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def make() -> Pixels:
        images = open_database(found.parent.parent)
        if len(images) < num:
            raise DataError(f"dataset.num_images = {num}: {found} has {len(images):,} images.")
        x = np.empty((num, *shape), dtype=np.uint8)
        for i in tqdm(range(num), "decoding LSUN", leave=False, disable=None):
            try:
                x[i] = fit(images[i][0], shape[-1], shape[0])
            except Exception as error:  # Pillow's readers raise many kinds
                raise DataError(
                    f"Image {i} of {found} is damaged ({type(error).__name__}: {error}). Fetch it again."
                ) from error
        return x

    return cached(paths.cache / "lsun" / f"{DATABASE}-{key}.npy", (num, *shape), make)


def open_database(folder: Path) -> Any:
    """torchvision's LSUN: `[i]` is an image and its class. Raises DataError where it cannot be read."""
    if find_spec("lmdb") is None:
        raise DataError("dataset=lsun is an LMDB database, which torchvision reads with: pip install lmdb")
    from torchvision.datasets import LSUN as TorchvisionLSUN

    root = str(folder.absolute())
    # It leaves a pickle of all keys where it is started from, and trusts one that it finds there.
    with TemporaryDirectory() as scratch, chdir(scratch):
        try:
            return TorchvisionLSUN(root, classes=[DATABASE])
        except Exception as error:  # lmdb's errors are its own
            raise DataError(
                f"{folder / DATABASE}_lmdb is truncated or corrupt ({error}). Fetch it again."
            ) from error
