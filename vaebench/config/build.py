"""Construction of objects from config nodes; the only caller of Hydra's instantiate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_object, instantiate

from vaebench.config.errors import ConfigError


def build(node: Mapping[str, Any], **available: Any) -> Any:
    """Construct `node`'s target with its options, and with those of `available` that it has parameters for.

    Nested nodes are passed as factories, so that a class can build its parts itself, in its own order. Raises
    ConfigError if the target needs another positional argument.
    """
    positional = [
        parameter
        for parameter in inspect.signature(get_object(node["_target_"])).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    for parameter in positional:
        if parameter.name not in available and parameter.default is inspect.Parameter.empty:
            raise ConfigError(
                f"{node['_target_']} needs the positional argument `{parameter.name}`, but gets only "
                f"{', '.join(available) or 'none'}; put a `*` before its options, so that a config can "
                f"set them."
            )
    arguments = {each.name: available[each.name] for each in positional if each.name in available}
    return factory(node)(**arguments)


def factory(node: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `node`'s target with its options set; call it with the remaining arguments."""
    return instantiate(_deferred(node), _convert_="all")


def _deferred(node: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _deferred(value) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in node.items()
    }
    return nested | {"_partial_": True}
