"""The sequential VAE as a run: it resumes to the same bits, and says that it has no likelihood."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runner.test_mae_run import same
from tests.runs import only_run, read, small_config
from vaebench.runner import loop
from vaebench.runner.experiment import run
from vaebench.runner.signals import Interrupted

SMALL = [
    "model=sequential_vae", "model.steps=2", "model.channels=[4, 8]", "model.codes=[2, 2]", "model.width=8",
    "training.steps=14", "training.batch_size=100", "runtime.device=cpu", "runtime.threads=1",
    "runtime.progress=never",
]  # fmt: skip


def small(outputs: Path, *overrides: str) -> Any:
    return run(small_config(outputs, *SMALL, *overrides, families=True))


def test_a_stopped_run_with_denoising_goes_on_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["model.denoising=true", "evaluation=none"]
    small(tmp_path / "whole", *words)
    real_epoch = loop.run_epoch

    def epoch_with_a_signal(training: loop.Training, bar: Any) -> None:
        step = training.step
        if training.progress.step == 12:
            training.step = lambda *a: (signal.raise_signal(signal.SIGTERM), step(*a))[1]
        real_epoch(training, bar)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", epoch_with_a_signal)
        with pytest.raises(Interrupted):
            small(tmp_path / "stopped", *words)
    small(tmp_path / "stopped", *words)
    whole, stopped = (
        torch.load(only_run(tmp_path / name) / "checkpoints/step-00000014.pt", weights_only=True)
        for name in ("whole", "stopped")
    )
    whole["progress"].pop("seconds"), stopped["progress"].pop("seconds")
    assert same(whole, stopped)


def test_what_needs_a_likelihood_is_not_applicable_and_steps_are_measured(tmp_path: Path) -> None:
    suite = [
        "evaluation=sequential",
        "evaluation.sequential.num_samples=4",
        "evaluation.sequential.num_shown=2",
    ]
    small(tmp_path, *suite, "+evaluation.bound={_target_:vaebench.evaluation.bound.Bound,num_samples:1}")
    entries = {entry["name"]: entry for entry in read(only_run(tmp_path), "results.json")["evaluations"]}
    assert (entries["bound"]["status"], entries["bound"]["reason"]) == (
        "not_applicable", "the model has no likelihood",
    )  # fmt: skip
    names = [m["name"] for m in entries["sequential"]["measurements"]]
    assert names == ["mse_1", "mse_2", "kl_1", "kl_2", "sharpness_1", "sharpness_2", "sharpness_data"]
    line = (only_run(tmp_path) / "metrics.jsonl").read_text()
    assert '"kl"' in line
