"""Composed configs, each command line composed once.

Hydra takes a tenth of a second a command line, and the tests need hundreds, many of them several times. Rows
of papers are also stored in the session's VAEBENCH_CACHE, which `tests/conftest.py` makes for all workers.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import re
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from vaebench.config.paths import conf_dir

PARSER = OverridesParser.create()
TIERS = ("tier=reduced", "tier=smoke")


def composed(*words: str) -> DictConfig:
    """Return the config of a command line, as a copy of the caller's own. Raises what Hydra raises."""
    return copy.deepcopy(_shared(words))


def compose_once(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Return the same; stands in for `hydra.compose`."""
    assert config_name == "train"
    return composed(*overrides)


def read_each_file_once(patch: pytest.MonkeyPatch) -> None:
    """Let Hydra read each file of conf/ once; it parses them again for every command line."""
    real, stored, conf = FileConfigSource.load_config, {}, conf_dir()

    def load_config(source: FileConfigSource, config_path: str) -> ConfigResult:
        if source.path != conf:
            return real(source, config_path)
        if config_path not in stored:
            stored[config_path] = pickle.dumps(real(source, config_path))
        return pickle.loads(stored[config_path])

    patch.setattr(FileConfigSource, "load_config", load_config)


@cache
def _shared(words: tuple[str, ...]) -> DictConfig:
    if not any(word.startswith("experiment=") for word in words):
        return _compose(words)
    digest = hashlib.sha256(repr(words).encode()).hexdigest()[:24]
    file = Path(os.environ["VAEBENCH_CACHE"]) / f"composed/{digest}.pickle"
    if not file.exists():
        partial = file.with_suffix(f".{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(pickle.dumps(_compose(words)))
        partial.replace(file)  # whole or not at all, since another worker may read it
    return pickle.loads(file.read_bytes())


def _compose(words: tuple[str, ...]) -> DictConfig:
    values = [word for word in words if _sets_a_value(word)]
    tiers = [word for word in words if word in TIERS]
    if values or tiers:
        choices = [word for word in words if word not in values and word not in tiers]
        config = copy.deepcopy(_shared((*choices, *(["tier=full"] if tiers else []))))
        # As Hydra does: a tier, the last option of all, is merged into the others, and values after it.
        for tier in tiers:
            config.merge_with(OmegaConf.load(Path(conf_dir(), f"{tier.replace('=', '/')}.yaml")))
        ConfigLoaderImpl._apply_overrides_to_config(PARSER.parse_overrides(values), config)
        return config
    is_initialised = GlobalHydra.instance().is_initialized()  # by the caller of `compose_once`
    with nullcontext() if is_initialised else initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("train", overrides=list(words))


def _sets_a_value(word: str) -> bool:
    """Return True for `key=value` with a plain value, where `key` is not a group of options."""
    key, equals, _ = word.partition("=")
    is_group = (Path(conf_dir()) / key).is_dir()
    if not equals or is_group or not re.fullmatch(r"(\+\+)?\w+(\.\w+)*", key) or key.startswith("hydra"):
        return False
    try:
        return not PARSER.parse_override(word).is_sweep_override()
    except HydraException:
        return False
