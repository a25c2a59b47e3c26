"""Finding, checking and unpacking of dataset files; each error names the file and says what to do."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from vaebench.atomic import write_bytes
from vaebench.data.spec import DataError


def find(root: Path, candidates: Iterable[str]) -> Path | None:
    """Return the first of `candidates` (paths relative to `root`) that is a file; None if none is."""
    return next((path for name in candidates if (path := root / name).is_file()), None)


def check_sha256(path: Path, expected: str) -> None:
    """Raise DataError if the SHA-256 of the file is not the official one."""
    with path.open("rb") as file:
        _compare(hashlib.file_digest(file, "sha256").hexdigest(), expected, path)


def unpack(source: Path, target: Path, expected: str) -> None:
    """Write the content of `source`, decompressed if it is a .gz file, to `target`.

    Raises DataError if the content does not have the official hash.
    """
    try:
        content = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{source} is truncated or corrupt ({error}). Delete it and download it again."
        ) from error
    _compare(hashlib.sha256(content).hexdigest(), expected, source)
    write_bytes(target, content)


def _compare(digest: str, expected: str, path: Path) -> None:
    if digest != expected:
        raise DataError(
            f"{path} is truncated or corrupt: the SHA-256 of its content is {digest[:16]}..., expected "
            f"{expected[:16]}... Delete it and download it again."
        )


def download(what: str, fetch: Callable[[], object], instructions: str) -> None:
    """Run `fetch`; if it fails, raise DataError with `instructions` for a manual download."""
    try:
        fetch()
    except DataError:  # a downloaded file is wrong
        raise
    except Exception as error:  # urllib, http and torchvision raise many types
        raise DataError(
            f"{what} is not here and could not be downloaded ({error}).\n{instructions}"
        ) from error
