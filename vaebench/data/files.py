"""Finding, checking and unpacking dataset files: every failure names the file and says what to do."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from vaebench.data.spec import DataError


def find(root: Path, candidates: Iterable[str]) -> Path | None:
    """The first of `candidates` (paths relative to `root`) that is a file."""
    return next((path for name in candidates if (path := root / name).is_file()), None)


def check_sha256(path: Path, expected: str) -> None:
    """Raise DataError unless the file's content has the official hash."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise DataError(
            f"{path} is truncated or corrupt: its SHA-256 is {digest.hexdigest()[:16]}..., "
            f"the official file's is {expected[:16]}... Delete it and fetch it again."
        )


def gunzip(source: Path, target: Path) -> Path:
    """Unpack `source` to `target`, which appears whole or not at all."""
    try:
        with gzip.open(source, "rb") as packed:
            content = packed.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{source} is truncated or corrupt ({error}). Delete it and fetch it again."
        ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    partial.write_bytes(content)
    partial.replace(target)
    return target


def download(what: str, fetch: Callable[[], object], instructions: str) -> None:
    """Run `fetch`; where there is no network, say which file goes where instead."""
    try:
        fetch()
    except (
        OSError,
        RuntimeError,
    ) as error:  # urllib's URLError is an OSError; torchvision raises RuntimeError
        raise DataError(
            f"{what} is not here and could not be downloaded ({error}).\n{instructions}"
        ) from error
