"""Experiment trackers, which get the numbers of each epoch; metrics.jsonl is always written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vaebench.config.errors import ConfigError


class Tracker(Protocol):
    """Contract of a tracker: constructed with the run directory, before any data are read; its options are
    keyword-only."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    """Tracker that does nothing: metrics.jsonl is enough."""

    def __init__(self, directory: Path) -> None:
        pass

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """Event files in `<run>/tensorboard`; a resumed run starts a new file at the step it resumes at."""

    def __init__(self, directory: Path) -> None:
        """Raise ConfigError if TensorBoard is not installed; write nothing before the first number."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "tracker=tensorboard: TensorBoard is not installed; run pip install 'vaebench[tensorboard]', "
                "or use tracker=none"
            ) from error
        self._make = partial(SummaryWriter, str(directory / "tensorboard"))
        self._writer: Any = None

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._make()
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
