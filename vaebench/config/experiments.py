"""Configs of command lines, composed without running them, to match runs to the rows of a table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaebench.atomic import read_json, write_json
from vaebench.config.identity import leaves, scientific
from vaebench.config.paths import conf_dir
from vaebench.errors import UserError

Words = tuple[str, ...]
Leaves = dict[str, Any]


def compositions(lines: Iterable[Words]) -> dict[Words, Leaves]:
    """Return the scientific part of each command line's config, dotted key -> value.

    Composing takes 0.1 s per line. The results are cached, and stay valid while no file of conf/ changes.
    Lines that do not compose are left out.
    """
    lines = list(dict.fromkeys(lines))
    file = _cache_file()
    try:
        known = read_json(file) or {}
    except UserError:
        known = {}
    missing = [line for line in lines if json.dumps(line) not in known]
    if missing:
        GlobalHydra.instance().clear()
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            known |= {json.dumps(line): _composed(line) for line in missing}
        with suppress(OSError):  # a read-only cache folder: nothing is cached
            write_json(file, known)
    configs = {line: known[json.dumps(line)] for line in lines}
    return {line: config for line, config in configs.items() if config is not None}


def leaves_of(config: Mapping[str, Any]) -> Leaves:
    """Return the scientific part of a config, dotted key -> value."""
    return dict(leaves(scientific(config)))


def _composed(line: Sequence[str]) -> Leaves | None:
    try:
        config: Any = OmegaConf.to_container(compose("train", overrides=list(line)), resolve=True)
    except (HydraException, OmegaConfBaseException):
        return None
    return leaves_of(config)


def _cache_file() -> Path:
    """Return the cache file of the current state of conf/."""
    root = Path(conf_dir())
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.yaml")):
        if path.parent.name != "paper":
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    cache = os.environ.get("VAEBENCH_CACHE") or str(Path.home() / ".cache/vaebench")
    return Path(cache).expanduser() / "experiments" / f"{digest.hexdigest()[:16]}.json"
