"""Claims of papers as statements about the measures of rows."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    """Mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OfPairs(Closed):
    """Base of the statements about pairs (a, b) of rows."""

    measure: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row for pair in self.pairs for row in pair))


class Greater(OfPairs):
    """Statement: for each pair (a, b) the measure of a exceeds the measure of b by more than `by`."""

    by: float = 0.0


class Within(Closed):
    """Statement: the measure of every row is at least `low` and at most `high`."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=1)
    low: float | None = None
    high: float | None = None


class Ordered(Closed):
    """Statement: the measure rises, or falls, from each row to the next."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=2)
    direction: Literal["rises", "falls"]


class Steady(Closed):
    """Statement: the largest measure of the rows is at most `factor` times the smallest."""

    measure: str
    rows: tuple[str, ...] = Field(min_length=2)
    factor: float = Field(gt=1)


class Widening(OfPairs):
    """Statement: the difference of a pair (a, b), a minus b, rises from each pair to the next."""

    pairs: tuple[tuple[str, str], ...] = Field(min_length=2)


Statement = Greater | Within | Ordered | Steady | Widening


class Claim(Closed):
    """Claim of a paper: its words and exactly one statement."""

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
        kinds = (self.greater, self.within, self.ordered, self.steady, self.widening)
        return [statement for statement in kinds if statement is not None]
