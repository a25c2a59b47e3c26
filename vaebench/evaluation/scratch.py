"""What a long estimate has so far, kept on disk, so that an interrupted one goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import numpy as np

from vaebench.evaluation.base import Context, save_npz

SAVE_SECONDS = 20.0


class Scratch:
    """One file of arrays in the run's `scratch/`, named by everything that decides what is in it."""

    def __init__(self, context: Context, name: str, *options: object) -> None:
        """`options` are those of the estimate, and its chunks' sizes where random numbers go by chunk."""
        file = "_".join(map(str, (name, *options)))
        self.path: Path = context.directory / "scratch" / f"{file}.npz"
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
        save_npz(self.path, dict(arrays))
        self._saved_at = monotonic()

    def remove(self) -> None:
        """To be called once the whole evaluation is done."""
        self.path.unlink(missing_ok=True)
