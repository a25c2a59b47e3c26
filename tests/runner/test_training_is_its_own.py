"""What is measured afterwards never changes what was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.runs import SMALL, only_run, small_config
from vaebench.runner.checkpoint import Checkpoints
from vaebench.runner.experiment import run
from vaebench.runner.results_files import Metrics

SIZES = [override for override in SMALL if not override.startswith("evaluation")]

CHEAP = [
    "evaluation=information",
    "evaluation.ais.num_data=3",
    "evaluation.ais.num_simulated=3",
    "evaluation.ais.num_temperatures=5",
    "evaluation.posterior_gaps.num_data=3",
    "evaluation.posterior_gaps.num_steps=3",
    "evaluation.layer_fisher.num_data=50",
]


@pytest.mark.slow
def test_training_has_the_same_bits_with_the_information_suite_and_without(tmp_path: Path) -> None:
    run(small_config(tmp_path / "with", *SIZES, *CHEAP, families=True))
    run(small_config(tmp_path / "without", *SIZES, "evaluation=none", families=True))
    one, other = only_run(tmp_path / "with"), only_run(tmp_path / "without")
    assert one.relative_to(tmp_path / "with") == other.relative_to(tmp_path / "without")
    best, same = (Checkpoints(path / "checkpoints").best() for path in (one, other))
    assert best is not None
    assert same is not None
    for name, weights in best["model"].items():
        assert torch.equal(weights, same["model"][name]), name
    lines, others = (Metrics(path / "metrics.jsonl").read() for path in (one, other))
    for line in (*lines, *others):
        line.pop("seconds")
    assert lines == others
    assert len(lines) == 3
