"""Mistakes in the configuration, and near-miss suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vaebench.errors import UserError


class ConfigError(UserError):
    """A mistake in the configuration."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'depth'? (choices: activation, depth, width)`, as far as that can be said."""
    known = sorted(choices)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} (choices: {', '.join(known)})" if len(known) <= 20 else hint


def one_message(problems: list[str]) -> ConfigError:
    """All problems at once, so that nobody has to meet them one by one."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    return ConfigError("\n".join([f"{len(problems)} problems:", *(f"  {problem}" for problem in problems)]))
