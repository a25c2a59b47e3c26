"""Street View House Numbers, cropped digits (Netzer et al., 2011)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebench.data.binarise import content_hash
from vaebench.data.cached import Pixels, cached
from vaebench.data.files import download, find
from vaebench.data.mat import check_shape, read_mat
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits

NUM_VALID = 20_000  # the first of "extra", as in Zheng et al. (2019)
LEVEL = 1 / 255
FOLDERS = ("svhn/", "SVHN/", "")
INSTRUCTIONS = (
    "Put the official train_32x32.mat, extra_32x32.mat and test_32x32.mat (ufldl.stanford.edu/housenumbers) "
    "into {root}/svhn/ (VAEBENCH_DATA or data_root=... names another root)."
)


class SVHN:
    """73,257 / 20,000 / 26,032 images of 3x32x32 and 256 levels; the first 20,000 of "extra" validate."""

    def __init__(self, paths: DataPaths, *, name: str) -> None:
        self.paths = paths
        self.spec = DataSpec(name=name, shape=(3, 32, 32), kind="uint8", num_classes=10)

    def load(self) -> Splits:
        train, extra, test = (svhn_file(self.paths, part) for part in ("train", "extra", "test"))
        first = Split(*read_svhn(train), scale=LEVEL)
        valid = Split(*read_start(extra, NUM_VALID, self.paths.cache / "svhn"), scale=LEVEL)
        third = Split(*read_svhn(test), scale=LEVEL)
        origin = {"source": "SVHN, the official files", "test_hash": content_hash(third.x)}
        return Splits(first, valid, third, origin)


def svhn_file(paths: DataPaths, part: str) -> Path:
    """Where an official file is; it is downloaded into the cache where the data root has none."""
    name = f"{part}_32x32.mat"
    found = find(paths.root, [folder + name for folder in FOLDERS])
    if found is not None:
        return found
    from torchvision.datasets import SVHN as TorchvisionSVHN
    from torchvision.datasets.utils import download_url

    folder = paths.cache / "svhn"
    url, _, md5 = TorchvisionSVHN.split_list[part]
    # Nothing is fetched where an intact file is there already.
    download(name, lambda: download_url(url, folder, name, md5), INSTRUCTIONS.format(root=paths.root))
    return folder / name


def read_svhn(path: Path) -> tuple[Tensor, Tensor]:
    """Images `[N, 3, 32, 32]` (uint8) and digits of an official file."""
    digits = read_digits(path)
    images = np.ascontiguousarray(read_images(path, len(digits)))
    return torch.from_numpy(images), torch.from_numpy(digits)


def read_start(path: Path, num: int, cache: Path) -> tuple[Tensor, Tensor]:
    """The first `num` of a file that takes 1.6 GB of memory to read: read once, then kept in `cache`."""
    digits, stat = read_digits(path), path.stat()
    kept = cache / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}-{num}.npy"
    shape = (min(num, len(digits)), 3, 32, 32)
    images = cached(kept, shape, lambda: read_images(path, len(digits))[:num].copy())
    return torch.from_numpy(images), torch.from_numpy(digits[:num])


def read_digits(path: Path) -> NDArray[np.int64]:
    """`[N]`; the files call the digit 0 "10"."""
    (y,) = read_mat(path, "y")
    check_shape(path, "y", y, (None, 1))
    if y.min() < 1 or y.max() > 10:
        raise DataError(f"{path}: expected y in 1 to 10, as in the official file.")
    return y[:, 0].astype(np.int64) % 10


def read_images(path: Path, num: int) -> Pixels:
    """All `[num, 3, 32, 32]`; the file counts the images along its last axis."""
    (x,) = read_mat(path, "X")
    check_shape(path, "X", x, (32, 32, 3, num))
    if x.dtype != np.uint8:
        raise DataError(f"{path}: expected X in bytes, as in the official file, not {x.dtype}.")
    images: Pixels = x.transpose(3, 2, 0, 1)  # a view
    return images
