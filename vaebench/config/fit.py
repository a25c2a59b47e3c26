"""Check that a model and its evaluators fit a dataset, before any data are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from yaml import safe_load

from vaebench.config.errors import ConfigError
from vaebench.config.schema import Node

NEAREST = 3  # model families that a message offers

NONE: frozenset[str] = frozenset()
NUMBERS = frozenset({"binary", "unit", "uint8", "real"})
ANY = NUMBERS | {"tokens"}  # without `kinds` the contract of `vaebench.parts` says what is missing
KINDS = {"encoder": NUMBERS, "decoder": NUMBERS, "prior": ANY}
"""Parts that may not fit the data, and the kinds of data that they fit if they have no `kinds`."""


def check_fit(config: Mapping[str, Any], spec: Any, conf: Path) -> None:
    """Check the model and the evaluators against the dataset's spec. Raises ConfigError with all problems."""
    problems = _misfits(config, spec.name, spec.kind, conf)
    for name, node in config["evaluation"].items():
        if spec.num_classes is None and node.get("if_unlabelled") == "refuse":
            problems.append(
                f"evaluation.{name}: {spec.name} has no labels to probe; "
                f"use evaluation=likelihood or evaluation=collapse."
            )
    if problems:
        raise ConfigError(*problems)


def check_kind(config: Mapping[str, Any], name: str, kind: str, conf: Path) -> None:
    """Check that the parts of the model fit this kind of data. Raises ConfigError with all problems."""
    if problems := _misfits(config, name, kind, conf):
        raise ConfigError(*problems)


def _misfits(config: Mapping[str, Any], name: str, data_kind: str, conf: Path) -> list[str]:
    """Return a message for each part of the model that does not fit this kind of data."""
    problems: dict[str, str] = {}
    model, likelihood = config["model"], config["model"].get("likelihood")
    kinds = getattr(get_object(model["_target_"]), "kinds", None)  # a model without a density has its own
    if kinds is not None and data_kind not in kinds:
        problems["model"] = (
            f"model: {_short(model)} does not fit {name}, whose data are {data_kind}; "
            f"use data that are {', '.join(sorted(kinds))}."
        )
    elif kinds is None and likelihood is not None and not _suits(likelihood["_target_"], data_kind, ANY):
        options = sorted(path.stem for path in conf.glob("model/likelihood/*.yaml") if _fits(path, data_kind))
        offer = " or ".join(f"model/likelihood={option}" for option in options) or "another dataset"
        problems["likelihood"] = (
            f"model.likelihood: {_short(likelihood)} does not fit {name}, whose data are {data_kind}; "
            f"use {offer}."
        )
    for part, otherwise in KINDS.items():
        node = config["model"].get(part)
        if node is not None and not _suits(node["_target_"], data_kind, otherwise):
            targets = {path.stem: _target(path) for path in sorted(conf.glob(f"model/{part}/*.yaml"))}
            options = [
                f"model/{part}={option}"
                for option, target in targets.items()
                if target is not None and _suits(target, data_kind, otherwise)
            ]
            problems[part] = (
                f"model.{part}: {_short(node)} does not fit {name}, whose data are {data_kind}; "
                f"use {' or '.join(options)}."
            )
    if {"likelihood", "decoder"} <= problems.keys() and (families := families_for(data_kind, model, conf)):
        whole = (
            f"model: {model['name']} does not fit {name}; "
            f"use {', '.join(f'model={family}' for family in families)}, or replace these parts:"
        )
        problems = {"model": whole} | problems
    return list(problems.values())


def families_for(kind: str, model: Mapping[str, Any], conf: Path) -> list[str]:
    """Return at most NEAREST model families whose likelihood and decoder fit this kind of data.

    They are sorted by the number of words by which their names differ from that of `model`.
    """
    words = set(model["name"].split("_"))
    fitting = [
        family.stem
        for family in sorted(conf.glob("model/*.yaml"))
        if (likelihood := _target_in(family, "likelihood")) and _suits(likelihood, kind, NONE)
        if (decoder := _target_in(family, "decoder")) and _suits(decoder, kind, KINDS["decoder"])
    ]
    return sorted(fitting, key=lambda family: len(words ^ set(family.split("_"))))[:NEAREST]


def _fits(path: Path, kind: str) -> bool:
    target = _target(path)
    return target is not None and _suits(target, kind, NONE)


def _suits(target: str, kind: str, otherwise: frozenset[str]) -> bool:
    """Return True if a part fits this kind of data; a part without `kinds` fits those of `otherwise`."""
    return kind in (getattr(get_object(target), "kinds", None) or otherwise)


def _target_in(family: Path, part: str) -> str | None:
    """Return the class of a family's part, chosen in its own file or in that of the family it is based on."""
    target = None
    for entry in safe_load(family.read_text()).get("defaults", []):
        if isinstance(entry, str):
            base = family.with_name(f"{entry}.yaml")
            target = _target_in(base, part) if base.exists() else target
        elif option := entry.get(part) or entry.get(f"override {part}"):
            target = _target(family.parent / part / f"{option}.yaml")
    return target


def _target(path: Path) -> str | None:
    """Return the class of an option; None if its file modifies another option."""
    return safe_load(path.read_text()).get("_target_")


def _short(node: Node) -> str:
    return node["_target_"].rsplit(".", 1)[-1]
