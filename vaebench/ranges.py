"""Value ranges for the signatures of constructors; `config.check` enforces them."""

from typing import Annotated

from annotated_types import Ge, Gt, Interval, Lt

Count = Annotated[int, Ge(1)]
"""Number of items, at least one."""

AtLeastTwo = Annotated[int, Ge(2)]
"""Number of items, at least two, so that they can be compared."""

NonNegativeInt = Annotated[int, Ge(0)]
"""Number of items, possibly zero."""

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]
Momentum = Annotated[float, Ge(0), Lt(1)]
"""Coefficient of a running average, or a dropout probability: in [0, 1)."""
