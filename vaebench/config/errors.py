"""Mistakes in the configuration, and near-miss suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vaebench.config.renamed import todays_option
from vaebench.errors import UserError

MOST_CHOICES = 40  # more than these say nothing any more
CALLED_HERE = {"gpu": "cuda"}  # by the letters, gpu is nearer to cpu


class ConfigError(UserError):
    """One mistake in the configuration, or all at once, so that nobody has to meet them one by one."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n".join([f"{len(self.problems)} problems:", *(f"  {problem}" for problem in self.problems)])


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'depth'? (choices: activation, depth, width)`, as far as that can be said.

    Of too many choices those are listed that lie in the folder of `word`.
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
