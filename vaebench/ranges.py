"""Value ranges that constructors state in their signatures and `config.check` enforces."""

from typing import Annotated

from annotated_types import Ge, Gt, Interval, Lt

Count = Annotated[int, Ge(1)]
"""How many of something there are: at least one."""

AtLeastTwo = Annotated[int, Ge(2)]
"""Enough of something to compare one with the others."""

NonNegativeInt = Annotated[int, Ge(0)]
"""A count that may be zero."""

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]
Momentum = Annotated[float, Ge(0), Lt(1)]
"""The coefficient of a running average."""
