"""Identity of a run: its name is a pure function of its scientific config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from vaebench.config.renamed import first_hashed, todays
from vaebench.layout import seed_folder

NOT_SCIENCE = frozenset({"runtime", "tracker", "evaluation", "paths", "seed", "fresh", "data_root"})
"""Keys that do not change what is trained; the seed has its own folder."""


def scientific(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that decides what is trained, with today's names."""
    return todays({key: value for key, value in config.items() if key not in NOT_SCIENCE})


def config_hash(config: Mapping[str, Any]) -> str:
    """Return eight hex digits of the scientific config; key order and later renamings do not change them."""
    canonical = json.dumps(first_hashed(scientific(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_name(config: Mapping[str, Any]) -> str:
    """Return `<dataset>/<model>/<hash8>/seed<k>`, the run's folder without its version."""
    names = (config["dataset"]["name"], config["model"]["name"], config_hash(config))
    return seed_folder(*names, config["seed"])


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return `key: ours here, theirs there` for every leaf in which two scientific configs differ."""
    left, right = (dict(leaves(scientific(config))) for config in (ours, theirs))
    missing = "nothing"
    return [
        f"{key}: {left.get(key, missing)} here, {right.get(key, missing)} there"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, missing) != right.get(key, missing)
    ]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every value in a config that is not a mapping."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, without_tuples(value)


def without_tuples(value: Any) -> Any:
    """Return a value as YAML reads it back: with lists in place of tuples, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_tuples(inner) for key, inner in value.items()}
    return [without_tuples(inner) for inner in value] if isinstance(value, (list, tuple)) else value
