"""Partial results of a long estimate, saved so that an interrupted evaluation resumes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from vaebench import layout
from vaebench.atomic import write_bytes

SAVE_SECONDS = 20.0


class PartialResults:
    """File of arrays in a run's `scratch/`; its name contains everything that determines the numbers."""

    def __init__(self, directory: Path, name: str, version: int, *options: object) -> None:
        """`version` is that of the evaluator. `options` are the estimate's options, and the sizes of its
        chunks if random numbers are seeded per chunk."""
        file = "_".join(map(str, (name, f"v{version}", *options)))
        self.path: Path = directory / layout.PARTIAL_RESULTS / f"{file}.npz"
        self._saved_at = monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """Return the arrays that an earlier attempt saved, or None."""
        if not self.path.exists():
            return None
        with np.load(self.path) as stored:
            return dict(stored)

    @property
    def is_due(self) -> bool:
        """True if the last save is more than SAVE_SECONDS ago."""
        return monotonic() - self._saved_at > SAVE_SECONDS

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the file."""
        save_npz(self.path, arrays)
        self._saved_at = monotonic()

    def remove(self) -> None:
        """Delete the file. Call it once the whole evaluation is complete."""
        self.path.unlink(missing_ok=True)

    def blocks(self, result: Tensor, size: int, track: Callable[[range], Iterable[int]]) -> Iterator[slice]:
        """Yield the blocks of `size` columns of `result [R, N]` that are still to be computed.

        The caller fills `result`, a tensor on the CPU, in place. Columns that an earlier attempt saved are
        loaded first. The result is saved when a save is due, and the file is deleted after the last block.
        `track` iterates over the starts, shows the progress bar, and raises if the process was asked to stop.
        """
        n, done = result.shape[1], 0
        if (stored := self.load()) is not None:
            result.copy_(torch.from_numpy(stored["result"]))
            done = int(stored["done"])
        for start in track(range(done, n, size)):
            stop = min(start + size, n)
            yield slice(start, stop)
            if self.is_due:
                self.save({"result": result.numpy(), "done": np.array(stop)})
        self.remove()


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed .npz file atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
