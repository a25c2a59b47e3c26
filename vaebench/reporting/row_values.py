"""A row's numbers: of a measure, which may be the ratio or the difference of two measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from vaebench.reporting.bootstrap import Sample, draws
from vaebench.reporting.measurements import Number
from vaebench.reporting.papers import MEASURE
from vaebench.reporting.runs import Run, load_arrays

PER_DATUM = {  # measurement -> file of arrays, array, sign
    "nll_nats": ("nll_{num_samples}_{n}", "log_px", -1.0),
    "perplexity": ("nll_{num_samples}_{n}", "log_px", -1.0),  # and the number of tokens of each
    "elbo": ("bound_{num_samples}", "elbo", 1.0),
    "reconstruction": ("bound_{num_samples}", "reconstruction", 1.0),
    "kl": ("bound_{num_samples}", "kl", 1.0),
}

OF_DRAWS = ("nll_nats", "bits_per_dim", "perplexity")
"""Estimates that fall with the number of draws a datum."""
OF_DATA = ("mi_lower", "mi_upper", "mi_interval_low", "mi_interval_high")
"""Estimates that the number of data caps."""

Rows = Mapping[str, Mapping[int, Run]]
"""Row -> seed -> run."""


def parts_of(measure: str) -> tuple[str, ...]:
    """The measurements that a measure is made of."""
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    return tuple(name for name in (match["first"], match["second"]) if name)


def value(run: Run, measure: str) -> float:
    """What a run measured."""
    return float(_combined(measure, [np.asarray(run.numbers[name].value) for name in parts_of(measure)]))


@dataclass(frozen=True)
class Compared:
    """A measure of several rows, over the same seeds and the test data that all have."""

    means: Mapping[str, float]
    """Row -> mean over seeds."""
    draws: Mapping[str, np.ndarray]
    """Row -> `[DRAWS]`, over seeds and test points."""
    num_data: int | None
    """How many data all have, where some row has more."""


def compared(rows: Rows, seeds: Sequence[int], measure: str) -> Compared:
    """The rows' numbers as a comparison takes them."""
    values: list[np.ndarray] = []  # of each part, [rows, seeds]
    drawn: list[Iterable[np.ndarray]] = []
    num_data = None
    for part in parts_of(measure):
        found = samples(rows, seeds, part)
        values.append(np.array([[found[row][seed].value for seed in seeds] for row in rows]))
        drawn.append(draws({f"{row}/{part}": found[row] for row in rows}, seeds).values())
        for row, of_row in found.items():
            for seed, one in of_row.items():
                if one.per_datum is not None and len(one.per_datum) < rows[row][seed].numbers[part].n:
                    num_data = len(one.per_datum)
    means = map(float, _combined(measure, values).mean(1))
    of_draws = (_combined(measure, parts) for parts in zip(*drawn, strict=True))
    return Compared(dict(zip(rows, means, strict=True)), dict(zip(rows, of_draws, strict=True)), num_data)


def samples(rows: Rows, seeds: Iterable[int], measurement: str) -> dict[str, dict[int, Sample]]:
    """Row -> seed -> its number, with its per-datum values where they are on file.

    Where runs were measured on different test data, all of which are on file one by one, the numbers are
    those of the data that all have; some test data are easier than others.
    """
    found = {row: {seed: sample(runs[seed], measurement) for seed in seeds} for row, runs in rows.items()}
    every = [one for of_row in found.values() for one in of_row.values()]
    if any(one.per_datum is None for one in every) or len({one.indices.tobytes() for one in every}) == 1:
        return found
    common = reduce(np.intersect1d, [one.indices for one in every])
    if not len(common):
        return found
    return {row: {seed: one.at(common) for seed, one in of_row.items()} for row, of_row in found.items()}


def unlike(rows: Rows, measure: str) -> Iterator[str]:
    """In what the rows' estimates differ that the numbers depend on: then they cannot be compared."""
    for part in parts_of(measure):
        numbers = [run.numbers[part] for runs in rows.values() for run in runs.values()]
        num_draws = sorted({number.settings.get("num_samples") or 0 for number in numbers})
        sizes = sorted({number.n for number in numbers})
        if part in OF_DRAWS and len(num_draws) > 1:
            yield f"S = {num_draws[0]} to {num_draws[-1]}, with which {part} falls"
        if part in OF_DATA and len(sizes) > 1:
            yield f"n = {sizes[0]} to {sizes[-1]}, by which {part} is capped"


def sample(run: Run, measurement: str) -> Sample:
    """A run's number with its per-datum values where they are on file."""
    number = run.numbers[measurement]
    arrays = per_datum(run, measurement, number)
    return Sample(number.value, number.standard_error, *arrays)


def per_datum(run: Run, measurement: str, number: Number) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Values and indices of the test data, or None; they are used only if their mean is the number."""
    if measurement not in PER_DATUM:
        return None, None
    pattern, array, sign = PER_DATUM[measurement]
    name = f"arrays/{pattern.format(n=number.n, **number.settings)}.npz"
    stored = load_arrays(run.path / number.files.get(name, name))
    if array not in stored:
        return None, None
    values, index = sign * stored[array].astype(np.float64), stored.get("index")
    if measurement == "perplexity":
        if "tokens" not in stored:  # of runs from before they were filed
            return None, None
        values = perplexity_by_datum(values, stored["tokens"].astype(np.float64))
    same = len(values) == number.n and abs(values.mean() - number.value) <= 1e-6 * max(1, abs(number.value))
    return (values, index) if same else (None, None)


def perplexity_by_datum(nll: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """`[n]` with mean exp(sum nll / sum tokens), and of other sentences theirs to first order."""
    rate = nll.sum() / tokens.sum()
    return np.exp(rate) * (1 + (nll - rate * tokens) / tokens.mean())


def _combined(measure: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    if match["operator"] is None:
        return parts[0]
    if match["operator"] == "-":
        return parts[0] - parts[1]
    # Of quantities that are positive, noise may put the lower one at 0 or below: then no bound is too high.
    above, below = parts
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.inf)
