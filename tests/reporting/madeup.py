"""Artificial run directories with known measurements, in the format of the runner."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.config.helpers import config_of
from vaebench.config.identity import config_hash
from vaebench.reporting.papers import Column, Paper, Row, Target, Tier
from vaebench.reporting.published_values import Cell
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs
from vaebench.reporting.statements import Claim

TEST_POINTS = 200
EPOCH = {"epoch": 1, "step": 10, "train": {"elbo": -90.0, "kl": 5.0}, "valid": {"elbo": -91.0, "kl": 5.0}}


@cache
def composed_of(words: tuple[str, ...]) -> dict[str, Any]:
    """Compose a command line, once per test run since it is slow."""
    return dict(config_of(*words))


def put_run(
    outputs: Path,
    row: Row,
    tier: Tier = "full",
    seed: int = 0,
    *,
    dataset: str | None = None,
    version: str = "v0",
    points: np.ndarray | None = None,
    error: float | None = 0.1,
    state: str = "complete",
    **numbers: float,
) -> Path:
    """Write a run with the settings of a row and these measurements, one evaluator each.

    `points` are the NLLs of the test examples.
    """
    config = copy.deepcopy(composed_of(row.words(tier))) | {"seed": seed}
    if dataset is not None:
        config["dataset"]["name"] = dataset
    name, model, digest = config["dataset"]["name"], config["model"]["name"], config_hash(config)
    folder = outputs / name / model / digest / f"seed{seed}" / version
    (folder / "arrays").mkdir(parents=True)
    if points is not None:
        numbers["nll_nats"] = float(points.mean())
        np.savez(folder / f"arrays/nll_500_{len(points)}.npz", log_px=-points, index=np.arange(len(points)))
    run = {"dataset": name, "model": model, "hash": digest, "seed": seed, "version": version, "tier": tier}
    entries = [
        {
            "name": f"of_{key}", "version": 1, "settings": {"num_samples": 500}, "status": "complete",
            "seconds": 1.0,
            "measurements": [
                {"name": key, "value": value, "unit": "nats", "higher_is_better": None, "n": TEST_POINTS,
                 "standard_error": error}
            ],
        }
        for key, value in numbers.items()
    ]  # fmt: skip
    put(
        folder / "results.json",
        {
            "schema_version": 1,
            "run": run,
            "training": {"epochs": 1, "seconds": 9},
            "evaluations": entries,
        },
    )
    put(folder / "status.json", {"state": state})
    attempt = {
        "time": "2026-01-31T12:00:00+00:00", "command": "vaebench", "git": {"commit": "c0ffee"},
        "hardware": {"cpu": "abacus", "device": "cpu"},
    }  # fmt: skip
    put(folder / "provenance.json", [attempt])
    (folder / "metrics.jsonl").write_text(json.dumps(EPOCH) + "\n" + json.dumps(EPOCH | {"epoch": 2}) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(_plain(config)))
    return folder


def put_both(
    outputs: Path,
    vae: float,
    scvae: float,
    seeds: int = 3,
    spread: float = 0.1,
    tier: Tier = "full",
    dataset: str | None = None,
    error: float | None = 0.1,
    **numbers: float,
) -> None:
    """Write runs of both rows, whose NLLs move in opposite directions by `spread` from seed to seed."""
    rows = paper().rows
    for seed in range(seeds):
        shift = spread * (seed - (seeds - 1) / 2)
        for row, nll in (("vae", vae + shift), ("scvae", scvae - shift)):
            put_run(outputs, rows[row], tier, seed, dataset=dataset, error=error, nll_nats=nll, **numbers)


def cell(outputs: Path, row: str, **published: float) -> Cell:
    """Return a cell of the NLL column."""
    report = make_report({"mine": paper(**published)}, list(find_runs(outputs)))
    return report.targets["mine-table1"].cells[row, "NLL"]


def remeasure(folder: Path, name: str, **facts: Any) -> None:
    """Change the fields of a measurement in results.json."""
    results = json.loads((folder / "results.json").read_text())
    for entry in results["evaluations"]:
        for measurement in entry["measurements"]:
            if measurement["name"] == name:
                measurement |= facts
    put(folder / "results.json", results)


def put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def paper(*claims: Mapping[str, Any], **published: float | None) -> Paper:
    """Return a paper with two rows, `vae` and `scvae`, whose only table prints the NLL."""
    rows = {
        "vae": Row(label="VAE", experiment="scvae/vae_1l"),
        "scvae": Row(label="SCVAE", experiment="scvae/scvae", reduced=("training.epochs=3",)),
    }
    target = Target(
        title="Table 1",
        cost={"full": "", "reduced": "", "smoke": ""},
        columns={"NLL": Column(measure="nll_nats", tolerance=0.5)},
        cells={row: (published[row],) if row in published else () for row in rows},
        against="vae",
        claims=tuple(Claim(says="it is so", where="Table 1", **claim) for claim in claims),
    )
    return Paper(title="A paper", authors="Nobody", rows=rows, targets={"table1": target})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
