"""Images in a folder or a .zip: list, decode and cache them; a .zip is not unpacked."""

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
    """All files of a folder or a .zip except hidden ones, sorted by name."""

    source: Path
    names: tuple[str, ...]
    """Paths relative to `source`, with forward slashes."""
    fingerprint: str
    """Hash of names, sizes, and checksums (.zip) or modification times (folder)."""

    def __len__(self) -> int:
        return len(self.names)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each file. Raises DataError if a .zip is damaged."""
        if self.source.is_dir():
            for name in self.names:
                yield name, (self.source / name).read_bytes()
            return
        with ZipFile(self.source) as archive:
            for name in self.names:
                try:
                    content = archive.read(name)
                except Exception as error:  # the decompressors of zipfile raise many types
                    raise DataError(
                        f"{name} in {self.source} is corrupt ({error}). Download the archive again."
                    ) from error
                yield name, content


def list_images(source: Path) -> ImageFiles:
    """List the files of the folder or .zip `source`. Raises DataError if there are none."""
    if source.is_dir():
        facts = _of_folder(source)
    elif source.is_file():
        facts = _of_zip(source)
    else:
        raise DataError(f"{source} does not exist; expected a folder or a .zip of images.")
    facts = sorted(fact for fact in facts if not _hidden(fact[0]))
    if not facts:
        raise DataError(f"{source} holds no images.")
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return ImageFiles(source, tuple(name for name, *_ in facts), digest)


def decode(
    files: ImageFiles, shape: tuple[int, ...], pixels: Callable[[Image], Pixels], recipe: str, cache: Path
) -> Pixels:
    """Return `pixels` of every image, uint8 `[N, *shape]`, in the order of the files.

    The result is saved in the folder `cache`. Its name contains a hash of the files and of `recipe`, a
    description of `pixels`. Raises DataError, naming the file, if a file is not an image.
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
    except Exception as error:  # Pillow's readers raise many types
        raise DataError(f"{name} is not an image or is damaged ({type(error).__name__}: {error}).") from error


def _of_folder(source: Path) -> list[tuple[str, int, int]]:
    facts = []
    try:
        for folder, below, names in os.walk(source, followlinks=True, onerror=_raise):
            here = Path(folder)
            if any(here.resolve() == above.resolve() for above in here.parents):
                below.clear()  # a link to one of its own parents
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
    except Exception as error:  # zipfile raises many types on a file that is not an archive
        raise DataError(
            f"{source} is not a .zip, or is truncated or corrupt ({error}). Delete it and download it again."
        ) from error
    return [(entry.filename, entry.file_size, entry.CRC) for entry in entries]


def _hidden(name: str) -> bool:
    """Return true for files of the operating system: .DS_Store, __MACOSX/, .Trash/."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
