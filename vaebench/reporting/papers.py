"""Published tables, figures and claims as data: read `conf/paper/<paper>.yaml` and check it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from vaebench.config.paths import conf_dir
from vaebench.errors import UserError
from vaebench.reporting.runs import Loader
from vaebench.reporting.statements import Claim, Closed

Tier = Literal["full", "reduced", "smoke"]
TIERS: tuple[Tier, ...] = ("full", "reduced", "smoke")
"""From best to worst: `full` can match published numbers; numbers of `smoke` mean nothing."""

KINDS = "greater, within, ordered, steady, widening"

MEASURE = re.compile(r"(?P<first>[\w.]+)(?: (?P<operator>[-/]) (?P<second>[\w.]+))?")


class PaperError(UserError):
    """Error in a file of published numbers."""


class Row(Closed):
    """Model to train: an experiment and overrides."""

    label: str
    experiment: str = ""
    """Path below conf/experiment/<paper>; the default is the key of the row."""
    overrides: tuple[str, ...] = Field((), alias="with")
    smoke: tuple[str, ...] = ()
    """Further overrides of this row at that tier, which set how long it takes."""
    reduced: tuple[str, ...] = ()

    def words(self, tier: Tier) -> tuple[str, ...]:
        """Return the command line, without seed, of this row's runs."""
        return (f"experiment={self.experiment}", f"tier={tier}", *self.changes(tier))

    def changes(self, tier: Tier) -> tuple[str, ...]:
        """Return the overrides of the experiment at a tier."""
        tier_overrides = {"smoke": self.smoke, "reduced": self.reduced, "full": ()}[tier]
        return tuple(forced(word) for word in (*self.overrides, *tier_overrides))


class Column(Closed):
    """Column of a table: a measure of each row."""

    measure: str
    tolerance: float = Field(gt=0)
    """Largest |ours - published| that agrees. (Papers print no standard errors.)"""
    digits: int = 2


class Figure(Closed):
    """Figure of a paper, which the report draws from the measurements of runs."""

    kind: Literal["bars", "lines", "montage", "plane", "layers", "map"]
    rows: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    """For a montage: names of figures in the run directory."""
    stacked: bool = False
    """For a montage: a line for each row of the table instead of a column."""
    series: dict[str, dict[float, str]] = Field(default_factory=dict)
    """For lines: label -> x -> row."""
    x: str = ""
    log: bool = False


class Target(Closed):
    """Table or figure of a paper; `make <paper>-<target>` runs its rows."""

    title: str
    cost: dict[Tier, str]
    columns: dict[str, Column]
    cells: dict[str, tuple[float | None, ...]]
    """Row -> published values in the order of the columns, or an empty list if none is published."""
    against: str | None = None
    """Reference row, with which the paper compares the other rows."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Rows that the paper compares with each other; they come before `against`."""
    not_credible: dict[str, str] = Field(default_factory=dict)
    """`row column` with wildcards -> reason to doubt the published number."""
    not_comparable: dict[str, str] = Field(default_factory=dict)
    """`row column` with wildcards -> reason why ours and theirs measure different quantities."""
    figure: Figure | None = None
    claims: tuple[Claim, ...] = ()

    def published(self, row: str, column: str) -> float | None:
        """Return the published value of a cell, if there is one."""
        values = self.cells[row]
        return values[list(self.columns).index(column)] if values else None

    def compared_with(self, row: str) -> str | None:
        """Return the reference row of a row: the other of its pair, or `against`."""
        for one, other in self.pairs:
            if row in (one, other):
                return other if row == one else one
        return None if row == self.against else self.against

    @staticmethod
    def remark(remarks: Mapping[str, str], row: str, column: str) -> str:
        """Return the reasons whose pattern matches the cell."""
        reasons = (reason for where, reason in remarks.items() if fnmatch(f"{row} {column}", where))
        return "; ".join(reasons)


class Paper(Closed):
    """Paper with its rows, tables, figures and claims."""

    title: str
    authors: str
    shared: Any = None
    """Anchors of the YAML file; the program does not read them."""
    rows: dict[str, Row]
    targets: dict[str, Target]


@dataclass(frozen=True)
class Name:
    """Name of a target, such as `scvae-table1`."""

    paper: str
    target: str

    def __str__(self) -> str:
        return f"{self.paper}-{self.target}"


def load_papers(folder: Path | None = None) -> dict[str, Paper]:
    """Read all papers; name of the file -> paper.

    Raises PaperError with file, key and reason.
    """
    files = sorted((folder or Path(conf_dir()) / "paper").glob("*.yaml"))
    return {file.stem: read_paper(file) for file in files}


def read_paper(file: Path) -> Paper:
    """Read and check one file. Raises PaperError with all problems."""
    try:
        content = yaml.load(file.read_text(), Loader)
        paper = Paper.model_validate(content)
    except yaml.YAMLError as error:
        raise PaperError(f"{file}: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise PaperError(f"{file}:\n  " + "\n  ".join(lines)) from error
    if problems := list(_problems(paper)):
        raise PaperError(f"{file}:\n  " + "\n  ".join(problems))
    rows = {
        key: row.model_copy(update={"experiment": f"{file.stem}/{row.experiment or key}"})
        for key, row in paper.rows.items()
    }
    return paper.model_copy(update={"rows": rows})


def chosen(papers: Mapping[str, Paper], words: Iterable[str]) -> list[Name]:
    """Return the targets that words such as `all`, `scvae` or `scvae-table1` name.

    Raises PaperError for an unknown name.
    """
    all_names = [Name(paper, target) for paper, content in papers.items() for target in content.targets]
    names: list[Name] = []
    for word in words:
        matches = [name for name in all_names if word in ("all", name.paper, str(name))]
        if not matches:
            choices = ", ".join(["all", *papers, *map(str, all_names)])
            raise PaperError(f"{word}: no such target (choices: {choices})")
        names += [name for name in matches if name not in names]
    return names


def forced(override: str) -> str:
    """Return `++key=value`, which sets a key whether or not the default config has it.

    Without `++` a sweep over experiments fails for keys that only the experiments have.
    """
    key = override.partition("=")[0]
    return f"++{override}" if "." in key and not override.startswith("+") and "/" not in key else override


def _problems(paper: Paper) -> Iterable[str]:
    """Yield what the types cannot express: unknown rows and measures, and wrong counts."""
    for name, target in paper.targets.items():
        compared = [row for pair in target.pairs for row in pair] + [target.against] * bool(target.against)
        unknown = {str(row) for row in (*target.cells, *compared)} - {*paper.rows}
        if target.figure is not None:
            drawn = [row for series in target.figure.series.values() for row in series.values()]
            unknown |= {*target.figure.rows, *drawn} - {*target.cells}
        for row, values in target.cells.items():
            if values and len(values) != len(target.columns):
                count = f"{len(values)} values for {len(target.columns)} columns"
                yield f"{name}.cells.{row}: {count}; expected one each, or []"
        for remark in (*target.not_credible, *target.not_comparable):
            if not any(fnmatch(f"{row} {col}", remark) for row in target.cells for col in target.columns):
                yield f"{name}: {remark!r} matches no cell; expected 'row column'"
        measures = [column.measure for column in target.columns.values()]
        for claim in target.claims:
            if len(claim.statements) != 1:
                yield f"{name}, {claim.says!r}: {len(claim.statements)} statements; expected one of {KINDS}"
                continue
            if claim.within and claim.within.low is None and claim.within.high is None:
                yield f"{name}, {claim.says!r}: neither low nor high; give at least one"
            measures.append(claim.statement.measure)
            unknown |= {*claim.statement.rows} - {*paper.rows}
        yield from (f"{name}: {row!r} is not a row; add it to `rows` or `cells`" for row in sorted(unknown))
        yield from (
            f"{name}: {measure!r} is not a measure; expected `a`, `a - b` or `a / b`"
            for measure in measures
            if not MEASURE.fullmatch(measure)
        )
