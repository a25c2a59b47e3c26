"""Check of a composed config before anything is built: unknown and missing keys, types, ranges.

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
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

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


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
