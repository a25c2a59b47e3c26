"""Run directory: its place, its lock, the config that it belongs to, and its state."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from vaebench import layout
from vaebench.atomic import read_json, sweep_partials, write_json, write_text
from vaebench.config.errors import ConfigError
from vaebench.config.identity import config_hash, differences, run_name, without_tuples
from vaebench.lock import locked

log = logging.getLogger(__name__)


class RunDir:
    """`<outputs>/<dataset>/<model>/<hash8>/seed<k>/v<n>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / layout.CHECKPOINTS
        self.metrics = path / layout.METRICS
        self.results = path / layout.RESULTS

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunDir:
        """Return the directory of a checked config: its newest version, or the next one with `fresh`."""
        parent = Path(config["paths"]["outputs"]).expanduser() / run_name(config)
        names = (layout.VERSION.fullmatch(path.name) for path in parent.glob("v*"))
        newest = max((int(name[1]) for name in names if name), default=-1)
        return cls(parent / f"v{newest + 1 if config['fresh'] else max(newest, 0)}")

    @contextmanager
    def claimed(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Create the directory, hold its lock, and check that it belongs to this config."""
        self._make()
        with locked(self.path / layout.LOCK):
            sweep_partials(self.path)
            self._claim(config)
            with self._logging():
                yield

    def _make(self) -> None:
        """Create the directory. Raises ConfigError where it cannot be created or written to."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"paths.outputs: cannot write to {self.path} ({error.strerror}); "
                f"choose a writable folder with paths.outputs=..."
            ) from error
        if not os.access(self.path, os.W_OK):
            raise ConfigError(
                f"paths.outputs: no permission to write to {self.path}; "
                f"choose a writable folder with paths.outputs=..."
            )

    def _claim(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml once. Raises ConfigError if the directory has that of another config."""
        path = self.path / layout.CONFIG
        if not path.exists():
            header = f"# The resolved config of this run, {config_hash(config)}; written once.\n"
            plain = yaml.safe_load(yaml.safe_dump(without_tuples(config)))
            write_text(path, header + yaml.safe_dump(plain, sort_keys=False))
            return
        try:
            stored = yaml.safe_load(path.read_text())
        except yaml.YAMLError:
            stored = None
        if not isinstance(stored, dict) or config_hash(stored) != config_hash(config):
            details = (
                differences(config, stored) if isinstance(stored, dict) else ["its config.yaml is damaged"]
            )
            raise ConfigError(
                f"{self.path} belongs to another config:\n  "
                + "\n  ".join(details[:10])
                + "\nUse fresh=true for a new version, or move that directory elsewhere."
            )

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Copy everything that vaebench logs to run.log."""
        handler = logging.FileHandler(self.path / layout.LOG)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("vaebench")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()

    def status(self) -> dict[str, Any]:
        """Return status.json, or an empty mapping if the run was never started."""
        return read_json(self.path / layout.STATUS) or {}

    def set_status(self, state: str, **facts: Any) -> None:
        """Write the state: `running`, `complete`, `failed` or `interrupted`, with further facts."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.path / layout.STATUS, {"state": state, "updated": now, **facts})

    def add_attempt(self, attempt: Mapping[str, Any]) -> None:
        """Append a record to provenance.json."""
        path = self.path / layout.PROVENANCE
        attempts = read_json(path) or []
        write_json(path, [*attempts, dict(attempt)])
