"""Rows of the table that compares estimates with true values."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from vaebench.data.spec import Split, Splits
from vaebench.evaluation.base import Measurement
from vaebench.model import Model
from vaebench.parts import Evaluator
from vaebench.testing import make_context, measure, toy_spec

LIMIT = 3.0  # standard errors
ROUNDING = 1e-5  # relative error allowed for exact estimates, for float32 rounding

Relation = Literal["=", "<=", ">=", "<", ">"]
"""Required relation of the estimate to the true value. =, <=, >=: it holds up to LIMIT standard errors. <, >:
estimate and true value differ by more than LIMIT standard errors."""


@dataclass(frozen=True)
class Row:
    """Estimate and its true value."""

    measure: str
    setting: str
    truth: float
    estimate: float
    error: float | None
    """Standard error of the estimate; None if the estimate is exact."""
    relation: Relation = "="
    remark: str = ""

    @classmethod
    def of(
        cls, number: Measurement, setting: str, truth: float, relation: Relation = "=", remark: str = ""
    ) -> Row:
        return cls(number.name, setting, truth, number.value, number.standard_error, relation, remark)

    @property
    def z(self) -> float:
        """Estimate minus true value, in standard errors.

        For an exact estimate, LIMIT standard errors are the rounding error that is allowed.
        """
        error = ROUNDING * max(1.0, abs(self.truth)) / LIMIT if self.error is None else self.error
        return (self.estimate - self.truth) / error

    @property
    def holds(self) -> bool:
        at_most, at_least = self.z <= LIMIT, self.z >= -LIMIT
        return {
            "=": at_most and at_least, "<=": at_most, ">=": at_least, "<": not at_least, ">": not at_most,
        }[self.relation]  # fmt: skip

    def cells(self) -> list[str]:
        error, z = ("exact", "") if self.error is None else (f"{self.error:.4f}", f"{self.z:+.1f}")
        numbers = [f"{self.truth:.4f}", f"{self.estimate:.4f}", error, z]
        stated = {"=": "equal", "<=": "at most", ">=": "at least", "<": "less", ">": "more"}[self.relation]
        return [self.measure, self.setting, *numbers, stated + ("" if self.holds else ": WRONG"), self.remark]


def table(rows: Iterable[Row]) -> str:
    """Format the rows as a Markdown table."""
    head = ["measure", "setting", "truth", "estimate", "standard error", "z", "should be", "remark"]
    body = [head, ["---"] * 2 + ["---:"] * 4 + ["---"] * 2, *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in body)


def measured(
    evaluator: Evaluator, model: Model, data: Tensor | Splits
) -> tuple[dict[str, Measurement], dict[str, np.ndarray]]:
    """Return an evaluator's measurements, by name, and the arrays that it saves.

    If `data` is a tensor, it is used for all splits.
    """
    splits = data if isinstance(data, Splits) else in_parts(data, data)
    test = splits.test
    spec = toy_spec(tuple(test.x.shape[1:]), None if test.y is None else int(test.y.max()) + 1)
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(evaluator, make_context(model, test, Path(folder), splits=splits, spec=spec))
        for path in Path(folder).glob("arrays/*.npz"):
            with np.load(path) as stored:
                arrays |= dict(stored)
    return numbers, arrays


def in_parts(train: Tensor, test: Tensor) -> Splits:
    return Splits(Split(train, None), Split(train, None), Split(test, None))
