"""Checkpoints: the latest two and the best, each with its hash, none of which can run code when loaded."""

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
    """A folder of `step-<n>.pt` and `best.pt`, with `index.json`, which alone says which of them count.

    A file enters the index after it is on disk with its SHA-256, so a kill at any moment leaves the index
    naming whole files only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "index.json"

    def save(self, step: int, state: State) -> None:
        """File the state after `step` steps and forget all but the latest two."""
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
        """File the weights that the evaluation uses; that they are there says that training has ended."""
        index = self._read_index()
        index["best.pt"] = self._write("best.pt", state)
        write_json(self._index, index)

    def latest(self) -> State | None:
        """The newest whole checkpoint of the training, or None; a corrupt one is passed over, and named."""
        names = sorted((key for key in self._read_index() if key.startswith("step-")), reverse=True)
        for position, name in enumerate(names):
            state = self._load(name)
            if state is not None:
                return state
            older = names[position + 1 : position + 2] or ["the start of the run"]
            log.warning("%s is corrupt; going back to %s", self.folder / name, older[0])
        return None

    def best(self) -> State | None:
        """The weights of the finished training, or None."""
        if "best.pt" not in self._read_index():
            return None
        state = self._load("best.pt")
        if state is None:
            log.warning("%s is corrupt; making it again from the latest checkpoint", self.folder / "best.pt")
        return state

    def _read_index(self) -> dict[str, str]:
        try:
            return read_json(self._index) or {}
        except UserError as error:
            log.warning("%s; starting from the beginning", error)
            return {}

    def _write(self, name: str, state: State) -> str:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        write_bytes(self.folder / name, content)
        return hashlib.sha256(content).hexdigest()

    def _load(self, name: str) -> State | None:
        """The state, or None where the file is missing or, by its hash, not the one that was written."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != self._read_index().get(name):
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, about pickles that it did not write
                state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "GLOBAL" in str(error) or content[:1] == pickle.PROTO:
                raise ConfigError(
                    f"{path} was refused: it holds objects other than tensors and plain values, which no "
                    f"checkpoint of vaebench does. Nothing in it was executed. Remove it, or use fresh=true."
                ) from error
            return None
        except Exception:  # broken bytes make the unpickler fail in any way
            return None
        return state
