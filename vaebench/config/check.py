"""Check of a composed config before anything is built: unknown and missing keys, types, ranges, fit.

A constructor's keyword-only parameters are its options: their names are the legal keys and their annotations
the legal values. Its positional parameters are passed by the code that builds it; a config cannot set them.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import safe_load

from vaebench.config.errors import ConfigError, did_you_mean
from vaebench.config.renamed import todays
from vaebench.config.schema import Config, Node
from vaebench.config.values import A_COMPONENT, A_SUITE, NOT_IN_SUITE, as_annotated, wrong

log = logging.getLogger(__name__)

Options = dict[str, tuple[Any, bool]]
"""Option name -> (annotation, whether it must be given)."""

FOLDER = re.compile(r"\w[\w.-]*")

EXTRA_OPTIONS: dict[str, Options] = {"model": {"objective": (Node, True)}}
"""Parts in a node's group that are not options of its class: the training loop, not the model, gets them."""

GIVEN = {
    "spec", "convolution_dtype", "paths", "steps_per_epoch", "model",
    "parameters", "optimizer", "num_steps", "directory", "input_shape",
    "latent_dim", "output_shape", "data_shape", "in_features", "shape",
}  # fmt: skip
"""Positional parameters that the code passes to parts (`vaebench.parts`); no config sets them."""

NEAREST = 3  # model families that a message offers

NUMBERS = frozenset({"binary", "unit", "uint8", "real"})
KINDS = {"encoder": NUMBERS, "decoder": NUMBERS, "prior": NUMBERS | {"tokens"}}
"""Parts that may not fit the data, and the kinds of data that they fit if they have no `kinds`."""


def checked(cfg: DictConfig) -> dict[str, Any]:
    """Return the config as plain values of the declared types. Raises ConfigError with all problems."""
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        what = "missing; it needs a value" if isinstance(error, MissingMandatoryValue) else str(error)
        raise ConfigError(f"{error.full_key}: {what.splitlines()[0]}") from error
    problems: list[str] = []
    plain = todays(plain, advise=log.warning)
    values = _check_mapping(plain, _fields(Config), "", problems)
    for part in ("dataset", "model"):  # their names are folders of the run directory
        node = values.get(part)
        if isinstance(node, dict) and not FOLDER.fullmatch(str(node.get("name", part))):
            problems.append(wrong(f"{part}.name", node["name"], "expected letters, digits and _ . -"))
    if problems:
        raise ConfigError(*problems)
    return values


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
    elif (
        kinds is None and likelihood is not None and data_kind not in get_object(likelihood["_target_"]).kinds
    ):
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
        if (likelihood := _target_in(family, "likelihood")) and kind in get_object(likelihood).kinds
        if (decoder := _target_in(family, "decoder")) and _suits(decoder, kind, KINDS["decoder"])
    ]
    return sorted(fitting, key=lambda family: len(words ^ set(family.split("_"))))[:NEAREST]


def settings(node: Mapping[str, Any]) -> Node:
    """Return a node's options without its target."""
    return {key: value for key, value in node.items() if key != "_target_"}


def _check_mapping(
    values: Mapping[str, Any], options: Options, path: str, problems: list[str]
) -> dict[str, Any]:
    """Return `values`, each checked against `options` and converted; append what is wrong to `problems`."""
    for key in values:
        if key == "experiment" and not path:
            problems.append("experiment: its file needs `# @package _global_` as the first line")
        elif key not in options:
            problems.append(f"{_join(path, key)}: no such key{did_you_mean(str(key), options)}")
    for key, (_, required) in options.items():
        if required and key not in values:
            problems.append(f"{_join(path, key)}: missing; it needs a value")
    return {
        key: _check_value(value, options[key][0], _join(path, key), problems)
        for key, value in values.items()
        if key in options
    }


def _check_member(node: Any, name: str, path: str, problems: list[str]) -> Any:
    """Return a checked evaluator of the suite; an experiment may set options of one that the suite lacks."""
    if isinstance(node, Mapping) and "_target_" not in node:
        problems.append(wrong(path, node, NOT_IN_SUITE.format(name=name, path=path)))
        return None
    return _check_value(node, Node, path, problems)


def _check_value(value: Any, annotation: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(annotation):
        if isinstance(value, Mapping):
            return _check_mapping(value, _fields(annotation), path, problems)
        problems.append(wrong(path, value, "expected a group of settings"))
    elif annotation == dict[str, Node]:
        if isinstance(value, Mapping):
            return {key: _check_member(node, key, _join(path, key), problems) for key, node in value.items()}
        problems.append(wrong(path, value, A_SUITE))
    elif isinstance(value, Mapping) and "_target_" in value:
        return _check_node(value, path, problems)
    elif annotation == Node:
        problems.append(wrong(path, value, A_COMPONENT))
    else:
        try:
            return as_annotated(value, annotation)
        except ValueError as error:
            problems.append(wrong(path, value, str(error)))
    return value


def _check_node(node: Mapping[str, Any], path: str, problems: list[str]) -> Node:
    try:
        callable_ = _located(node["_target_"])
    except ValueError as error:
        problems.append(f"{path}._target_ = {node['_target_']!r}: {error}")
        return dict(node)
    options = options_of(callable_) | EXTRA_OPTIONS.get(path, {})
    given = settings(node)
    for key in (positional_of(callable_) - GIVEN) & given.keys():
        problems.append(
            f"{path}.{key}: {node['_target_']} takes `{key}` positionally, but options must be keyword-only; "
            f"put a `*` before it, or wrap the class of a library in a function with keyword-only options"
        )
        del given[key]
    return {"_target_": node["_target_"]} | _check_mapping(given, options, path, problems)


def _located(target: Any) -> Any:
    """Return the class or function that a `_target_` names. Raises ValueError with the nearest name."""
    module_name, _, name = str(target).rpartition(".")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever an import may raise
        raise ValueError(f"cannot be imported ({error})") from error
    if not hasattr(module, name):
        names = [
            key for key, value in vars(module).items() if callable(value) and value.__module__ == module_name
        ]
        raise ValueError(f"{module_name} has no '{name}'{did_you_mean(name, names)}")
    return getattr(module, name)


def positional_of(callable_: Any) -> set[str]:
    """Return the parameters of a class or function that are not keyword-only."""
    return {
        name
        for name, parameter in inspect.signature(callable_).parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    }


def options_of(callable_: Any) -> Options:
    """Return the keyword-only parameters of a class or function, with their annotations."""
    function = callable_.__init__ if inspect.isclass(callable_) else callable_
    hints = get_type_hints(function, include_extras=True)
    return {
        name: (hints.get(name, Any), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _fields(dataclass: Any) -> Options:
    return {name: (hint, True) for name, hint in get_type_hints(dataclass, include_extras=True).items()}


def _fits(path: Path, kind: str) -> bool:
    target = _target(path)
    return target is not None and kind in get_object(target).kinds


def _suits(target: str, kind: str, otherwise: frozenset[str]) -> bool:
    """Return True if a part fits this kind of data; a part without `kinds` fits those of `otherwise`."""
    return kind in getattr(get_object(target), "kinds", otherwise)


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


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
