"""Paths of the arrays, figures and texts that one evaluation saves in the run directory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass
class OutputFiles:
    """Paths under the run directory, none of which another evaluation uses.

    A name that is `taken` gets `suffix`, so that a quick evaluation does not overwrite the figures of a full
    one.
    """

    directory: Path
    taken: Collection[str] = ()
    suffix: str = ""
    saved: dict[str, str] = field(default_factory=dict, init=False)
    """Name -> path in the run directory, of every name that `path` was called with."""

    def path(self, name: str) -> Path:
        """Return the path for `<folder>/<stem>.<extension>`."""
        free = PurePosixPath(name)
        if name in self.taken:
            free = free.with_stem(f"{free.stem}_{self.suffix}")
        self.saved[name] = str(free)
        return self.directory / free
