"""Comparison of all estimators with known true values.

Prints a table of true value, estimate, standard error, and error in standard errors. Seeds are fixed. An
estimate must be within three standard errors of the true value. A bound must be on its side of the true
value, or within three standard errors. Otherwise the row says WRONG and the exit code is 1. See
docs/estimators.md for the measures.

    python -m scripts.check_estimators [group ...] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from scripts.known_answers import fisher, information, likelihood, samplers
from scripts.known_answers.rows import Row, table

GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "likelihood": likelihood.likelihood,
    "annealing": likelihood.annealing,
    "gaps": likelihood.gaps,
    "information": information.information,
    "classified_information": information.classified_information,
    "codes": information.codes,
    "probes": information.probes,
    "propagation": information.propagation,
    "layers": fisher.layers,
    "enumeration": fisher.enumeration,
    "plane": fisher.plane,
    "mixture": samplers.mixture,
    "samplers": samplers.samplers,
    "chains": samplers.chains,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("groups", nargs="*", metavar="group", help=", ".join(GROUPS))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))} (choices: {', '.join(GROUPS)})")
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    started = time.perf_counter()
    for name in options.groups or GROUPS:
        since = time.perf_counter()
        rows += GROUPS[name]()
        print(f"{name}: {time.perf_counter() - since:.1f} s", file=sys.stderr)
    wrong = sum(not row.holds for row in rows)
    print(table(rows))
    print(
        f"\n{len(rows)} rows, {wrong} wrong, {time.perf_counter() - started:.0f} s, torch {torch.__version__}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
