"""The name of a run: what it depends on, and what it does not."""

import copy
from typing import Any

import pytest
import yaml

from tests.config.helpers import config_of, leaves
from vaebench.config.identity import config_hash, differences, run_name

BASE = config_of()
ELSEWHERE = {"runtime", "tracker", "evaluation", "paths", "seed", "fresh", "data_root"}
"""Where, how fast and how measured: the design's list, and what says where data are."""


def changed(config: dict[str, Any], key: str) -> dict[str, Any]:
    """The config with another value at one dotted key."""
    config = copy.deepcopy(config)
    *parents, last = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[last] = "something else" if node[last] != "something else" else "another thing"
    return config


def reversed_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: reversed_keys(inner) for key, inner in reversed(value.items())}


def test_the_order_of_keys_does_not_matter() -> None:
    other = reversed_keys(BASE)
    assert [*other] != [*BASE]
    assert config_hash(other) == config_hash(BASE)


@pytest.mark.parametrize("key", [key for key, _ in leaves(BASE) if key.split(".")[0] in ELSEWHERE])
def test_where_and_how_it_runs_is_no_part_of_the_hash(key: str) -> None:
    assert config_hash(changed(BASE, key)) == config_hash(BASE)


@pytest.mark.parametrize("key", [key for key, _ in leaves(BASE) if key.split(".")[0] not in ELSEWHERE])
def test_everything_else_is_part_of_the_hash(key: str) -> None:
    assert config_hash(changed(BASE, key)) != config_hash(BASE)


@pytest.mark.parametrize(
    "override",
    [
        "runtime.threads=3",
        "tracker=tensorboard",
        "evaluation=none",
        "seed=5",
    ],
)
def test_the_same_training_by_another_command_line_has_the_same_hash(override: str) -> None:
    assert config_hash(config_of(override)) == config_hash(BASE)


@pytest.mark.parametrize(
    "override",
    [
        "dataset=mnist",
        "model.latent_dim=3",
        "model.objective.beta=4",
        "tier=smoke",
        "model/likelihood=gaussian",
    ],
)
def test_another_training_has_another_hash(override: str) -> None:
    assert config_hash(config_of(override)) != config_hash(BASE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("training.optimizer.lr=1e-3", "training.optimizer.lr=0.001"),
        ("training.optimizer.lr=1", "training.optimizer.lr=1.0"),
        ("training.clip_grad_norm=5", "training.clip_grad_norm=5.0"),
        ("model.objective.beta=1", "model.objective.beta=1.0"),
        ("model.latent_dim=20", "model.latent_dim=20.0"),
        ("model.posterior.logvar_range=[-6,2]", "model.posterior.logvar_range=[-6.0,2.0]"),
    ],
)
def test_two_spellings_of_a_number_have_one_hash(one: str, other: str) -> None:
    first, second = config_of(one), config_of(other)
    assert config_hash(first) == config_hash(second)
    assert differences(first, second) == []


def test_the_hash_survives_the_file_that_keeps_the_config() -> None:
    config = config_of("training.optimizer.lr=1e-05", "training.clip_grad_norm=1e20")
    plain = yaml.safe_load(yaml.safe_dump(config | {"training": _with_lists(config["training"])}))
    assert config_hash(plain) == config_hash(config)
    assert differences(config, plain) == []


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def test_the_run_is_filed_under_dataset_model_hash_and_seed() -> None:
    config = config_of("dataset=mnist", "seed=3")
    assert run_name(config) == f"mnist/vae/{config_hash(config)}/seed3"
    assert len(config_hash(config)) == 8
    assert int(config_hash(config), 16) >= 0


def test_a_difference_is_told_by_key_and_both_values() -> None:
    assert differences(BASE, BASE) == []
    words = ("seed=9", "runtime.threads=2")  # which are not part of the identity
    one = config_of("model.encoder.width=5", "training.optimizer.lr=1", *words)
    other = config_of("model.encoder.width=7", "training.optimizer.lr=0.5")
    assert differences(one, other) == [
        "model.encoder.width: 5 here, 7 there",
        "training.optimizer.lr: 1.0 here, 0.5 there",
    ]


def test_a_key_that_only_one_of_two_configs_has_is_a_difference() -> None:
    other = copy.deepcopy(BASE)
    depth = other["model"]["encoder"].pop("depth")
    assert differences(BASE, other) == [f"model.encoder.depth: {depth} here, nothing there"]
    assert differences(other, BASE) == [f"model.encoder.depth: nothing here, {depth} there"]
