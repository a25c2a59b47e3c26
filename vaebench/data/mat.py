"""Reader of MATLAB's .mat files (version 5), the format of Omniglot and SVHN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vaebench.data.spec import DataError


def read_mat(path: Path, *names: str) -> list[NDArray[Any]]:
    """Return the arrays `names` of the file. Raises DataError if it is damaged or an array is missing."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=names)
    except Exception as error:  # scipy raises many types on a damaged file
        raise DataError(
            f"{path} is truncated or corrupt ({type(error).__name__}: {error}). Delete it and download it "
            "again."
        ) from error
    if missing := [name for name in names if name not in content]:
        raise DataError(
            f"{path} has no array {missing[0]!r}: it is truncated, or not the official file. Download it "
            "again."
        )
    return [content[name] for name in names]


def check_shape(path: Path, name: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    """Raise DataError unless the array has the expected shape; None matches any size except zero."""
    sizes_fit = len(array.shape) == len(expected) and all(
        size > 0 if required is None else size == required
        for size, required in zip(array.shape, expected, strict=True)
    )
    if not sizes_fit:
        sizes = ", ".join("N" if size is None else str(size) for size in expected)
        raise DataError(f"{path}: {name} has shape {list(array.shape)}, expected [{sizes}].")
