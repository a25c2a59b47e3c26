"""The sequential VAE as a run: it says that it has no likelihood."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.runs import only_run, read, small_config
from vaebench.runner.experiment import run

SMALL = [
    "model=sequential_vae", "model.steps=2", "model.channels=[4, 8]", "model.codes=[2, 2]", "model.width=8",
    "training.steps=14", "training.batch_size=100", "runtime.device=cpu", "runtime.threads=1",
    "runtime.progress=never",
]  # fmt: skip


def small(outputs: Path, *overrides: str) -> Any:
    return run(small_config(outputs, *SMALL, *overrides, families=True))


@pytest.mark.slow
def test_what_needs_a_likelihood_is_not_applicable_and_steps_are_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vaebench")
    suite = [
        "evaluation=sequential",
        "evaluation.sequential.num_samples=4",
        "evaluation.sequential.num_shown=2",
    ]
    small(tmp_path, *suite)
    entries = {entry["name"]: entry for entry in read(only_run(tmp_path), "results.json")["evaluations"]}
    assert (entries["bound"]["status"], entries["bound"]["reason"]) == (
        "not_applicable", "the model has no likelihood",
    )  # fmt: skip
    names = [m["name"] for m in entries["sequential"]["measurements"]]
    assert names == ["mse_1", "mse_2", "kl_1", "kl_2", "sharpness_1", "sharpness_2", "sharpness_data"]
    line = (only_run(tmp_path) / "metrics.jsonl").read_text()
    assert '"kl"' in line
    assert "valid objective " in caplog.text
    assert "ELBO" not in caplog.text
