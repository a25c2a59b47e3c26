"""CelebA (Liu et al., 2015): aligned and cropped faces, from the official archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vaebench.data.binarise import content_hash
from vaebench.data.cached import Pixels
from vaebench.data.files import download
from vaebench.data.image_folder import LEVEL, fit
from vaebench.data.images import ImageFiles, decode, list_images
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits
from vaebench.ranges import Count

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_IMAGES = 202_599
DRAWN_SIZE = (178, 218)  # width and height
FOLDERS = ("", "celeba", "CelebA")
IMAGES = "img_align_celeba"
INSTRUCTIONS = (
    "Put the official img_align_celeba.zip (mmlab.ie.cuhk.edu.hk/projects/CelebA.html), or the folder "
    "img_align_celeba that it holds, into {root}/celeba/; VAEBENCH_DATA or data_root=... sets another root. "
    "To use other images, stored under their own name: dataset=image_folder dataset.path=<a folder or .zip "
    "of images> dataset.size=64."
)


class CelebA:
    """CelebA with the central `crop` x `crop` pixels of each face, resized to `size` x `size`, 256 levels.

    In the order of the files, the first four fifths are for training and the last fifth for testing, as in
    Zhao et al.'s code (the official partition is 162,770 / 19,867 / 19,962). The last `num_valid` of the
    training images are the validation set. There are no labels, since the forty attributes are not classes.
    """

    def __init__(self, paths: DataPaths, *, name: str, crop: Count, size: Count, num_valid: Count) -> None:
        if crop > min(DRAWN_SIZE):
            raise DataError(
                f"dataset.crop = {crop}: expected at most {min(DRAWN_SIZE)}, the shorter side of the images."
            )
        self.paths = paths
        self.crop = crop
        self.num_valid = num_valid
        self.spec = DataSpec(name=name, shape=(3, size, size), kind="uint8", num_classes=None)

    def load(self) -> Splits:
        files = celeba_files(self.paths)
        size = self.spec.shape[-1]

        def pixels(image: Image) -> Pixels:
            return face(image, self.crop, size)

        recipe = f"middle {self.crop}"
        x = torch.from_numpy(decode(files, self.spec.shape, pixels, recipe, self.paths.cache / "celeba"))
        num_train = len(x) * 4 // 5
        if self.num_valid >= num_train:
            raise DataError(
                f"dataset.num_valid = {self.num_valid}: expected less than {num_train}, the number of images "
                "for training and validation."
            )
        test = x[num_train:]
        return Splits(
            train=Split(x[: num_train - self.num_valid], None, scale=LEVEL),
            valid=Split(x[num_train - self.num_valid : num_train], None, scale=LEVEL),
            test=Split(test, None, scale=LEVEL),
            origin={
                "source": "CelebA, aligned and cropped",
                "files": files.fingerprint,
                "train_hash": content_hash(x[:num_train]),
                "test_hash": content_hash(test),
            },
        )


def celeba_files(paths: DataPaths) -> ImageFiles:
    """Return the official images in order, from a folder or an archive below the root, or downloaded.

    Raises DataError if images are missing.
    """
    files = list_images(_found(paths.root) or _downloaded(paths))
    if len(files) != NUM_IMAGES:
        raise DataError(
            f"{files.source} holds {len(files):,} files; expected the {NUM_IMAGES:,} images of CelebA. "
            "Unpack or download it again."
        )
    return files


def face(image: Image, crop: int, size: int) -> Pixels:
    """Return the central `crop` x `crop` pixels of an aligned face, resized to `[3, size, size]`."""
    width, height = image.size
    if image.size != DRAWN_SIZE:
        raise DataError(f"expected {DRAWN_SIZE[0]}x{DRAWN_SIZE[1]} pixels, not {width}x{height}.")
    left, top = (width - crop) // 2, (height - crop) // 2
    return fit(image.crop((left, top, left + crop, top + crop)), size, 3)


def _found(root: Path) -> Path | None:
    places = [root / folder / (IMAGES + suffix) for folder in FOLDERS for suffix in ("", ".zip")]
    return next((path for path in places if path.exists()), None)


def _downloaded(paths: DataPaths) -> Path:
    """Return the folder of the images in the cache; torchvision downloads them if they are missing."""
    from torchvision.datasets import CelebA as TorchvisionCelebA

    folder = paths.cache / "celeba" / TorchvisionCelebA.base_folder / IMAGES
    if not folder.is_dir():
        instructions = INSTRUCTIONS.format(root=paths.root)
        download(
            "CelebA", lambda: TorchvisionCelebA(str(paths.cache / "celeba"), download=True), instructions
        )
    return folder
