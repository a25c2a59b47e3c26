"""Compose command lines to configs without running them."""

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

    Composing takes about 0.1 s per line. The cache folder therefore keeps the result until a file of conf/
    changes. A line that does not compose is left out.
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
        with suppress(OSError):  # a read-only home: the next call composes again
            write_json(file, known)
    configs = {line: known[json.dumps(line)] for line in lines}
    return {line: config for line, config in configs.items() if config is not None}


def leaves_of(config: Mapping[str, Any]) -> Leaves:
    """Flatten the scientific part of a config to dotted key -> value."""
    return dict(leaves(scientific(config)))


def _composed(line: Sequence[str]) -> Leaves | None:
    """Return the settings of one command line, or None if it does not compose."""
    try:
        config: Any = OmegaConf.to_container(compose("train", overrides=list(line)), resolve=True)
    except (HydraException, OmegaConfBaseException):
        return None
    return leaves_of(config)


def _cache_file() -> Path:
    """Return the path of the cache, whose name is a hash of all files in conf/ except the papers."""
    root = Path(conf_dir())
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.yaml")):
        if path.parent.name != "paper":
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    cache = os.environ.get("VAEBENCH_CACHE") or str(Path.home() / ".cache/vaebench")
    return Path(cache).expanduser() / "experiments" / f"{digest.hexdigest()[:16]}.json"
