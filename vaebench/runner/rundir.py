"""The run directory: where it is, whose it is, and what state it is in."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from vaebench.atomic import read_json, sweep_partials, write_json, write_text
from vaebench.config.errors import ConfigError
from vaebench.config.identity import config_hash, differences, run_name, without_tuples
from vaebench.lock import locked

log = logging.getLogger(__name__)


class RunDir:
    """`<outputs>/<dataset>/<model>/<hash8>/seed<k>/v<n>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.results = path / "results.json"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunDir:
        """The directory of a checked config: its newest version, or the next one with `fresh`."""
        parent = Path(config["paths"]["outputs"]).expanduser() / run_name(config)
        names = (re.fullmatch(r"v(\d+)", path.name) for path in parent.glob("v*"))
        newest = max((int(name[1]) for name in names if name), default=-1)
        return cls(parent / f"v{newest + 1 if config['fresh'] else max(newest, 0)}")

    @contextmanager
    def claimed(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Make the directory, hold its lock, and see that it belongs to this config."""
        self._make()
        with locked(self.path / "lock.json"):
            sweep_partials(self.path)
            self._claim(config)
            with self._logging():
                yield

    def _make(self) -> None:
        """Raises ConfigError where the directory cannot be made or written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"paths.outputs: cannot write to {self.path} ({error.strerror}); "
                f"name a folder that can be written with paths.outputs=..."
            ) from error
        if not os.access(self.path, os.W_OK):
            raise ConfigError(f"paths.outputs: no permission to write to {self.path}")

    def _claim(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml once. Raises ConfigError where one of another config is there."""
        path = self.path / "config.yaml"
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
            details = differences(config, stored) if isinstance(stored, dict) else ["it is no config"]
            raise ConfigError(
                f"{self.path} belongs to another config:\n  "
                + "\n  ".join(details[:10])
                + "\nUse fresh=true for a new version, or move that directory away."
            )

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Everything that vaebench logs also goes to run.log."""
        handler = logging.FileHandler(self.path / "run.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("vaebench")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()

    def status(self) -> dict[str, Any]:
        """status.json, or an empty mapping where the run was never started."""
        return read_json(self.path / "status.json") or {}

    def set_status(self, state: str, **facts: Any) -> None:
        """Record `running`, `complete`, `failed` or `interrupted`, with what is worth knowing about it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.path / "status.json", {"state": state, "updated": now, **facts})

    def add_attempt(self, attempt: Mapping[str, Any]) -> None:
        path = self.path / "provenance.json"
        attempts = read_json(path) or []
        write_json(path, [*attempts, dict(attempt)])
