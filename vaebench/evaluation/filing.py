"""Where an evaluation's arrays, figures and texts go in the run directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any


class Filing:
    """Paths of what one evaluation files, none of which is another one's.

    A name that an evaluation of other settings has `taken` gets a mark made of the settings, so that a quick
    look leaves the pictures of a full measurement as they are.
    """

    def __init__(
        self, directory: Path, taken: Collection[str] = (), settings: Mapping[str, Any] | None = None
    ) -> None:
        self.directory = directory
        self.taken = frozenset(taken)
        text = json.dumps(dict(settings or {}), sort_keys=True, default=str)
        self.mark = hashlib.sha256(text.encode()).hexdigest()[:6]
        self.filed: dict[str, str] = {}
        """Name -> the path in the run directory, of all that `path` was asked for."""

    def path(self, name: str) -> Path:
        """Where `<folder>/<stem>.<suffix>` goes."""
        plain = PurePosixPath(name)
        free = plain if name not in self.taken else plain.with_stem(f"{plain.stem}_{self.mark}")
        self.filed[name] = str(free)
        return self.directory / free
