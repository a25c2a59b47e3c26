"""kill -9 at random moments, then the same command: the end is an uninterrupted run's, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs import only_run, without_seconds

KILLS = 20
OVERRIDES = [
    "training.epochs=12",
    "model.objective.warmup_epochs=4",
    "model.encoder.width=64",
    "model.decoder.width=64",
    "model.latent_dim=8",
    "evaluation.nll.num_samples=2000",
    "evaluation.mlp_probe.epochs=3",
    "runtime.threads=1",
    "runtime.device=cpu",
    "runtime.checkpoint_seconds=0",  # a checkpoint at every step, so that kills meet the writing
]


def run_with_kills(outputs: Path, kills: int, seconds: float = 0.6) -> dict[str, Any]:
    """Kill the run `kills` times, then let it end; what the server says about it."""
    overrides = [*OVERRIDES, f"paths.outputs={outputs}"]
    plan = {"outputs": str(outputs), "overrides": overrides, "kills": kills, "seconds": seconds, "seed": 0}
    done = subprocess.run(
        [sys.executable, "-m", "tests.runner.kill_server", json.dumps(plan)],
        capture_output=True, text=True, check=True, timeout=250, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def numbers(run: Path) -> tuple[Any, Any, dict[str, bytes]]:
    """Everything a run measured: results, curves, arrays."""
    results = without_seconds(json.loads((run / "results.json").read_text()))
    curves = [without_seconds(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]
    arrays = {}
    for path in sorted((run / "arrays").glob("*.npz")):
        with np.load(path) as stored:
            arrays |= {f"{path.stem}/{name}": stored[name].tobytes() for name in stored.files}
    return results, curves, arrays


@pytest.mark.slow
def test_killed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    assert run_with_kills(tmp_path / "whole", kills=0)["exit"] == 0
    expected = numbers(only_run(tmp_path / "whole"))
    states: list[str] = []
    for attempt in range(6):  # a run that ends before it was killed often enough is followed by another
        outputs = tmp_path / f"killed{attempt}"
        outcome = run_with_kills(outputs, KILLS - len(states))
        assert outcome["exit"] == 0
        states += outcome["states"]
        assert numbers(only_run(outputs)) == expected
        assert json.loads((only_run(outputs) / "status.json").read_text())["state"] == "complete"
        if len(states) >= KILLS:
            break
    assert len(states) >= KILLS
    assert {"in training", "in evaluation"} <= set(states), states
