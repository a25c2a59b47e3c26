"""Whether data are those that a run was trained on: a name and a folder do not tell, hashes do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.config.errors import ConfigError


def require_same_data(trained_on: Mapping[str, Any], found: Mapping[str, Any], run: Path) -> None:
    """Raises ConfigError, naming both, where a hash of the data is not what it was as `run` was trained."""
    before, now = dict(hashes(trained_on)), dict(hashes(found))
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            raise ConfigError(
                f"The data are not those that {run} was trained on: {name} was {before[name]} and is "
                f"{now[name]}. Put the former back, or use fresh=true for a new version of the run."
            )


def hashes(origin: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Those of an origin's facts that are hashes, by their path in it."""
    for key, value in origin.items():
        if isinstance(value, Mapping):
            yield from hashes(value, f"{prefix}{key}.")
        elif "hash" in key or "sha256" in key:
            yield f"{prefix}{key}", value
