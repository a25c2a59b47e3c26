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

KILLS = 8
OVERRIDES = [
    "training.epochs=6",
    "model.objective.warmup_epochs=2",
    "model.encoder.width=32",
    "model.decoder.width=32",
    "model.latent_dim=8",
    "evaluation.nll.num_samples=2000",
    "evaluation.mlp_probe.epochs=3",
    "runtime.threads=1",
    "runtime.device=cpu",
    "runtime.checkpoint_seconds=0",  # a checkpoint at every step, so that kills meet the writing
]


def run_with_kills(folder: Path, kills: int, seconds: float = 0.6) -> dict[str, Any]:
    """Run `folder/whole`, kill the run `folder/killed` `kills` times and let it end; return what happened."""
    plan = {"whole": str(folder / "whole"), "outputs": str(folder / "killed"), "overrides": OVERRIDES}
    plan |= {"kills": kills, "seconds": seconds, "seed": 0}
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
    states: list[str] = []
    for attempt in range(6):  # a run that ends before it was killed often enough is followed by another
        folder = tmp_path / str(attempt)
        outcome = run_with_kills(folder, KILLS - len(states))
        assert outcome["exit"] == 0
        states += outcome["states"]
        whole, killed = only_run(folder / "whole"), only_run(folder / "killed")
        assert numbers(killed) == numbers(whole)
        assert json.loads((killed / "status.json").read_text())["state"] == "complete"
        if len(states) >= KILLS:
            break
    assert len(states) >= KILLS
    assert states.count("in training") >= 2, states
    assert "in evaluation" in states, states
