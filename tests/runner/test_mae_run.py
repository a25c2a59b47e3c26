"""The mutual autoencoder as a run: its r in the config, and in the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.helpers import config_of, problems_of
from tests.runs import small_run
from tests.stopped import run_whole_and_stopped, same_bits
from vaebench.config.identity import config_hash


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
    whole, stopped = run_whole_and_stopped(
        tmp_path, monkeypatch, lambda outputs: small_run(outputs, *MAE_RUN)
    )
    assert any(key.startswith("inverse.network") for key in whole["objective"])
    assert whole["auxiliary_optimizer"]["state"]
    assert same_bits(whole, stopped)
