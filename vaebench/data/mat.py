"""MATLAB's .mat files (version 5), as Omniglot's and SVHN's official ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vaebench.data.spec import DataError


def read_mat(path: Path, *names: str) -> list[NDArray[Any]]:
    """The arrays `names` of the file, in that order. Raises DataError where it is damaged or lacks one."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=names)
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise DataError(
            f"{path} is truncated or corrupt ({type(error).__name__}: {error}). Delete it and fetch it again."
        ) from error
    if missing := [name for name in names if name not in content]:
        raise DataError(
            f"{path} has no array {missing[0]!r}: it is truncated, or not the official file. Fetch it again."
        )
    return [content[name] for name in names]


def check_shape(path: Path, name: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    """Raise DataError unless the array has the expected shape; None fits any size but zero."""
    sizes_fit = len(array.shape) == len(expected) and all(
        size == wanted if wanted is not None else size > 0
        for size, wanted in zip(array.shape, expected, strict=True)
    )
    if not sizes_fit:
        wanted = ", ".join("N" if size is None else str(size) for size in expected)
        raise DataError(f"{path}: {name} has shape {list(array.shape)}, expected [{wanted}].")
