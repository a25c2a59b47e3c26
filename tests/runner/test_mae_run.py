"""The mutual autoencoder as a run: its r in the config, and in the checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.config.helpers import config_of, problems_of
from tests.runs import only_run, small_run
from vaebench.config.identity import config_hash
from vaebench.runner import loop
from vaebench.runner.signals import Interrupted


def test_r_is_a_network_like_the_encoder_and_part_of_the_identity() -> None:
    config = config_of("model=mae")
    wider = config_of("model=mae", "model.encoder.width=301")
    assert config["model"]["objective"]["network"] == config["model"]["encoder"]
    assert config["model"]["objective"]["optimizer"] == config["training"]["optimizer"]
    assert wider["model"]["objective"]["network"]["width"] == 301
    assert len({config_hash(config), config_hash(wider)}) == 2


def test_mistakes_in_the_nested_nodes_are_named() -> None:
    (problem,) = problems_of("model=mae", "model.objective.network=mlp")
    assert problem.startswith("model.objective.network = 'mlp': expected a component")
    (problem,) = problems_of("model=mae", "++model.objective.network={depth: 3}")
    assert problem.startswith("model.objective.network = {'depth': 3}: expected a component")
    said = problems_of("model=mae", "+model.encoder.dpeth=3")
    assert all("dpeth: no such key; did you mean 'depth'?" in problem for problem in said)


MAE_RUN = ["model=mae", "model.encoder.depth=1", "model.decoder.depth=1", "training.epochs=2"]


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """r and its optimiser are in the checkpoint: without them the model would end elsewhere."""
    small_run(tmp_path / "whole", *MAE_RUN)
    real_epoch = loop.run_epoch

    def epoch_with_a_signal(training: loop.Training, bar: Any) -> None:
        step = training.step
        if training.progress.step == 12:
            training.step = lambda *a: (signal.raise_signal(signal.SIGTERM), step(*a))[1]
        real_epoch(training, bar)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", epoch_with_a_signal)
        with pytest.raises(Interrupted):
            small_run(tmp_path / "stopped", *MAE_RUN)
    small_run(tmp_path / "stopped", *MAE_RUN)
    whole, stopped = (
        torch.load(only_run(tmp_path / name) / "checkpoints/step-00000024.pt", weights_only=True)
        for name in ("whole", "stopped")
    )
    assert any(key.startswith("inverse.network") for key in whole["objective"])
    assert whole["own_optimizer"]["state"]
    whole["progress"].pop("seconds"), stopped["progress"].pop("seconds")
    assert same(whole, stopped)


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
