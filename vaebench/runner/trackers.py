"""Where else the numbers of an epoch go; metrics.jsonl has them in any case."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vaebench.config.errors import ConfigError


class Tracker(Protocol):
    """Constructed with the run directory, before any data are read; its options are keyword-only."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    """metrics.jsonl is enough."""

    def __init__(self, directory: Path) -> None:
        pass

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """Event files in `<run>/tensorboard`; a resumed run writes its own file from the step it resumes at."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError where TensorBoard is not installed; writes nothing before the first number."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "tracker=tensorboard needs an extra: pip install 'vaebench[tensorboard]'"
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
