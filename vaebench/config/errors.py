"""Mistakes in the configuration, and near-miss suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vaebench.config.renamed import todays_option
from vaebench.errors import UserError

MOST_CHOICES = 40  # longer lists are not shown
CALLED_HERE = {"gpu": "cuda"}  # by spelling, gpu is nearer to cpu


class ConfigError(UserError):
    """One or more mistakes in the configuration, all reported at once."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n".join([f"{len(self.problems)} problems:", *(f"  {problem}" for problem in self.problems)])


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `; did you mean 'depth'? (choices: activation, depth, width)`, or the part of it that is known.

    If there are too many choices, only those in the folder of `word` are listed.
    """
    known = sorted(choices)
    if not known:
        return "; there are none to choose from"
    called = CALLED_HERE.get(word) or todays_option(word) or word
    near = difflib.get_close_matches(called, known, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    if len(known) > MOST_CHOICES:
        folder = word.rpartition("/")[0]
        known = [choice for choice in known if folder and choice.rpartition("/")[0] == folder]
    return f"{hint} (choices: {', '.join(known)})" if 0 < len(known) <= MOST_CHOICES else hint
