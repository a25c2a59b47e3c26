"""Check of one value against the annotation of its parameter, and the message if it does not fit."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vaebench.config.errors import did_you_mean

A_COMPONENT = "expected a component, a mapping with a _target_"
A_SUITE = "expected a mapping of names to components"
NOT_IN_SUITE = (
    "the evaluation suite has no {name!r}; pick a suite that includes it, or drop this key with ~{path}"
)

EXPECTED = {  # pydantic's name of the error -> what was expected
    "callable_type": A_COMPONENT.removeprefix("expected "),
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "missing": "more values in the list",
    "too_long": "at most {max_length} values in the list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}


def as_annotated(value: Any, annotation: Any) -> Any:
    """Return `value` in the annotation's type: 1 becomes 1.0. Raises ValueError with what was expected."""
    try:
        legal = _adapter(annotation).validate_python(value)
    except ValidationError as error:
        raise ValueError(_expected(error, value)) from error
    except TypeError as error:  # the annotation is that of a part, which needs a node
        raise ValueError(A_COMPONENT) from error
    if isinstance(value, bool) and not isinstance(legal, bool):
        raise ValueError("expected a number")  # pydantic converts true to 1
    return legal


def wrong(path: str, value: Any, expected: str) -> str:
    """Return `training.epochs = 'many': expected an integer`; for a group, also how to choose an option."""
    shown = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    text = f"{path} = {shown}: {expected}"
    if expected in (A_COMPONENT, A_SUITE) and isinstance(value, str):
        group = path.replace(".", "/")
        text += (
            f"; choose an option with {group}={value}, or in a file with `override /{group}: {value}` in its "
            f"defaults"
        )
    return text


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))


def _expected(error: ValidationError, value: Any) -> str:
    """Return what was expected, in one line; if it is one of several words, with the nearest."""
    # For an optional value, report why it is not of the type, rather than that it is not null.
    details = [d for d in error.errors() if d["type"] != "none_required"] or error.errors()
    kind, context = details[0]["type"], details[0].get("ctx", {})
    bounds = {key: f"{bound:.12g}" for key, bound in context.items() if isinstance(bound, (int, float))}
    if kind == "literal_error" and (words := re.findall(r"'([^']+)'", context["expected"])):
        return f"expected one of {', '.join(words)}" + did_you_mean(str(value), words).split(" (")[0]
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind].format_map(bounds)}"
    return re.sub(r"^Input should be", "expected", details[0]["msg"])
