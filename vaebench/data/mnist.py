"""MNIST in three variants of the literature: dynamically binarised, statically binarised, grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaebench.data.binarise import binarise_once, content_hash
from vaebench.data.files import check_sha256, download, find, unpack
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits
from vaebench.ranges import NonNegativeInt

NUM_TRAIN = 50_000  # of the official 60,000; the last 10,000 are the validation set
GREY = 1 / 255
SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
INSTRUCTIONS = (
    "Put the four official files ({names}), unpacked or as .gz, into {root}/MNIST/raw/ "
    "(VAEBENCH_DATA or data_root=... sets another root)."
)


class MNIST:
    """MNIST: 50,000 / 10,000 / 10,000 images of 28x28.

    dynamic: each training batch is binarised when it is used (as in VampPrior and SCVAE), validation and test
    images once. static: all images are binarised once, with a seed. none: x stays grey, in [0, 1].
    """

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        binarisation: Literal["dynamic", "static", "none"],
        binarisation_seed: NonNegativeInt,
    ) -> None:
        self.paths = paths
        self.binarisation = binarisation
        self.binarisation_seed = binarisation_seed
        kind: Literal["binary", "unit"] = "unit" if binarisation == "none" else "binary"
        self.spec = DataSpec(name=name, shape=(1, 28, 28), kind=kind, num_classes=10)

    def load(self) -> Splits:
        (x, y), (test_x, test_y) = read_mnist(self.paths)
        train, valid = (x[:NUM_TRAIN], y[:NUM_TRAIN]), (x[NUM_TRAIN:], y[NUM_TRAIN:])
        origin: dict[str, Any] = {"source": "MNIST, the official files", "test_hash": content_hash(test_x)}
        if self.binarisation == "none":
            grey = [Split(x, y, scale=GREY) for x, y in (train, valid, (test_x, test_y))]
            return Splits(grey[0], grey[1], grey[2], origin)
        seed = self.binarisation_seed
        # Each split has its own seed: with the same uniform numbers, their noise would be dependent.
        held_out = [
            Split(binarise_once(x, GREY, seed + i), y) for i, (x, y) in enumerate([valid, (test_x, test_y)])
        ]
        if self.binarisation == "static":
            first = Split(binarise_once(train[0], GREY, seed + 2), train[1])
        else:
            first = Split(*train, scale=GREY, stochastic=True)
        origin |= {"binarisation_seed": seed, "test_hash": content_hash(held_out[1].x)}
        return Splits(first, held_out[0], held_out[1], origin)


class MNISTStatic:
    """Fixed binarisation of Larochelle & Murray (2011), if its files are present.

    Otherwise one seeded Bernoulli sample from the same distribution, stored under its own name
    `mnist_static_seeded`. Labels come from the official MNIST files. They are used only if the binary images
    match the official grey images in order.
    """

    FILES = tuple(f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test"))

    def __init__(
        self, paths: DataPaths, *, name: str, fallback_name: str, binarisation_seed: NonNegativeInt
    ) -> None:
        self.paths = paths
        folders = ("", "binarized_mnist/", "MNIST/")
        candidates = [find(paths.root, [folder + file for folder in folders]) for file in self.FILES]
        self.files = [path for path in candidates if path is not None]
        if 0 < len(self.files) < len(candidates):
            missing = ", ".join(f for f, path in zip(self.FILES, candidates, strict=True) if path is None)
            raise DataError(
                f"Found {self.files[0]}, but not {missing}. Add the missing files, or remove all."
            )
        self.fallback = MNIST(
            paths, name=fallback_name, binarisation="static", binarisation_seed=binarisation_seed
        )
        labelled = not self.files or mnist_files(paths) is not None
        self.spec = (
            DataSpec(name=name, shape=(1, 28, 28), kind="binary", num_classes=10 if labelled else None)
            if self.files
            else self.fallback.spec
        )

    def load(self) -> Splits:
        if not self.files:
            return self.fallback.load()
        images = [read_amat(path) for path in self.files]
        labels: list[Tensor | None] = [None, None, None]
        if self.spec.num_classes is not None:
            (x, y), (test_x, test_y) = read_mnist(self.paths)
            for binary, grey in zip(images, (x[:NUM_TRAIN], x[NUM_TRAIN:], test_x), strict=True):
                _check_same_order(binary, grey)
            labels = [y[:NUM_TRAIN], y[NUM_TRAIN:], test_y]
        train, valid, test = (Split(x, y) for x, y in zip(images, labels, strict=True))
        origin = {"source": "Larochelle & Murray (2011)", "test_hash": content_hash(test.x)}
        return Splits(train, valid, test, origin)


def mnist_files(paths: DataPaths) -> dict[str, Path] | None:
    """Return the path of each of the four official files, unpacked or as .gz; None if one is missing."""
    files = {
        name: find(paths.root, [f"MNIST/raw/{name}", f"MNIST/raw/{name}.gz"])
        or find(paths.cache, [f"MNIST/raw/{name}"])
        for name in SHA256
    }
    return None if None in files.values() else {name: path for name, path in files.items() if path}


def unpacked_folder(paths: DataPaths) -> Path | None:
    """Return the folder above MNIST/raw; .gz files are unpacked into the cache. None if a file is missing."""
    files = mnist_files(paths)
    if files is None:
        return None
    for root in (paths.root, paths.cache):
        if all((root / "MNIST/raw" / name).is_file() for name in SHA256):
            return root
    for name, path in files.items():
        unpack(path, paths.cache / "MNIST/raw" / name, SHA256[name])
    return paths.cache


def read_mnist(paths: DataPaths) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the official images `[N, 1, 28, 28]` (uint8) and labels, of the training then of the test set.

    Raises DataError if a file does not have the official SHA-256.
    """
    # Imported here, since the import takes seconds.
    from torchvision.datasets import MNIST as TorchvisionMNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    folder = unpacked_folder(paths)
    if folder is None:
        folder = paths.cache
        instructions = INSTRUCTIONS.format(names=", ".join(SHA256), root=paths.root)
        download("MNIST", lambda: TorchvisionMNIST(str(paths.cache), download=True), instructions)
    for name, expected in SHA256.items():
        check_sha256(folder / "MNIST/raw" / name, expected)
    raw = (
        folder / "MNIST/raw"
    )  # the checked files; torchvision's MNIST class would prefer files of older versions
    train, test = (
        (
            read_image_file(str(raw / f"{part}-images-idx3-ubyte")).unsqueeze(1),
            read_label_file(str(raw / f"{part}-labels-idx1-ubyte")).long(),
        )
        for part in ("train", "t10k")
    )
    return train, test


def read_amat(path: Path) -> Tensor:
    """Read a file of the fixed binarisation, 784 zeros and ones per line, as uint8 `[N, 1, 28, 28]`."""
    digits = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    digits = digits[(digits == ord("0")) | (digits == ord("1"))] - ord("0")
    if len(digits) == 0 or len(digits) % 784:
        raise DataError(
            f"{path} is truncated or corrupt: {len(digits)} pixels are not a multiple of 784. "
            "Download it again."
        )
    return torch.from_numpy(digits.copy()).view(-1, 1, 28, 28)


def _check_same_order(binary: Tensor, grey: Tensor) -> None:
    """Raise DataError if the binary images are not samples of the grey images in the same order.

    A sampled 1 needs a non-zero grey level, a 0 a non-white one. At most one pixel in 1,000 may violate
    this.
    """
    if len(binary) == len(grey):
        impossible = ((binary == 1) & (grey == 0)) | ((binary == 0) & (grey == 255))
    if len(binary) != len(grey) or impossible.double().mean() > 1e-3:
        raise DataError(
            "The binarised MNIST files do not match the official images in order or number, so that their "
            "labels are unknown. Use the original binarized_mnist_*.amat files, or dataset=mnist."
        )
