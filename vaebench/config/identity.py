"""What a run is called: a pure function of its scientific config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NOT_SCIENCE = frozenset({"runtime", "tracker", "evaluation", "paths", "seed", "fresh", "data_root"})
"""Keys that say where, how fast and how measured, but not what was trained; the seed has its own folder."""


def scientific(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a checked config that decides what is trained."""
    return {key: value for key, value in config.items() if key not in NOT_SCIENCE}


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hex digits of the scientific config, whatever the order of its keys."""
    canonical = json.dumps(scientific(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_name(config: Mapping[str, Any]) -> str:
    """`<dataset>/<model>/<hash8>/seed<k>`, the run's folder without its version."""
    names = (config["dataset"]["name"], config["model"]["name"], config_hash(config))
    return "/".join((*names, f"seed{config['seed']}"))


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """`key: ours here, theirs there` for every leaf in which two scientific configs differ."""
    left, right = (dict(leaves(scientific(config))) for config in (ours, theirs))
    missing = "nothing"
    return [
        f"{key}: {left.get(key, missing)} here, {right.get(key, missing)} there"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, missing) != right.get(key, missing)
    ]


def leaves(value: Any, path: str = "") -> Any:
    """(dotted key, value) of everything in a config that is no mapping."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, list(value) if isinstance(value, tuple) else value
