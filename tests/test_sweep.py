"""Sweeps from the command line, as researchers type them: in one process, and over the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import SMALL, read
from vaebench.reporting.runs import Run, find_runs

SWEEP = ["-m", "seed=0,1", "training.optimizer.lr=1e-3,1e12", "training.schedule.final=1"]


def vaebench(outputs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vaebench.train", *SMALL, f"paths.outputs={outputs}", *arguments],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip


def runs_by_lr(outputs: Path) -> dict[tuple[float, int], Run]:
    found = {}
    for run in find_runs(outputs):
        text = (run.path / "config.yaml").read_text()
        found[1e12 if "lr: 1000000000000.0" in text else 1e-3, run.seed] = run
    return found


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_failing_job_does_not_stop_the_others_and_the_same_command_runs_what_is_missing(
    tmp_path: Path, launcher: str
) -> None:
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = [*SWEEP, f"hydra/launcher={launcher}"]
    first = vaebench(tmp_path, *arguments)
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    runs = runs_by_lr(tmp_path)
    assert {key: run.state for key, run in runs.items()} == {
        (1e-3, 0): "complete", (1e-3, 1): "complete", (1e12, 0): "failed", (1e12, 1): "failed",
    }  # fmt: skip
    for seed in (0, 1):  # each job's own log has its own traceback, not only the first one's
        failed = runs[1e12, seed]
        assert "NotFiniteError" in (failed.path / "run.log").read_text()
        assert "not finite at step" in read(failed.path, "status.json")["reason"]
        assert read(runs[1e-3, seed].path, "results.json")["run"]["seed"] == seed
    again = vaebench(tmp_path, *arguments)
    assert again.returncode == 1
    attempts = {key: len(read(run.path, "provenance.json")) for key, run in runs_by_lr(tmp_path).items()}
    assert attempts == {(1e-3, 0): 1, (1e-3, 1): 1, (1e12, 0): 2, (1e12, 1): 2}


@pytest.mark.slow
def test_status_lists_every_run_with_its_state(tmp_path: Path) -> None:
    vaebench(tmp_path)
    shown = subprocess.run(
        [sys.executable, "-m", "vaebench.status", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "digits/vae/" in shown
    assert "complete" in shown
