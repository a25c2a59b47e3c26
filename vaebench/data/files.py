"""Finding, checking and unpacking dataset files: every failure names the file and says what to do."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from vaebench.atomic import write_bytes
from vaebench.data.spec import DataError


def find(root: Path, candidates: Iterable[str]) -> Path | None:
    """The first of `candidates` (paths relative to `root`) that is a file."""
    return next((path for name in candidates if (path := root / name).is_file()), None)


def check_sha256(path: Path, expected: str) -> None:
    """Raise DataError unless the file's content has the official hash."""
    with path.open("rb") as file:
        _compare(hashlib.file_digest(file, "sha256").hexdigest(), expected, path)


def unpack(source: Path, target: Path, expected: str) -> None:
    """The content of `source`, a .gz file or not, as `target`, once it has the official hash."""
    try:
        content = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{source} is truncated or corrupt ({error}). Delete it and fetch it again."
        ) from error
    _compare(hashlib.sha256(content).hexdigest(), expected, source)
    write_bytes(target, content)


def _compare(digest: str, expected: str, path: Path) -> None:
    if digest != expected:
        raise DataError(
            f"{path} is truncated or corrupt: its content's SHA-256 is {digest[:16]}..., the official "
            f"one is {expected[:16]}... Delete it and fetch it again."
        )


def download(what: str, fetch: Callable[[], object], instructions: str) -> None:
    """Run `fetch`; where there is no network, say which file goes where instead."""
    try:
        fetch()
    except DataError:  # of what did arrive
        raise
    except Exception as error:  # of urllib, http, torchvision and what these call there are many kinds
        raise DataError(
            f"{what} is not here and could not be downloaded ({error}).\n{instructions}"
        ) from error
