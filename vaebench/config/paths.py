"""Location of the configuration files: inside an installed package, next to it in a checkout."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> str:
    """Return the absolute path of `conf/`."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return str(inside if inside.is_dir() else package.parent / "conf")
