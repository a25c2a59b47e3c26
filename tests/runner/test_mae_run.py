"""The mutual autoencoder as a run: its r in the config; `test_resume.py` has it in the checkpoint."""

from __future__ import annotations

from tests.config.helpers import config_of, problems_of
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
