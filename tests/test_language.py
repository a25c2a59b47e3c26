"""Rules of CONTRIBUTING.md on English that a machine can see. `python -m tests.test_language [FOLDER]`."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

AVOID = {  # the word -> what to write
    r"laws?": "distribution",
    r"anew": "again, re-initialised",
    r"told|tells?": "distinguish, say, log",
    r"filed|filing|files(?= (it|them|each|both|all|its)\b)": "saved, stored, recorded",
    r"kin": "the like, related",
    r"stands? to": "compares with",
    r"behind": "after, below",
    r"wants?|wanted": "needs, expects, requested",
    r"going on|goes on|go on|went on": "resuming, continues",
    r"for (?:it|them)sel(?:f|ves)": "on its own",
    r"short of": "without",
    r"as it stands": "unchanged",
    r"be it": "whether",
    r"thereof|therein|whose sake": "of it, in it",
}
PATTERN = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in AVOID) + r")\b", re.IGNORECASE)

FIRST_WORDS = (
    "What Whether Who Whom Whose How Where When Which Why Of From Within That As To In By With Without After "
    "Before At On For Be Beside Between"
)
NOT_FIRST = frozenset(FIRST_WORDS.split())
"""A docstring begins with a verb ("Return", "Compute") or with a noun of the field."""


def sources() -> list[Path]:
    python = [path for folder in ("vaebench", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
    return python + sorted((ROOT / "conf").rglob("*.yaml"))


def faults(path: Path) -> Iterator[str]:
    """`line: what is wrong` for each fault of one file."""
    text = path.read_text()
    if path.suffix == ".yaml":
        spoken = [
            (number, line.partition("#")[2])
            for number, line in enumerate(text.splitlines(), 1)
            if "#" in line and "@package" not in line
        ]
        if path.parent.name == "paper":  # what the report prints
            spoken = list(enumerate(text.splitlines(), 1))
    else:
        kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        spoken = [(token.start[0], token.string) for token in tokens if token.type in kinds]
        yield from _first_words(text)
    for number, said in spoken:
        for match in PATTERN.finditer(said):
            yield f"{number}: '{match[0]}' in {' '.join(said.split())[:90]}"


def _first_words(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            said = ast.get_docstring(node) or ""
            word = said.split()[0].rstrip(",:.") if said.split() else ""
            if word in NOT_FIRST:
                line, first = getattr(node, "lineno", 1), said.splitlines()[0][:80]
                yield f"{line}: a docstring begins with '{word}': {first}"


def test_words_are_those_of_the_field() -> None:
    assert len(sources()) > 300
    assert [f"{path.relative_to(ROOT)}:{fault}" for path in sources() for fault in faults(path)] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('"""What it does."""\n', "begins with 'What'"),
        ('def f():\n    """From a to b."""\n', "begins with 'From'"),
        ("x = 1  # drawn anew\n", "'anew'"),
        ('raise ValueError(f"{x} wants a model")\n', "'wants'"),
        ('"""The law of x."""\n', "'law'"),
    ],
)
def test_a_fault_is_seen(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(text)
    (found,) = faults(tmp_path / "file.py")
    assert fault in found


def test_code_is_not_read_as_english(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("wanted = told = 1\nlaw = {'wanted_of': wanted}\n")
    assert list(faults(tmp_path / "file.py")) == []


if __name__ == "__main__":
    folders = sys.argv[1:] or ["vaebench", "scripts", "conf"]
    for path in sources():
        name = str(path.relative_to(ROOT))
        if any(name.startswith(folder) for folder in folders):
            for fault in faults(path):
                print(f"{name}:{fault}")
