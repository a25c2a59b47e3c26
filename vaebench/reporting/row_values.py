"""Values of a measure: one measurement, or the ratio or difference of two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from vaebench import layout
from vaebench.reporting.bootstrap import Sample, draws
from vaebench.reporting.measurements import Number
from vaebench.reporting.papers import MEASURE
from vaebench.reporting.runs import Run, load_arrays

PER_DATUM = {  # measurement -> file of arrays, name of the array, sign
    "nll_nats": ("nll_{num_samples}_{n}", "log_px", -1.0),
    "perplexity": ("nll_{num_samples}_{n}", "log_px", -1.0),  # needs the number of tokens per sentence too
    "elbo": ("bound_{num_samples}", "elbo", 1.0),
    "reconstruction": ("bound_{num_samples}", "reconstruction", 1.0),
    "kl": ("bound_{num_samples}", "kl", 1.0),
}

FALLS_WITH_SAMPLES = ("nll_nats", "bits_per_dim", "perplexity")
"""Estimates that fall with the number of samples S per test example."""
CAPPED_BY_DATA = ("mi_lower", "mi_upper", "mi_interval_low", "mi_interval_high")
"""Estimates whose cap grows with the number of test examples n."""

FEWEST_EXAMPLES = 30
"""Test examples in common below which rows are not compared: a bootstrap of fewer rejects too often."""

Rows = Mapping[str, Mapping[int, Run]]
"""Row -> seed -> run."""


def parts_of(measure: str) -> tuple[str, ...]:
    """Return the names of the measurements in a measure."""
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    return tuple(name for name in (match["first"], match["second"]) if name)


def value(run: Run, measure: str) -> float:
    """Return the value of a measure in a run."""
    return float(_combined(measure, [np.asarray(run.numbers[name].value) for name in parts_of(measure)]))


@dataclass(frozen=True)
class Comparison:
    """Values of a measure for several rows, on the same seeds and, within a seed, the same test examples."""

    means: Mapping[str, float]
    """Row -> mean over seeds."""
    draws: Mapping[str, np.ndarray]
    """Row -> `[DRAWS]`, bootstrap over seeds and test examples."""
    num_data: int | None
    """Smallest number, over seeds, of test examples in common, if some row has more; otherwise None."""

    @property
    def obstacle(self) -> str:
        """Reason why the rows cannot be compared, or ''."""
        if self.num_data is None or self.num_data >= FEWEST_EXAMPLES:
            return ""
        return f"the rows have {self.num_data} test examples in common, and {FEWEST_EXAMPLES} are needed"


def comparison_of(rows: Rows, seeds: Sequence[int], measure: str) -> Comparison:
    """Compute means and bootstrap draws of the rows."""
    values: list[np.ndarray] = []  # [rows, seeds] for each part
    drawn: list[Iterable[np.ndarray]] = []
    num_data = None
    for part in parts_of(measure):
        by_row = samples(rows, seeds, part)
        values.append(np.array([[by_row[row][seed].value for seed in seeds] for row in rows]))
        drawn.append(draws({f"{row}/{part}": by_row[row] for row in rows}, seeds).values())
        for row, by_seed in by_row.items():
            for seed, one in by_seed.items():
                if one.per_datum is not None and len(one.per_datum) < rows[row][seed].numbers[part].n:
                    num_data = min(len(one.per_datum), num_data or len(one.per_datum))
    means = map(float, _combined(measure, values).mean(1))
    combined = (_combined(measure, parts) for parts in zip(*drawn, strict=True))
    return Comparison(dict(zip(rows, means, strict=True)), dict(zip(rows, combined, strict=True)), num_data)


def samples(rows: Rows, seeds: Sequence[int], measurement: str) -> dict[str, dict[int, Sample]]:
    """Return row -> seed -> measurement, with values per test example where they are saved.

    If the rows of a seed have different test examples and all saved their values, the measurements are
    restricted to the examples in common, since some examples are easier than others. Seeds may have different
    examples, since a random choice depends on the seed: a difference between rows is paired within each seed.
    """
    by_row = {row: {seed: sample(runs[seed], measurement) for seed in seeds} for row, runs in rows.items()}
    for seed in seeds:
        of_seed = [by_seed[seed] for by_seed in by_row.values()]
        if any(one.per_datum is None for one in of_seed):
            continue
        common = reduce(np.intersect1d, [one.indices for one in of_seed])
        for by_seed in by_row.values():
            by_seed[seed] = by_seed[seed].at(common)
    return by_row


def unlike(rows: Rows, measure: str) -> Iterator[str]:
    """Yield the differences in S or n that make the rows' estimates incomparable."""
    for part in parts_of(measure):
        numbers = [run.numbers[part] for runs in rows.values() for run in runs.values()]
        num_samples = sorted({number.settings.get("num_samples") or 0 for number in numbers})
        sizes = sorted({number.n for number in numbers})
        if part in FALLS_WITH_SAMPLES and len(num_samples) > 1:
            spread = f"{num_samples[0]:,} to {num_samples[-1]:,}"
            yield f"{part} falls with the number of samples, here S = {spread}"
        if part in CAPPED_BY_DATA and len(sizes) > 1:
            spread = f"{sizes[0]:,} to {sizes[-1]:,}"
            yield f"the cap of {part} grows with the number of examples, here n = {spread}"


def sample(run: Run, measurement: str) -> Sample:
    """Return a run's measurement, with values per test example where they are saved."""
    number = run.numbers[measurement]
    arrays = per_datum(run, measurement, number)
    return Sample(number.value, number.standard_error, *arrays)


def per_datum(run: Run, measurement: str, number: Number) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return values per test example and their positions in the test set, or None.

    Stored values are used only if their mean equals the measurement.
    """
    if measurement not in PER_DATUM:
        return None, None
    pattern, array, sign = PER_DATUM[measurement]
    name = f"{layout.ARRAYS}/{pattern.format(n=number.n, **number.settings)}.npz"
    stored = load_arrays(run.path / number.files.get(name, name))
    if array not in stored:
        return None, None
    values, index = sign * stored[array].astype(np.float64), stored.get("index")
    if measurement == "perplexity":
        if "tokens" not in stored:  # an older run, which did not save them
            return None, None
        values = perplexity_by_datum(values, stored["tokens"].astype(np.float64))
    agrees = len(values) == number.n and abs(values.mean() - number.value) <= 1e-6 * max(1, abs(number.value))
    return (values, index) if agrees else (None, None)


def perplexity_by_datum(nll: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return `[n]` values with mean exp(sum nll / sum tokens).

    Their mean over other sentences is the perplexity of those to first order (delta method).
    """
    rate = nll.sum() / tokens.sum()
    return np.exp(rate) * (1 + (nll - rate * tokens) / tokens.mean())


def _combined(measure: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Compute a measure from its measurements. A ratio with a denominator of 0 or below is infinite."""
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    if match["operator"] is None:
        return parts[0]
    if match["operator"] == "-":
        return parts[0] - parts[1]
    # Noise may put a positive denominator at 0 or below: such a ratio exceeds every bound.
    above, below = parts
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.inf)
