"""Dataset of any folder or .zip of images; subfolders may define the split and the classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from vaebench.data.binarise import content_hash, dynamically
from vaebench.data.cached import Pixels
from vaebench.data.images import decode, list_images
from vaebench.data.spec import DataError, DataPaths, DataSpec, Split, Splits
from vaebench.ranges import Count, NonNegativeInt, UnitInterval

if TYPE_CHECKING:
    from PIL.Image import Image

LEVEL = 1 / 255
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
Folders = tuple[str, ...]


class ImageFolder:
    """Images of 256 levels, resized so that the shorter side is `size`, with the centre cropped.

    The class of an image is the name of the folder that contains it. Top-level folders train/, valid/ (or
    val/) and test/ define the split. If valid/ or test/ is missing, `valid_fraction` or `test_fraction` of
    the other images is held out by a seeded shuffle.
    """

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        path: str,
        size: Count,
        channels: Literal[1, 3],
        binarisation: Literal["none", "dynamic"],
        binarisation_seed: NonNegativeInt,
        valid_fraction: UnitInterval,
        test_fraction: UnitInterval,
        split_seed: NonNegativeInt,
    ) -> None:
        self.cache = paths.cache / "images"
        self.binarisation_seed = binarisation_seed
        self.files = list_images(paths.root / Path(path).expanduser())
        splits, self.labels = read_folders(self.files.names)
        self.parts = partition(splits, valid_fraction, test_fraction, split_seed)
        for part, members in self.parts.items():
            if len(members) == 0:
                raise DataError(
                    f"{self.files.source} has {len(self.files)} images, and none is left for {part}; "
                    "change dataset.valid_fraction or dataset.test_fraction."
                )
        self.spec = DataSpec(
            name=name,
            shape=(channels, size, size),
            kind="uint8" if binarisation == "none" else "binary",
            num_classes=None if self.labels is None else 1 + max(self.labels),
        )

    def load(self) -> Splits:
        channels, size, _ = self.spec.shape

        def pixels(image: Image) -> Pixels:
            return fit(image, size, channels)

        x = torch.from_numpy(decode(self.files, self.spec.shape, pixels, "shorter side, middle", self.cache))
        y = None if self.labels is None else torch.tensor(self.labels)
        train, valid, test = (
            (x[self.parts[part]], None if y is None else y[self.parts[part]])
            for part in ("train", "valid", "test")
        )
        origin: dict[str, Any] = {"source": str(self.files.source), "files": self.files.fingerprint}
        if self.spec.kind == "binary":
            return dynamically(train, valid, test, LEVEL, self.binarisation_seed, origin)
        first, second, third = (Split(*part, scale=LEVEL) for part in (train, valid, test))
        return Splits(
            first,
            second,
            third,
            origin | {"train_hash": content_hash(first.x), "test_hash": content_hash(third.x)},
        )


def read_folders(names: tuple[str, ...]) -> tuple[list[str | None], list[int] | None]:
    """Return the split of each image, None if folders do not define it, and the labels.

    The labels are None if there are fewer than two classes.
    """
    folders: list[Folders] = [PurePosixPath(name).parts[:-1] for name in names]
    shared = 0
    while len({folder[: shared + 1] for folder in folders}) == 1 and len(folders[0]) > shared:
        shared += 1
    folders = [folder[shared:] for folder in folders]
    first = {folder[0] if folder else "" for folder in folders}
    splits: list[str | None] = [None] * len(folders)
    if "train" in first and first <= SPLIT_FOLDERS.keys():
        splits = [SPLIT_FOLDERS[folder[0]] for folder in folders]
        folders = [folder[1:] for folder in folders]
    parents = [folder[-1] if folder else "" for folder in folders]
    classes = sorted(set(parents))
    if len(classes) < 2 or "" in classes:
        return splits, None
    return splits, [classes.index(name) for name in parents]


def partition(
    splits: list[str | None], valid_fraction: float, test_fraction: float, seed: int
) -> dict[str, list[int]]:
    """Return the indices of train, valid and test images: by `splits`, the rest by a shuffle with `seed`."""
    order = torch.randperm(len(splits), generator=torch.Generator().manual_seed(seed)).tolist()
    parts = {part: [i for i in order if splits[i] == part] for part in ("train", "valid", "test")}
    rest = parts["train"] or order
    num_test = 0 if parts["test"] else round(test_fraction * len(rest))
    num_valid = 0 if parts["valid"] else round(valid_fraction * len(rest))
    return {
        "train": rest[num_test + num_valid :],
        "valid": parts["valid"] or rest[num_test : num_test + num_valid],
        "test": parts["test"] or rest[:num_test],
    }


def fit(image: Image, size: int, channels: int) -> Pixels:
    """Resize the image so that its shorter side is `size` (antialiased); return the centre crop.

    The crop is `[channels, size, size]`. Raises DataError if the image has more than 8 bits per channel.
    """
    from PIL.Image import Resampling

    if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
        raise DataError(
            f"pixels have mode {image.mode}, with more than 8 bits per channel; convert the images to 8 bits."
        )
    image = image.convert("RGB" if channels == 3 else "L")
    shrink = size / min(image.size)
    width, height = (max(size, round(side * shrink)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Resampling.BILINEAR)  # averages pixels when it shrinks
    left, top = (width - size) // 2, (height - size) // 2
    x = np.asarray(image.crop((left, top, left + size, top + size)))
    return x.reshape(size, size, channels).transpose(2, 0, 1)
