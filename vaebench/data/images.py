"""Images in a folder or a .zip: listed without being read, decoded without being unpacked, and cached."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np
from tqdm import tqdm

from vaebench.data.cached import Pixels, cached
from vaebench.data.spec import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ImageFiles:
    """Every file of a folder or a .zip, in the order of its name; hidden ones are left out."""

    source: Path
    names: tuple[str, ...]
    """Paths below `source`, with forward slashes."""
    fingerprint: str
    """Changes with any file: hashes names, sizes and a .zip's checksums or a folder's times of change."""

    def __len__(self) -> int:
        return len(self.names)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file. Raises DataError where a .zip is damaged."""
        if self.source.is_dir():
            for name in self.names:
                yield name, (self.source / name).read_bytes()
            return
        with ZipFile(self.source) as archive:
            for name in self.names:
                try:
                    content = archive.read(name)
                except Exception as error:  # zipfile passes on what its decompressors raise
                    raise DataError(
                        f"{name} in {self.source} is corrupt ({error}). Fetch the archive again."
                    ) from error
                yield name, content


def list_images(source: Path) -> ImageFiles:
    """The files below the folder or .zip `source`. Raises DataError where there is none."""
    if source.is_dir():
        facts = _of_folder(source)
    elif source.is_file():
        facts = _of_zip(source)
    else:
        raise DataError(f"{source} is neither a folder nor a .zip of images: nothing is there.")
    facts = sorted(fact for fact in facts if not _hidden(fact[0]))
    if not facts:
        raise DataError(f"{source} holds no images.")
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return ImageFiles(source, tuple(name for name, *_ in facts), digest)


def decode(
    files: ImageFiles, shape: tuple[int, ...], pixels: Callable[[Image], Pixels], recipe: str, cache: Path
) -> Pixels:
    """`pixels` of every image, uint8 `[N, *shape]`, in the order of the files.

    Done once: the result is kept in the folder `cache` under a name that hashes the files and `recipe`, which
    says what `pixels` does. Raises DataError, naming the file, where one is no image.
    """
    key = hashlib.sha256(f"{files.fingerprint} {recipe} {shape}".encode()).hexdigest()[:16]

    def make() -> Pixels:
        x = np.empty((len(files), *shape), dtype=np.uint8)
        bar = tqdm(files.contents(), f"decoding {files.source.name}", len(files), leave=False, disable=None)
        for i, (name, content) in enumerate(bar):
            x[i] = _pixels_of(content, pixels, f"{name} in {files.source}")
        return x

    return cached(cache / f"{files.source.stem}-{key}.npy", (len(files), *shape), make)


def _pixels_of(content: bytes, pixels: Callable[[Image], Pixels], name: str) -> Pixels:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return pixels(image)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's readers raise many kinds
        raise DataError(f"{name} is not an image or is damaged ({type(error).__name__}: {error}).") from error


def _of_folder(source: Path) -> list[tuple[str, int, int]]:
    facts = []
    try:
        for folder, below, names in os.walk(source, followlinks=True, onerror=_raise):
            here = Path(folder)
            if any(here.resolve() == above.resolve() for above in here.parents):
                below.clear()  # a link to a folder that it is in
                continue
            for path in (here / name for name in names):
                stat = path.stat()
                facts.append((path.relative_to(source).as_posix(), stat.st_size, stat.st_mtime_ns))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error
    return facts


def _raise(error: OSError) -> None:
    raise error


def _of_zip(source: Path) -> list[tuple[str, int, int]]:
    try:
        with ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except Exception as error:  # whatever a file that is no archive makes of zipfile
        raise DataError(
            f"{source} is not a .zip, or is truncated or corrupt ({error}). Delete it and fetch it again."
        ) from error
    return [(entry.filename, entry.file_size, entry.CRC) for entry in entries]


def _hidden(name: str) -> bool:
    """What operating systems leave behind: .DS_Store, __MACOSX/, .Trash/."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
