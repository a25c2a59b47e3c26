"""Runs in this process, small enough for a test, with the real configuration underneath."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.golden import MLP, RUNS
from tests.compositions import composed
from vaebench.runner.experiment import run

SMALL = [
    "training.epochs=3",
    "model.encoder.width=32",
    "model.decoder.width=32",
    "model.latent_dim=4",
    "evaluation=likelihood",
    "evaluation.nll.num_samples=20",
    "runtime.device=cpu",
    "runtime.threads=1",
    "runtime.progress=never",
]


def tiny(family: str) -> list[str]:
    """Return the words that choose a family with networks of a few units."""
    words = ({"vae": MLP} | RUNS)[family].split()
    return [f"model={family}", *(word for word in words if word.startswith("model."))]


def small_config(outputs: Path, *overrides: str, families: bool = False) -> Any:
    """The composed config of a run of about a second; of `families` the networks keep their sizes."""
    config = composed(*([] if families else SMALL), *overrides)
    config.runtime.threads = config.runtime.threads or 1
    config.paths.outputs = str(outputs)  # not among the words, which are composed once for all tests
    return config


def small_run(outputs: Path, *overrides: str) -> Mapping[str, Any]:
    """Run it, and return the content of its results.json."""
    return run(small_config(outputs, *overrides))


def only_run(outputs: Path) -> Path:
    """The directory of the only run below `outputs`."""
    (found,) = outputs.glob("*/*/*/seed*/v*")
    return found


def read(run_directory: Path, name: str) -> Any:
    return json.loads((run_directory / name).read_text())


def without_seconds(value: Any) -> Any:
    """The same without wall-clock times, the only numbers of two equal runs that may differ."""
    if isinstance(value, dict):
        return {key: without_seconds(inner) for key, inner in value.items() if key != "seconds"}
    return [without_seconds(inner) for inner in value] if isinstance(value, list) else value
