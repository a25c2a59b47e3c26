"""Where an evaluation's arrays, figures and texts go in the run directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass
class Filing:
    """Paths of what one evaluation files, none of which is another one's.

    A name that an evaluation of other settings has `taken` gets a mark made of the settings, so that a quick
    look leaves the pictures of a full measurement as they are.
    """

    directory: Path
    taken: Collection[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    filed: dict[str, str] = field(default_factory=dict, init=False)
    """Name -> the path in the run directory, of all that `path` was asked for."""

    def path(self, name: str) -> Path:
        """Where `<folder>/<stem>.<suffix>` goes."""
        free = PurePosixPath(name)
        if name in self.taken:
            text = json.dumps(self.settings, sort_keys=True)
            free = free.with_stem(f"{free.stem}_{hashlib.sha256(text.encode()).hexdigest()[:6]}")
        self.filed[name] = str(free)
        return self.directory / free
