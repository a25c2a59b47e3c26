"""Check, by hashes, that a run has the data that it was trained on: name and folder do not identify them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.config.errors import ConfigError


def require_same_data(trained_on: Mapping[str, Any], current: Mapping[str, Any], run: Path) -> None:
    """Raise ConfigError, with both values, if a hash of the data differs from the one stored with `run`."""
    before, now = dict(hashes(trained_on)), dict(hashes(current))
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            raise ConfigError(
                f"The data differ from those that {run} was trained on: {name} was {before[name]} and is now "
                f"{now[name]}. Restore the original file, or use fresh=true for a new version of the run."
            )


def hashes(origin: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, hash) of every hash in the stored origin of a dataset."""
    for key, value in origin.items():
        if isinstance(value, Mapping):
            yield from hashes(value, f"{prefix}{key}.")
        elif "hash" in key or "sha256" in key:
            yield f"{prefix}{key}", value
