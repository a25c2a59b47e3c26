"""Plot measurements against a setting, one line per model family, and print them as a table.

    python -m scripts.plot_runs outputs --x model.encoder.depth \
        --y fisher_encoder_trace fisher_decoder_trace --where training.epochs=20 --log --out depth.png

Names are the columns of `vaebench.reporting.runs.load_runs`. Points are means over seeds. Bars are standard
errors over seeds; with one seed, over test examples.
"""

from __future__ import annotations

import argparse
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import yaml

from vaebench.reporting.runs import load_runs

MARKERS = "osv^D"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path, help="folder of runs")
    parser.add_argument("--x", required=True, help="setting on the x axis")
    parser.add_argument("--y", required=True, nargs="+", help="measurements, one panel each")
    parser.add_argument("--by", default="model", help="column with one line per value")
    parser.add_argument("--where", nargs="*", default=[], help="setting=value of the runs to plot")
    parser.add_argument("--log", action="store_true", help="logarithmic y axis")
    parser.add_argument("--out", type=Path, help="file for the figure")
    options = parser.parse_args()
    runs = load_runs(options.outputs)
    for condition in options.where:
        key, _, value = condition.partition("=")
        runs = runs[[is_value(entry, value) for entry in runs[known(key, runs)]]]
    for name in (options.x, options.by, *options.y):
        known(name, runs)
    runs = runs.dropna(subset=[options.x, *options.y])
    if runs.empty:
        names = ", ".join((options.x, *options.y))
        raise SystemExit(f"no run in {options.outputs} has {names} and the settings of --where")
    table = summarised(runs, options.x, options.by, options.y)
    print(as_markdown(table, options.x, options.by, options.y))
    if options.out:
        draw(table, options)


def is_value(entry: Any, value: str) -> bool:
    """Return True if an entry of a column equals `value`, as text or as parsed.

    Integers of a column with missing entries are floats.
    """
    return str(entry) == value or bool(entry == yaml.safe_load(value))


def known(name: str, runs: pd.DataFrame) -> str:
    """Return the name of a column. Exits if there is none."""
    if name not in runs.columns:
        raise SystemExit(f"{name}: no such column (choices: {', '.join(sorted(runs.columns))})")
    return name


def summarised(runs: pd.DataFrame, x: str, by: str, measures: list[str]) -> pd.DataFrame:
    """Return a row per value of `by` and `x`: mean over seeds and standard error of each measurement."""
    rows = []
    for (label, at), group in runs.groupby([by, x]):
        different = [name for name in ("dataset", "tier", "hash") if group[name].nunique() > 1]
        different += ["version"] if group["seed"].duplicated().any() and not different else []
        if different:
            names = ", ".join(different)
            print(
                f"{label}, {x} = {at}: mean over runs that differ in {names}; see --where",
                file=sys.stderr,
            )
        row = {by: label, x: at, "seeds": len(group)}
        for name in measures:
            error = group[name].sem() if len(group) > 1 else group[f"{name}_se"].iloc[0]
            row |= {name: group[name].mean(), f"{name}_se": error}
        rows.append(row)
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame, x: str, by: str, measures: list[str]) -> str:
    """Format the table in Markdown."""
    head = [by, x, "seeds", *measures]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for _, row in table.iterrows():
        cells = [f"{row[name]:.4g} ± {row[f'{name}_se']:.2g}" for name in measures]
        lines.append(f"| {row[by]} | {row[x]:g} | {row['seeds']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Draw a panel per measurement and save the figure."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    num = len(options.y)
    figure, axes = plt.subplots(1, num, figsize=(4 * num, 3.2), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], options.y, strict=True):
        for marker, (label, line) in zip(cycle(MARKERS), table.groupby(options.by), strict=False):
            axis.errorbar(
                line[options.x], line[name], line[f"{name}_se"], marker=marker, markersize=5, label=label
            )
        axis.set(xlabel=options.x, ylabel=name, yscale="log" if options.log else "linear")
        axis.set_xticks(sorted(table[options.x].unique()))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.savefig(options.out, dpi=150)


if __name__ == "__main__":
    main()
