"""CIFAR-10 (Krizhevsky, 2009), from the official Python batches."""

from __future__ import annotations

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from vaebench.data.binarise import content_hash
from vaebench.data.files import download, find
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits

NUM_VALID = 5_000  # the last of the 50,000 training images, whose order is random
LEVEL = 1 / 255
FOLDERS = ("", "cifar10", "CIFAR10")
INSTRUCTIONS = (
    "Put the official cifar-10-python.tar.gz (cs.toronto.edu/~kriz/cifar.html), or the folder "
    "cifar-10-batches-py that it holds, into {root}/; VAEBENCH_DATA or data_root=... sets another root. "
    "To use other images, stored under their own name: dataset=image_folder dataset.path=<a folder or .zip "
    "of images>, such as cifar10_images.zip."
)


class CIFAR10:
    """CIFAR-10: 45,000 / 5,000 / 10,000 images of 3x32x32 and 256 levels."""

    def __init__(self, paths: DataPaths, *, name: str) -> None:
        self.paths = paths
        self.spec = DataSpec(name=name, shape=(3, 32, 32), kind="uint8", num_classes=10)

    def load(self) -> Splits:
        (x, y), (test_x, test_y) = read_cifar10(cifar10_folder(self.paths))
        origin = {"source": "CIFAR-10, the official batches", "test_hash": content_hash(test_x)}
        return Splits(
            train=Split(x[:-NUM_VALID], y[:-NUM_VALID], scale=LEVEL),
            valid=Split(x[-NUM_VALID:], y[-NUM_VALID:], scale=LEVEL),
            test=Split(test_x, test_y, scale=LEVEL),
            origin=origin,
        )


def cifar10_folder(paths: DataPaths) -> Path:
    """Return the folder that holds cifar-10-batches-py; an archive or a download is unpacked into the cache.

    Raises DataError if a file is missing or corrupt.
    """
    from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10
    from torchvision.datasets.utils import check_integrity

    for folder in (paths.root / name for name in FOLDERS):
        if (folder / TorchvisionCIFAR10.base_folder).is_dir():
            if (bad := _first_bad(folder)) is not None:
                raise DataError(f"{bad} is missing, truncated or corrupt. Download CIFAR-10 again.")
            return folder
    cache = paths.cache / "cifar10"
    if _first_bad(cache) is None:
        return cache
    archive = find(paths.root, [str(Path(name, TorchvisionCIFAR10.filename)) for name in FOLDERS])
    if archive is None:
        instructions = INSTRUCTIONS.format(root=paths.root)
        download("CIFAR-10", lambda: TorchvisionCIFAR10(str(cache), download=True), instructions)
        return cache
    if not check_integrity(archive, TorchvisionCIFAR10.tgz_md5):
        raise DataError(f"{archive} is truncated or corrupt. Delete it and download it again.")
    with tarfile.open(archive) as packed:
        packed.extractall(cache, filter="data")
    return cache


def read_cifar10(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return images `[N, 3, 32, 32]` (uint8) and labels, of the training then of the test set.

    The batches are pickles, which can run code. torchvision checks their MD5 before it opens them.
    """
    from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10

    parts = (TorchvisionCIFAR10(str(folder), train=train) for train in (True, False))
    train, test = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in parts
    )
    return train, test


def _first_bad(folder: Path) -> Path | None:
    """Return the first official file below `folder` that is missing or corrupt; None if all are intact."""
    from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10
    from torchvision.datasets.utils import check_integrity

    meta = (TorchvisionCIFAR10.meta["filename"], TorchvisionCIFAR10.meta["md5"])
    files = [*TorchvisionCIFAR10.train_list, *TorchvisionCIFAR10.test_list, meta]
    batches = folder / TorchvisionCIFAR10.base_folder
    return next((batches / name for name, md5 in files if not check_integrity(batches / name, md5)), None)
