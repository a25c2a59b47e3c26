"""Sweeps from the command line, as researchers type them: in one process, and over the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Program
from tests.runs import SMALL, read, small_run
from vaebench import status
from vaebench.reporting.runs import Run, find_runs

TINY = [*(word for word in SMALL if "evaluation" not in word), "training.epochs=1", "evaluation=none"]
FAILS = 1e12  # a learning rate
SWEEP = ["-m", f"training.optimizer.lr=1e-3,{FAILS}", "training.schedule.final=1"]


def runs_by_lr(outputs: Path) -> dict[tuple[float, int], Run]:
    found = {}
    for run in find_runs(outputs):
        text = (run.path / "config.yaml").read_text()
        found[FAILS if "lr: 1000000000000.0" in text else 1e-3, run.seed] = run
    return found


def check_runs(outputs: Path, seeds: tuple[int, ...]) -> None:
    """Runs at the lower rate are complete, the others failed; each has a log and results of its own."""
    runs = runs_by_lr(outputs)
    assert {key: run.state for key, run in runs.items()} == {
        (lr, seed): {1e-3: "complete", FAILS: "failed"}[lr] for lr in (1e-3, FAILS) for seed in seeds
    }
    for seed in seeds:  # each job's own log has its own traceback, not only the first one's
        failed = runs[FAILS, seed]
        assert "NotFiniteError" in (failed.path / "run.log").read_text()
        assert "not finite at step" in read(failed.path, "status.json")["reason"]
        assert read(runs[1e-3, seed].path, "results.json")["run"]["seed"] == seed


def attempts(outputs: Path) -> dict[tuple[float, int], int]:
    return {key: len(read(run.path, "provenance.json")) for key, run in runs_by_lr(outputs).items()}


@pytest.mark.slow
def test_failing_job_does_not_stop_the_others_and_the_same_command_runs_what_is_missing(
    vaebench: Program, tmp_path: Path
) -> None:
    words = [*SWEEP, "seed=0,1", *TINY, f"paths.outputs={tmp_path}"]
    first = vaebench(*words)
    assert first.code == 1
    assert "Traceback" not in first.stderr
    check_runs(tmp_path, (0, 1))
    assert vaebench(*words).code == 1
    assert attempts(tmp_path) == {(1e-3, 0): 1, (1e-3, 1): 1, (FAILS, 0): 2, (FAILS, 1): 2}


@pytest.mark.slow
def test_jobs_over_the_cores_do_the_same(vaebench: Program, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [*SWEEP, "seed=0,1", *TINY, f"paths.outputs={tmp_path}"]
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    first = subprocess.run(
        [sys.executable, "-m", "vaebench.train", *words, *joblib],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    check_runs(tmp_path, (0, 1))
    assert vaebench(*words).code == 1  # in one process it finds the runs of the others
    assert attempts(tmp_path) == {(1e-3, 0): 1, (1e-3, 1): 1, (FAILS, 0): 2, (FAILS, 1): 2}


def test_status_lists_every_run_with_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_run(tmp_path, "training.epochs=1")
    monkeypatch.setattr(sys, "argv", ["vaebench-status", str(tmp_path)])
    capsys.readouterr()
    status.main()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "digits/vae/" in line]
    assert "complete" in line
