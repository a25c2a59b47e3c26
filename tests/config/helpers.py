"""Composing configs in a test's own process, with files planted beside conf/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from tests import compositions
from vaebench.config.check import checked
from vaebench.config.errors import ConfigError
from vaebench.config.paths import conf_dir

CONF = Path(conf_dir())


def composed(*overrides: str, beside: Path | None = None) -> DictConfig:
    """What Hydra makes of a command line; `beside` is a folder of options, as --config-dir names it."""
    if beside is None:
        return compositions.composed(*overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[*overrides, f"hydra.searchpath=[file://{beside}]"])


def config_of(*overrides: str, beside: Path | None = None) -> dict[str, Any]:
    """The checked config of a command line. Raises ConfigError."""
    return checked(composed(*overrides, beside=beside))


@cache
def base_config() -> dict[str, Any]:
    """That of a command line without words; not to be changed."""
    return config_of()


def problems_of(*overrides: str, beside: Path | None = None) -> tuple[str, ...]:
    """What is wrong with a command line that composes."""
    with pytest.raises(ConfigError) as caught:
        config_of(*overrides, beside=beside)
    return caught.value.problems


def plant(folder: Path, file: str, text: str) -> Path:
    """Write `<folder>/<file>.yaml` and return the folder."""
    path = folder / f"{file}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def plant_experiment(folder: Path, name: str, body: str) -> Path:
    """Plant an experiment file, with the header that it needs."""
    return plant(folder, f"experiment/{name}", f"# @package _global_\n{body}\n")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything that is no mapping."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, f"{path}.{key}" if path else str(key))
