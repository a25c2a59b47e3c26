"""`vaebench-status [outputs]`: list all runs below a folder with state and main measurements."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from vaebench.reporting.runs import Run, find_runs, main_numbers

COLUMNS = {
    "nll_nats": "NLL",
    "perplexity": "PPL",
    "elbo": "ELBO",
    "kl": "KL",
    "mi_lower": "MI ≥",
    "active_units_0.01": "AU",
    "svm_linear_accuracy": "SVM",
    "mlp_accuracy": "MLP",
}


def table(runs: list[Run]) -> pd.DataFrame:
    """Return a DataFrame with a row per run: path, state, main measurements (NaN if missing), note."""
    rows = []
    for run in runs:
        numbers = main_numbers(run.results)
        rows.append(
            {
                "run": f"{run.dataset}/{run.model}/{run.hash}",
                "seed": run.seed,
                "v": run.version,
                "state": run.state,
                **{label: numbers.get(name, float("nan")) for name, label in COLUMNS.items()},
                "note": run.note,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`: ")[1])
    parser.add_argument("outputs", nargs="?", default="outputs", type=Path, help="folder of runs")
    outputs: Path = parser.parse_args().outputs
    runs = list(find_runs(outputs))
    if not runs:
        print(f"No runs below {outputs}/.")
        return
    print(table(runs).to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))
    states = pd.Series([run.state for run in runs]).value_counts()
    print(", ".join(f"{count} {state}" for state, count in states.items()))


if __name__ == "__main__":
    main()
