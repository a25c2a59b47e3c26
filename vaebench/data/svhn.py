"""Street View House Numbers: cropped digits (Netzer et al., 2011)."""

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
    "into {root}/svhn/ (VAEBENCH_DATA or data_root=... sets another root)."
)


class SVHN:
    """SVHN: 73,257 / 20,000 / 26,032 images of 3x32x32 and 256 levels.

    The validation set is the first 20,000 images of "extra".
    """

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
    """Return the path of an official file; it is downloaded into the cache if the data root has none."""
    name = f"{part}_32x32.mat"
    path = find(paths.root, [folder + name for folder in FOLDERS])
    if path is not None:
        return path
    from torchvision.datasets import SVHN as TorchvisionSVHN
    from torchvision.datasets.utils import download_url

    folder = paths.cache / "svhn"
    url, _, md5 = TorchvisionSVHN.split_list[part]
    # download_url downloads nothing if the intact file exists.
    download(name, lambda: download_url(url, folder, name, md5), INSTRUCTIONS.format(root=paths.root))
    return folder / name


def read_svhn(path: Path) -> tuple[Tensor, Tensor]:
    """Return images `[N, 3, 32, 32]` (uint8) and digits of an official file."""
    digits = read_digits(path)
    images = np.ascontiguousarray(read_images(path, len(digits)))
    return torch.from_numpy(images), torch.from_numpy(digits)


def read_start(path: Path, num: int, cache: Path) -> tuple[Tensor, Tensor]:
    """Return the first `num` images and digits of a file; the images are cached.

    Reading the file takes 1.6 GB of memory.
    """
    digits, stat = read_digits(path), path.stat()
    copy = cache / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}-{num}.npy"
    shape = (min(num, len(digits)), 3, 32, 32)
    images = cached(copy, shape, lambda: read_images(path, len(digits))[:num].copy())
    return torch.from_numpy(images), torch.from_numpy(digits[:num])


def read_digits(path: Path) -> NDArray[np.int64]:
    """Return the digits `[N]`; the files use the label 10 for the digit 0."""
    (y,) = read_mat(path, "y")
    check_shape(path, "y", y, (None, 1))
    if y.min() < 1 or y.max() > 10:
        raise DataError(f"{path}: y has values outside 1 to 10, unlike the official file. Download it again.")
    return y[:, 0].astype(np.int64) % 10


def read_images(path: Path, num: int) -> Pixels:
    """Return all images, `[num, 3, 32, 32]`; in the file the last axis counts the images."""
    (x,) = read_mat(path, "X")
    check_shape(path, "X", x, (32, 32, 3, num))
    if x.dtype != np.uint8:
        raise DataError(
            f"{path}: X has type {x.dtype}, expected uint8 as in the official file. Download it again."
        )
    images: Pixels = x.transpose(3, 2, 0, 1)  # a view
    return images
