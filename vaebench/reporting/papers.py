"""What the papers print and claim, as data: `conf/paper/<paper>.yaml`, checked as it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vaebench.config.paths import conf_dir
from vaebench.errors import UserError

Tier = Literal["full", "reduced", "smoke"]
TIERS: tuple[Tier, ...] = ("full", "reduced", "smoke")
"""From the one that can be compared with published numbers to the one of which no number means anything."""

MEASURE = re.compile(r"(?P<first>[\w.]+)(?: (?P<operator>[-/]) (?P<second>[\w.]+))?")


class PaperError(UserError):
    """A file of published numbers says what it cannot mean."""


class Closed(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(Closed):
    """A trained model: an experiment, and what of it is changed."""

    label: str
    experiment: str = ""
    """Below conf/experiment; by default <paper>/<key of the row>."""
    overrides: tuple[str, ...] = Field((), alias="with")
    smoke: tuple[str, ...] = ()
    """What a tier overrides besides its own file, so that the row takes as long as it should."""
    reduced: tuple[str, ...] = ()

    def words(self, tier: Tier) -> tuple[str, ...]:
        """The overrides that this row's runs are started with."""
        return (f"experiment={self.experiment}", f"tier={tier}", *self.changes(tier))

    def changes(self, tier: Tier) -> tuple[str, ...]:
        of_tier = {"smoke": self.smoke, "reduced": self.reduced, "full": ()}[tier]
        return tuple(forced(word) for word in (*self.overrides, *of_tier))


class Column(Closed):
    """A quantity that a table prints of each row."""

    measure: str
    tolerance: float = Field(gt=0)
    """How far ours may lie from theirs, which has no error, and agree."""
    digits: int = 2


class OfPairs(Closed):
    """A statement about pairs (a, b) of rows."""

    measure: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row for pair in self.pairs for row in pair))


class Greater(OfPairs):
    """Of each pair (a, b) the measure of a exceeds that of b, by more than `by`."""

    by: float = 0.0


class Within(Closed):
    """The measure of every row is at least `low` and at most `high`."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=1)
    low: float | None = None
    high: float | None = None


class Ordered(Closed):
    """The measure rises, or falls, from each row to the next."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=2)
    direction: Literal["rises", "falls"]


class Steady(Closed):
    """The largest of the rows' measures is at most `factor` times the smallest."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=2)
    factor: float = Field(gt=1)


class Widening(OfPairs):
    """The difference of a pair (a, b), the measure of a less that of b, rises from each pair to the next."""

    pairs: tuple[tuple[str, str], ...] = Field(min_length=2)


Statement = Greater | Within | Ordered | Steady | Widening


class Claim(Closed):
    """What a paper says in words, as a statement over runs; exactly one kind."""

    says: str
    where: str
    note: str = ""
    greater: Greater | None = None
    within: Within | None = None
    ordered: Ordered | None = None
    steady: Steady | None = None
    widening: Widening | None = None

    @property
    def statement(self) -> Statement:
        (statement,) = self.statements
        return statement

    @property
    def statements(self) -> list[Statement]:
        every = (self.greater, self.within, self.ordered, self.steady, self.widening)
        return [statement for statement in every if statement is not None]


class Figure(Closed):
    """How a figure is drawn again from what runs recorded."""

    kind: Literal["bars", "lines", "montage", "plane", "layers", "map"]
    rows: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    """Of a montage: names of the runs' figures."""
    stacked: bool = False
    """Of a montage: a line for each row of the table, and not a column."""
    series: dict[str, dict[float, str]] = {}
    """Of lines: label -> x -> row."""
    x: str = ""
    log: bool = False


class Target(Closed):
    """A table or figure of the paper, as `make <paper>-<target>` runs and shows it."""

    title: str
    cost: dict[Tier, str]
    columns: dict[str, Column]
    cells: dict[str, tuple[float | None, ...]]
    """Row -> what is published, in the order of the columns; an empty list where nothing is."""
    against: str | None = None
    """The row that the paper compares the others with."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Rows that it compares with each other."""
    not_credible: dict[str, str] = {}
    """`row column` with wildcards -> why the published number is doubted."""
    not_comparable: dict[str, str] = {}
    """Likewise -> why ours and theirs do not measure the same."""
    figure: Figure | None = None
    claims: tuple[Claim, ...] = ()

    def published(self, row: str, column: str) -> float | None:
        values = self.cells[row]
        return values[list(self.columns).index(column)] if values else None

    def compared_with(self, row: str) -> str | None:
        for one, other in self.pairs:
            if row in (one, other):
                return other if row == one else one
        return None if row == self.against else self.against

    @staticmethod
    def remark(remarks: Mapping[str, str], row: str, column: str) -> str:
        return "; ".join(why for where, why in remarks.items() if fnmatch(f"{row} {column}", where))


class Paper(Closed):
    """A paper's tables, figures and claims."""

    title: str
    authors: str
    shared: Any = None
    """Anchors of the YAML file; not read."""
    rows: dict[str, Row]
    targets: dict[str, Target]


@dataclass(frozen=True)
class Name:
    """`scvae-table1`, in its parts."""

    paper: str
    target: str

    def __str__(self) -> str:
        return f"{self.paper}-{self.target}"


def load_papers(folder: Path | None = None) -> dict[str, Paper]:
    """Every paper by the name of its file. Raises PaperError, naming file, key and reason."""
    files = sorted((folder or Path(conf_dir()) / "paper").glob("*.yaml"))
    return {file.stem: read_paper(file) for file in files}


def read_paper(file: Path) -> Paper:
    """One file, checked. Raises PaperError with every problem found."""
    try:
        content = yaml.safe_load(file.read_text())
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
    """Targets by the names of `make`: `all`, `scvae`, `scvae-table1`. Raises PaperError for another."""
    every = [Name(paper, target) for paper, content in papers.items() for target in content.targets]
    found: list[Name] = []
    for word in words:
        named = [name for name in every if word in ("all", name.paper, str(name))]
        if not named:
            raise PaperError(
                f"{word}: no such target (choices: all, {', '.join([*papers, *map(str, every)])})"
            )
        found += [name for name in named if name not in found]
    return found


def forced(override: str) -> str:
    """`++key=value`: in a sweep over experiments Hydra wants keys to be in the default config too."""
    key = override.partition("=")[0]
    return f"++{override}" if "." in key and not override.startswith("+") and "/" not in key else override


def _problems(paper: Paper) -> Iterable[str]:
    for name, target in paper.targets.items():
        compared = [row for pair in target.pairs for row in pair] + [target.against] * bool(target.against)
        unknown = {str(row) for row in (*target.cells, *compared)} - {*paper.rows}
        if target.figure is not None:
            drawn = [row for series in target.figure.series.values() for row in series.values()]
            unknown |= {*target.figure.rows, *drawn} - {*target.cells}
        for row, values in target.cells.items():
            if values and len(values) != len(target.columns):
                yield f"{name}.cells.{row}: {len(values)} values for {len(target.columns)} columns"
        for remark in (*target.not_credible, *target.not_comparable):
            if not any(fnmatch(f"{row} {col}", remark) for row in target.cells for col in target.columns):
                yield f"{name}: {remark!r} is no cell"
        measures = [column.measure for column in target.columns.values()]
        for claim in target.claims:
            if len(claim.statements) != 1:
                yield f"{name}, {claim.says!r}: {len(claim.statements)} statements, expected one"
                continue
            if claim.within and claim.within.low is None and claim.within.high is None:
                yield f"{name}, {claim.says!r}: neither low nor high"
            measures.append(claim.statement.measure)
            unknown |= {*claim.statement.rows} - {*paper.rows}
        yield from (f"{name}: {row!r} is no row" for row in sorted(unknown))
        yield from (
            f"{name}: {measure!r} is no measure" for measure in measures if not MEASURE.fullmatch(measure)
        )
