"""Turns what Hydra says of a mistake into one message that names the nearest legal choice."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaebench.config.errors import did_you_mean
from vaebench.config.paths import conf_dir
from vaebench.errors import UserError


def is_mistake(error: BaseException) -> bool:
    """Whether the person at the keyboard, rather than the code, can put it right."""
    return isinstance(error, (UserError, HydraException, OmegaConfBaseException))


def explain(error: BaseException) -> str:
    """One message for the screen."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        key = f"{group} = {name!r}" if group else repr(name)
        return f"{key}: no such option{did_you_mean(name, error.options)}"
    message = str(error).strip()
    if match := re.search(r"Could not override '([^'@]+)'", message):
        return f"{match[1]}: no such key{did_you_mean(match[1], _near(match[1]))}"
    if match := re.match(r"In '([^']+)': .*?Key '([^']+)' is not in struct", message, re.DOTALL):
        return f"{match[2]} in {match[1]}.yaml: no such key{did_you_mean(match[2], _legal())}"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        message += f"\n{error.__cause__}"
    return message


def _near(key: str) -> Iterable[str]:
    """The legal keys beside `key`: of the same parent where that exists, otherwise all of them."""
    parent = key.rpartition(".")[0]
    siblings = [other for other in _legal() if parent and other.rpartition(".")[0] == parent]
    return siblings or _legal()


def _legal() -> list[str]:
    """Every key and every group of the base config, under the group choices of this command line if it has any."""
    root = Path(conf_dir())
    groups = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()]
    choices = [word for word in sys.argv[1:] if word.split("=")[0] in groups and "," not in word]
    GlobalHydra.instance().clear()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        try:
            cfg = compose("train", overrides=choices)
        except Exception:  # the choices may be part of the mistake
            cfg = compose("train")
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, Mapping)
    return sorted({*_keys(plain), *groups})


def _keys(value: Mapping[Any, Any], path: str = "") -> Iterable[str]:
    for key, inner in value.items():
        name = f"{path}.{key}" if path else str(key)
        yield name
        if isinstance(inner, Mapping):
            yield from _keys(inner, name)
