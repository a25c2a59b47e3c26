"""Omniglot (Lake et al., 2015) at 28x28: Burda et al.'s file, or the official drawings without it."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebench.atomic import write_bytes
from vaebench.data.binarise import dynamically
from vaebench.data.cached import Pixels
from vaebench.data.files import download, find
from vaebench.data.images import ImageFiles, decode, list_images
from vaebench.data.mat import check_shape, read_mat
from vaebench.data.spec import DataError, DataPaths, DataSpec, Splits
from vaebench.ranges import Count, NonNegativeInt

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_ALPHABETS = 50
NUM_DRAWINGS = 32_460
SIDE, DRAWN_SIDE = 28, 105
GREY = 1 / 255
CHARDATA_URL = "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat"
CHARDATA_BLOB = "016a3536ffe5e1d38e42563a18d7a78bfaf643ec"  # git's hash of the content of that file
ARCHIVES = ("images_background.zip", "images_evaluation.zip")
INSTRUCTIONS = (
    "Put chardata.mat (github.com/yburda/iwae, datasets/OMNIGLOT) into {root}/omniglot/; or, for the variant "
    "{fallback}, the official images_background.zip and images_evaluation.zip (python/ of "
    "github.com/brendenlake/omniglot) into {root}/omniglot-py/ (VAEBENCH_DATA or data_root=... sets another "
    "root)."
)
Images = tuple[Tensor, Tensor]


class Omniglot:
    """Omniglot: the 24,345 training and 8,070 test images of chardata.mat.

    A seeded shuffle holds out `num_valid` of the training images. Without chardata.mat, the dataset is all
    32,460 official drawings, a quarter of them for testing. The sizes are nearly the same and so is the
    distribution, but the images differ, so this variant has its own name, `fallback_name`. Labels are the 50
    alphabets. Training images are binarised at every access, the others once, with a seed.
    """

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        num_valid: Count,
        fallback_name: str,
        fallback_num_valid: Count,
        split_seed: NonNegativeInt,
        binarisation_seed: NonNegativeInt,
    ) -> None:
        self.paths = paths
        self.split_seed = split_seed
        self.binarisation_seed = binarisation_seed
        self.fallback_name = fallback_name
        self.chardata = find(paths.root, ["omniglot/chardata.mat", "OMNIGLOT/chardata.mat", "chardata.mat"])
        self.chardata = self.chardata or find(paths.cache, ["omniglot/chardata.mat"])
        self.archives = [] if self.chardata else find_archives(paths)
        self.num_valid = fallback_num_valid if self.archives else num_valid
        name = fallback_name if self.archives else name
        self.spec = DataSpec(name=name, shape=(1, SIDE, SIDE), kind="binary", num_classes=NUM_ALPHABETS)

    def load(self) -> Splits:
        shuffle = torch.Generator().manual_seed(self.split_seed)
        if self.archives:
            listed = [list_images(path) for path in self.archives]
            x, y = read_drawings(listed, self.paths.cache / "omniglot")
            order = torch.randperm(len(x), generator=shuffle)
            num_test = len(x) // 4
            origin: dict[str, Any] = {"source": "Omniglot, the official drawings, area-averaged"}
            origin["files"] = [files.fingerprint for files in listed]
            test = x[order[-num_test:]], y[order[-num_test:]]
            order = order[:-num_test]
        else:
            path = self.chardata or self._downloaded()
            (x, y), test = read_chardata(path)
            order = torch.randperm(len(x), generator=shuffle)
            official = git_blob(path.read_bytes()) == CHARDATA_BLOB
            origin = {"source": "chardata.mat", "is_the_file_of_yburda_iwae": official}
        if self.num_valid >= len(order):
            option = "fallback_num_valid" if self.archives else "num_valid"
            raise DataError(
                f"dataset.{option} = {self.num_valid}: expected less than {len(order)}, the number of images "
                "for training and validation."
            )
        train, valid = ((x[part], y[part]) for part in (order[: -self.num_valid], order[-self.num_valid :]))
        origin["split_seed"] = self.split_seed
        return dynamically(train, valid, test, GREY, self.binarisation_seed, origin)

    def _downloaded(self) -> Path:
        path = self.paths.cache / "omniglot/chardata.mat"

        def fetch() -> None:
            with urlopen(CHARDATA_URL, timeout=60) as answer:
                content = answer.read()
            if git_blob(content) != CHARDATA_BLOB:
                raise OSError(f"{CHARDATA_URL} has changed: its content has another hash")
            write_bytes(path, content)

        instructions = INSTRUCTIONS.format(root=self.paths.root, fallback=self.fallback_name)
        download("Omniglot's chardata.mat", fetch, instructions)
        return path


def read_chardata(path: Path) -> tuple[Images, Images]:
    """Return grey levels `[N, 1, 28, 28]` (uint8) and alphabets, of the training then of the test set.

    Each column of an array is an image in [0, 1], stored column by column. It is rounded to 256 levels.
    """
    parts = []
    names = ("data", "target", "testdata", "testtarget")
    data, target, test_data, test_target = read_mat(path, *names)
    for columns, classes, name in ((data, target, "data"), (test_data, test_target, "testdata")):
        check_shape(path, name, columns, (SIDE**2, None))
        check_shape(path, f"the target of {name}", classes, (NUM_ALPHABETS, columns.shape[1]))
        if not (columns.min() >= 0 and columns.max() <= 1):  # also of NaN
            raise DataError(
                f"{path}: {name} has values outside [0, 1], unlike the official file. Download it again."
            )
        images = columns.T.reshape(-1, 1, SIDE, SIDE).swapaxes(2, 3)
        x = torch.from_numpy(np.rint(images * 255).astype(np.uint8))
        parts.append((x, torch.from_numpy(classes.argmax(0))))
    return parts[0], parts[1]


def find_archives(paths: DataPaths) -> list[Path]:
    """Return the paths of both archives of drawings, or none. Raises DataError if only one exists."""
    folders = ("omniglot-py/", "omniglot/", "")
    paths_or_none = [find(paths.root, [folder + name for folder in folders]) for name in ARCHIVES]
    archives = [path for path in paths_or_none if path is not None]
    if len(archives) == 1:
        missing = next(name for name, path in zip(ARCHIVES, paths_or_none, strict=True) if path is None)
        raise DataError(f"Found {archives[0]}, but not {missing}. Add it, or remove the first.")
    return archives


def read_drawings(listed: list[ImageFiles], cache: Path) -> Images:
    """Return grey levels `[N, 1, 28, 28]` (uint8) and alphabets of all drawings, by archive and file name."""
    drawings = [PurePosixPath(name) for files in listed for name in files.names]
    alphabets = [name.parts[-3] if len(name.parts) > 2 else "" for name in drawings]
    classes = sorted(set(alphabets))
    if (len(drawings), len(classes)) != (NUM_DRAWINGS, NUM_ALPHABETS):
        where = " and ".join(str(files.source) for files in listed)
        raise DataError(
            f"{where} hold {len(drawings):,} drawings of {len(classes)} alphabets; the official archives "
            f"hold {NUM_DRAWINGS:,} of {NUM_ALPHABETS}. Download them again."
        )
    shape, recipe = (1, SIDE, SIDE), "ink, area-averaged"
    x = np.concatenate([decode(files, shape, ink, recipe, cache) for files in listed])
    number = {name: i for i, name in enumerate(classes)}
    return torch.from_numpy(x), torch.tensor([number[name] for name in alphabets])


def ink(drawing: Image) -> Pixels:
    """Return the fraction of ink in each of 28x28 pixels, times 255, `[1, 28, 28]`."""
    if drawing.size != (DRAWN_SIDE, DRAWN_SIDE):
        raise DataError(
            f"expected {DRAWN_SIDE}x{DRAWN_SIDE} pixels, not {drawing.size[0]}x{drawing.size[1]}."
        )
    paper = np.asarray(drawing.convert("L"), dtype=np.float64) / 255
    # A fraction is a multiple of 1/225. So 255 times it never ends in 1/2, and all machines round it equally.
    fraction = AREAS @ (1 - paper) @ AREAS.T
    return np.rint(255 * fraction).astype(np.uint8)[None]


def area_weights(size: int, target: int) -> NDArray[np.float64]:
    """Return weights `[target, size]`: the fraction of each target pixel that each source pixel covers."""
    edges = np.arange(size + 1) * target / size
    left, right = np.arange(target)[:, None], np.arange(1, target + 1)[:, None]
    return np.clip(np.minimum(edges[1:], right) - np.maximum(edges[:-1], left), 0, None)


AREAS = area_weights(DRAWN_SIDE, SIDE)


def git_blob(content: bytes) -> str:
    """Return the SHA-1 that git computes for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
