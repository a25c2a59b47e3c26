"""From a config node to an object: the only caller of Hydra's instantiate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_object, instantiate


def build(node: Mapping[str, Any], **available: Any) -> Any:
    """Construct `node`'s target with its options and those of `available` that it has parameters for.

    Nested nodes arrive as factories, so that a class can wire its parts itself, in its own order.
    """
    positional = [
        name
        for name, parameter in inspect.signature(get_object(node["_target_"])).parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    return factory(node)(**{name: available[name] for name in positional})


def factory(node: Mapping[str, Any]) -> Callable[..., Any]:
    """`node`'s target with its options set; call it with what the options leave open."""
    return instantiate(_deferred(node), _convert_="all")


def _deferred(node: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _deferred(value) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in node.items()
    }
    return nested | {"_partial_": True}
