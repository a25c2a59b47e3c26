"""Cache of decoded pixels, since decoding is slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaebench.atomic import replacing

Pixels = NDArray[np.uint8]


def cached(path: Path, shape: tuple[int, ...], make: Callable[[], Pixels]) -> Pixels:
    """Load the array from `path`; create it with `make()` and save it if it is missing or damaged.

    The content is not checked, only shape and type. The file name must contain a hash of everything that the
    pixels depend on, or an outdated file is used.
    """
    try:
        pixels: Pixels = np.load(path, allow_pickle=False)
        if (pixels.shape, pixels.dtype) == (shape, np.uint8):
            return pixels
    except (OSError, EOFError, ValueError):
        pass  # missing or damaged
    pixels = make()
    with replacing(path) as file:
        np.save(file, pixels)
    return pixels
