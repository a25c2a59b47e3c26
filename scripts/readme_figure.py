"""Join the figures of a run into one picture: `python -m scripts.readme_figure <run> <out.png>`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from vaebench import layout

MOSAIC = "CCT;RRT"
FIGURES = {"C": "curves", "R": "reconstructions", "T": "tsne"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("run", type=Path, help="a run directory with evaluation=full")
    parser.add_argument("out", type=Path, help="file for the picture")
    options = parser.parse_args()
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    for name, axis in figure.subplot_mosaic(MOSAIC, height_ratios=[1.55, 1]).items():
        axis.imshow(imread(options.run / layout.FIGURES / f"{FIGURES[name]}.png"))
        axis.set_axis_off()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
