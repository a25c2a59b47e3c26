"""A row's numbers: of a measure, which may be the ratio or the difference of two measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vaebench.reporting.bootstrap import Sample, draws
from vaebench.reporting.collect import Run
from vaebench.reporting.number import Number
from vaebench.reporting.papers import MEASURE

PER_DATUM = {  # measurement -> file of arrays, array, sign
    "nll_nats": ("nll_{num_samples}_{n}", "log_px", -1.0),
    "elbo": ("bound_{num_samples}", "elbo", 1.0),
    "reconstruction": ("bound_{num_samples}", "reconstruction", 1.0),
    "kl": ("bound_{num_samples}", "kl", 1.0),
}


def parts_of(measure: str) -> tuple[str, ...]:
    """The measurements that a measure is made of."""
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    return tuple(name for name in (match["first"], match["second"]) if name)


def value(run: Run, measure: str) -> float:
    """What a run measured."""
    return float(_combined(measure, [np.asarray(run.numbers[name].value) for name in parts_of(measure)]))


def replicates(runs: Mapping[int, Run], seeds: Sequence[int], measure: str, name: str) -> np.ndarray:
    """`[DRAWS]` of a row's measure, over seeds and test points."""
    found = []
    for part in parts_of(measure):
        samples = {seed: sample(runs[seed], part) for seed in seeds}
        found.append(draws(samples, seeds, f"{name}/{part}"))
    return _combined(measure, found)


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
    path = run.path / number.files.get(name, name)
    try:
        with np.load(path) as stored:
            values = sign * stored[array].astype(np.float64)
            index = stored.get("index")
    except (OSError, ValueError, KeyError):
        return None, None
    same = len(values) == number.n and abs(values.mean() - number.value) <= 1e-6 * max(1, abs(number.value))
    return (values, index) if same else (None, None)


def _combined(measure: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    match = MEASURE.fullmatch(measure)
    assert match is not None, measure
    if match["operator"] is None:
        return parts[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return parts[0] - parts[1] if match["operator"] == "-" else parts[0] / parts[1]
