"""Checks that a part satisfies its contract (`vaebench.parts`)."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from torch import nn

from vaebench.errors import UserError
from vaebench.parts import AutoregressiveDecoder, Decoder

Part = TypeVar("Part")


def require(part: Part, contract: type, key: str, is_module: bool = True) -> Part:
    """Return `part` if it satisfies `contract`. Raises UserError with the config key and what is missing."""
    name = f"{type(part).__module__}.{type(part).__qualname__}"
    problems = [] if isinstance(part, nn.Module) or not is_module else ["is not a torch.nn.Module"]
    for member, note in members(contract).items():
        expected = get_args(note)[0] if get_args(note) else None
        value = getattr(part, member, None)
        if value is None:
            meaning = f" ({note.__metadata__[0]})" if get_args(note) else "()"
            problems.append(f"has no `{member}`{meaning}")
        elif expected in (bool, int) and type(value) is not expected:
            problems.append(f"has `{member}` = {value!r}, expected {expected.__name__}")
        elif expected is None and not callable(value):
            problems.append(f"has `{member}` = {value!r}, expected a method")
    if problems:
        raise UserError(
            f"{key}: {name} {', '.join(problems)}; the contract is vaebench.parts.{contract.__name__}."
        )
    return part


def members(contract: type) -> dict[str, Any]:
    """Return the attributes and methods that a contract names, each attribute with its annotation."""
    own = [base for base in reversed(contract.__mro__) if base.__module__ == Decoder.__module__]
    methods = {name: None for base in own for name, value in vars(base).items() if callable(value)}
    hints = get_type_hints(contract, include_extras=True, localns={"Model": Any})
    notes = {
        name: get_args(note)[0] if get_origin(note) is ClassVar else note for name, note in hints.items()
    }
    return {name: None for name in methods if not name.startswith("_")} | notes


def require_decoder(decoder: Part, key: str) -> Part:
    """Return `decoder` if it satisfies `Decoder`; `AutoregressiveDecoder` if it is autoregressive."""
    require(decoder, Decoder, key)
    return require(decoder, AutoregressiveDecoder, key) if decoder.is_autoregressive else decoder  # type: ignore[attr-defined]
