"""Checkpoints: the latest two and the best, each with its SHA-256; loading one cannot execute code."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from vaebench.atomic import read_json, write_bytes, write_json
from vaebench.config.errors import ConfigError
from vaebench.errors import UserError

log = logging.getLogger(__name__)

State = dict[str, Any]
KEEP = 2


class Checkpoints:
    """Folder of `step-<n>.pt` and `best.pt`; only files that its `index.json` lists are valid.

    The index lists a file, with its SHA-256, only after the file is on disk. If the process is killed at any
    moment, the index still lists complete files only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "index.json"

    def save(self, step: int, state: State) -> None:
        """Save the state after `step` steps and remove all but the latest two."""
        index = self._read_index()
        name = f"step-{step:08d}.pt"
        index[name] = self._write(name, state)
        steps = sorted(key for key in index if key.startswith("step-"))
        for old in steps[:-KEEP]:
            del index[old]
        write_json(self._index, index)
        for path in self.folder.glob("step-*.pt"):
            if path.name not in index:
                path.unlink(missing_ok=True)

    def save_best(self, state: State) -> None:
        """Save the weights that the evaluation uses; the file exists only if the training has ended."""
        index = self._read_index()
        index["best.pt"] = self._write("best.pt", state)
        write_json(self._index, index)

    def latest(self) -> State | None:
        """Return the newest intact training checkpoint, or None; log a warning for each corrupt one."""
        names = sorted((key for key in self._read_index() if key.startswith("step-")), reverse=True)
        for position, name in enumerate(names):
            state = self._load(name)
            if state is not None:
                return state
            older = names[position + 1 : position + 2] or ["the start of the run"]
            log.warning("%s is corrupt; going back to %s", self.folder / name, older[0])
        return None

    def best(self) -> State | None:
        """Return the weights of the finished training, or None."""
        if "best.pt" not in self._read_index():
            return None
        state = self._load("best.pt")
        if state is None:
            log.warning("%s is corrupt; resuming the training to write it again", self.folder / "best.pt")
        return state

    def _read_index(self) -> dict[str, str]:
        try:
            return read_json(self._index) or {}
        except UserError as error:
            log.warning("%s Without it, training starts from the beginning.", error)
            return {}

    def _write(self, name: str, state: State) -> str:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        write_bytes(self.folder / name, content)
        return hashlib.sha256(content).hexdigest()

    def _load(self, name: str) -> State | None:
        """Return the state, or None if the file is missing or its hash is not the one in the index."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != self._read_index().get(name):
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns about pickles that it did not write
                state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "GLOBAL" in str(error) or content[:1] == pickle.PROTO:
                raise ConfigError(
                    f"{path} was refused: it contains objects other than tensors and plain values, which a "
                    f"checkpoint of vaebench never contains. Nothing in it was executed. Remove it, or use "
                    f"fresh=true for a new version of the run."
                ) from error
            return None
        except Exception:  # corrupt bytes can raise any exception in the unpickler
            return None
        return state
