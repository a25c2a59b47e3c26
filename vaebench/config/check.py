"""Checks a composed config before anything is built: unknown and missing keys, types, ranges, fit.

A constructor's keyword-only parameters are its options: their names are the legal keys and their annotations
the legal values. Its positional parameters are filled in by the code that builds it and cannot be configured.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from yaml import safe_load

from vaebench.config.errors import ConfigError, did_you_mean, one_message
from vaebench.config.schema import Config, Node

Options = dict[str, tuple[Any, bool]]
"""Option name -> (annotation, whether it must be given)."""

FILED_WITH: dict[str, Options] = {"model": {"objective": (Node, True)}}
"""Parts that stand in a node's group but are no option of its class: the loop, not the model, gets them."""


def checked(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values of the right types. Raises ConfigError with every problem found."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    problems: list[str] = []
    assert isinstance(plain, dict)
    values = _check_mapping(plain, _fields(Config), "", problems)
    if problems:
        raise one_message(problems)
    return values


def check_fit(config: Mapping[str, Any], spec: Any, conf: Path) -> None:
    """Cross-field rules that need the dataset's spec, still before any data are read."""
    problems = []
    likelihood = config["model"].get("likelihood")
    if likelihood is not None and spec.kind not in get_object(likelihood["_target_"]).kinds:
        options = sorted(path.stem for path in conf.glob("model/likelihood/*.yaml") if _fits(path, spec.kind))
        offer = " or ".join(f"model/likelihood={option}" for option in options) or "another dataset"
        problems.append(
            f"model.likelihood: {_short(likelihood)} does not fit {spec.name}, whose data are {spec.kind}; "
            f"use {offer}."
        )
    for name, node in config["evaluation"].items():
        if spec.num_classes is None and node.get("if_unlabelled") == "refuse":
            problems.append(
                f"evaluation.{name}: {spec.name} has no labels to probe; "
                f"use evaluation=likelihood or evaluation=collapse."
            )
    if problems:
        raise one_message(problems)


def settings(node: Mapping[str, Any]) -> Node:
    """A node's options without its target: what a result says it was computed with."""
    return {key: value for key, value in node.items() if key != "_target_"}


def _check_mapping(values: Mapping[str, Any], options: Options, path: str, problems: list[str]) -> dict[str, Any]:
    """`values` with every value checked against `options`; what is wrong is appended to `problems`."""
    for key in values.keys() - options.keys():
        problems.append(f"{_join(path, key)}: no such key{did_you_mean(str(key), options)}")
    for key, (_, required) in options.items():
        if required and key not in values:
            problems.append(f"{_join(path, key)}: missing; it needs a value")
    return {
        key: _check_value(value, options[key][0], _join(path, key), problems)
        for key, value in values.items()
        if key in options
    }


def _check_value(value: Any, annotation: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(annotation):
        if isinstance(value, Mapping):
            return _check_mapping(value, _fields(annotation), path, problems)
        problems.append(f"{path} = {value!r}: expected a group of settings")
        return value
    if isinstance(value, Mapping) and "_target_" in value:
        return _check_node(value, path, problems)
    if annotation == dict[str, Node]:
        return {
            key: _check_value(node, Node, _join(path, key), problems) for key, node in (value or {}).items()
        }
    if annotation in (Node, Node | None):
        if value is not None or annotation == Node:
            problems.append(f"{path} = {value!r}: expected a component, a mapping with a _target_")
        return value
    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError as error:
        problems.append(f"{path} = {value!r}: {_explain(error, value)}")
    except TypeError:  # an annotation that is no type of values: a part, which must be a node
        problems.append(f"{path} = {value!r}: expected a component, a mapping with a _target_")
    return value


def _check_node(node: Mapping[str, Any], path: str, problems: list[str]) -> Node:
    target = node["_target_"]
    try:
        callable_ = get_object(target)
    except Exception as error:  # whatever an import may raise
        problems.append(f"{path}._target_ = {target!r}: cannot be imported ({error})")
        return dict(node)
    options = options_of(callable_) | FILED_WITH.get(path, {})
    return {"_target_": target} | _check_mapping(settings(node), options, path, problems)


def options_of(callable_: Any) -> Options:
    """The keyword-only parameters of a class or function, with their annotations."""
    function = callable_.__init__ if inspect.isclass(callable_) else callable_
    hints = get_type_hints(function, include_extras=True)
    return {
        name: (hints.get(name, Any), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _fields(dataclass: type) -> Options:
    return {name: (hint, True) for name, hint in get_type_hints(dataclass, include_extras=True).items()}


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def _explain(error: ValidationError, value: Any) -> str:
    """What was expected, in one line, with the nearest legal word where words are expected."""
    # Of a union, the alternative `null` is not what was meant.
    details = [d for d in error.errors() if d["type"] != "none_required"] or error.errors()
    text = re.sub(r"^Input should be", "expected", details[0]["msg"])
    if details[0]["type"] == "literal_error":
        words = re.findall(r"'([^']+)'", details[0]["ctx"]["expected"])
        text = f"expected one of {', '.join(words)}" + did_you_mean(str(value), words).split(" (")[0]
    return text


def _fits(path: Path, kind: str) -> bool:
    return kind in get_object(safe_load(path.read_text())["_target_"]).kinds


def _short(node: Node) -> str:
    return node["_target_"].rsplit(".", 1)[-1]


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
