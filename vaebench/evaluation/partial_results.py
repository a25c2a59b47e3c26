"""What a long estimate has so far, kept on disk, so that an interrupted one goes on from there."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import numpy as np

from vaebench.atomic import write_bytes

SAVE_SECONDS = 20.0
FOLDER = "scratch"


class Scratch:
    """One file of arrays in a run's `scratch/`, named by everything that decides what is in it."""

    def __init__(self, directory: Path, name: str, version: int, *options: object) -> None:
        """`version` is the evaluator's, and `options` are those of the estimate, and its chunks' sizes where
        random numbers go by chunk."""
        file = "_".join(map(str, (name, f"v{version}", *options)))
        self.path: Path = directory / FOLDER / f"{file}.npz"
        self._saved_at = monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """What an earlier attempt left, or None."""
        if not self.path.exists():
            return None
        with np.load(self.path) as stored:
            return dict(stored)

    @property
    def is_due(self) -> bool:
        """Long enough after the last save for another."""
        return monotonic() - self._saved_at > SAVE_SECONDS

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        save_npz(self.path, arrays)
        self._saved_at = monotonic()

    def remove(self) -> None:
        """To be called once the whole evaluation is done."""
        self.path.unlink(missing_ok=True)


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
