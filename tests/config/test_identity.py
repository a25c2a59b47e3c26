"""The name of a run: what it depends on, and what it does not."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from tests.config.helpers import CONF, config_of, leaves, plant
from vaebench.config import renamed
from vaebench.config.check import options_of
from vaebench.config.identity import config_hash, differences, run_name, scientific
from vaebench.errors import UserError
from vaebench.reporting.papers import load_papers

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


@pytest.mark.slow
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


RUNS = CONF.parent / "results/runs"


@pytest.mark.skipif(not RUNS.exists(), reason="a source distribution has no results/")
def test_every_kept_run_still_has_the_hash_in_its_path() -> None:
    """Whatever was moved or renamed since; the model of Zhao's Figure 4 and an option of Figure 5 were."""
    configs = sorted(RUNS.rglob("config.yaml"))
    assert len(configs) >= 65
    stored = {path: yaml.safe_load(path.read_text()) for path in configs}
    assert {path for path, config in stored.items() if config_hash(config) != path.parts[-4]} == set()
    text = "".join(path.read_text() for path in configs)
    assert "vaebench.models.sequential.SequentialVAE" in text
    assert "starts_from_data: true" in text


@pytest.mark.skipif(not RUNS.exists(), reason="a source distribution has no results/")
def test_a_kept_run_and_todays_command_have_one_identity() -> None:
    """The stored config has names of then, the composed one those of now."""
    row = config_of(*load_papers()["zhao"].rows["fig5_elbo"].words("reduced"))
    (path,) = RUNS.glob(f"*/*/{config_hash(row)}/seed0/v0/config.yaml")
    stored = yaml.safe_load(path.read_text())
    assert stored["model"]["decoder"]["starts_from_data"] is True
    assert scientific(stored)["model"]["decoder"]["init_from_data"] is True
    assert differences(stored, row) == []


def test_a_class_that_moves_and_an_option_that_is_renamed_keep_the_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = BASE["model"]["decoder"]["_target_"]
    moved = copy.deepcopy(BASE)
    decoder = moved["model"]["decoder"]
    decoder["_target_"] = "elsewhere.Decoder"
    decoder["hidden_units"] = decoder.pop("width")
    assert config_hash(moved) != config_hash(BASE)
    monkeypatch.setitem(renamed.MOVED, target, "elsewhere.Decoder")
    monkeypatch.setitem(renamed.RENAMED, "elsewhere.Decoder", {"width": "hidden_units"})
    assert config_hash(moved) == config_hash(BASE)
    assert scientific(BASE) == scientific(moved)
    assert differences(BASE, moved) == []
    decoder["hidden_units"] += 1
    assert config_hash(moved) != config_hash(BASE)
    assert differences(moved, BASE) == ["model.decoder.hidden_units: 501 here, 500 there"]
    # Moved once more, the first name still counts.
    monkeypatch.setitem(renamed.MOVED, target, "third.Decoder")
    monkeypatch.setitem(renamed.MOVED, "elsewhere.Decoder", "third.Decoder")
    monkeypatch.setitem(renamed.RENAMED, "third.Decoder", {"width": "hidden_units"})
    third = copy.deepcopy(moved)
    third["model"]["decoder"] |= {"_target_": "third.Decoder", "hidden_units": 500}
    assert config_hash(third) == config_hash(BASE)


def test_an_option_that_came_later_changes_the_hash_only_with_a_new_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = BASE["model"]["decoder"]["_target_"]
    monkeypatch.setitem(renamed.ADDED, target, {"bias": True})
    newer = copy.deepcopy(BASE)
    newer["model"]["decoder"]["bias"] = True
    assert config_hash(newer) == config_hash(BASE)
    assert scientific(BASE) == scientific(newer)
    newer["model"]["decoder"]["bias"] = False
    assert config_hash(newer) != config_hash(BASE)


def test_the_tables_lead_to_names_of_today() -> None:
    assert not renamed.MOVED.keys() & {*renamed.MOVED.values()}
    for target in {*renamed.MOVED.values(), *renamed.RENAMED, *renamed.ADDED}:
        get_object(target)
    for target, names in renamed.RENAMED.items():
        assert {*names.values()} <= options_of(get_object(target)).keys()
        assert not names.keys() & options_of(get_object(target)).keys()


def test_a_users_file_with_earlier_names_builds_and_says_the_new_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = (
        "vaebench.evaluation.nll.ImportanceSampledNLL",
        "vaebench.evaluation.likelihood.nll.ImportanceSampledNLL",
    )
    options = "num_samples: 5, num_data: 9, subset: first"
    plant(tmp_path, "evaluation/mine", f"nll: {{_target_: {old}, {options}}}")
    config = config_of("evaluation=mine", beside=tmp_path)
    assert config["evaluation"]["nll"]["_target_"] == new
    assert caplog.messages == [f"evaluation.nll._target_: {old} is now {new}"]
    caplog.clear()
    choice = ["model=conditional_pixelcnn_vae", "~model.decoder.init_from_data"]
    config = config_of(*choice, "+model.decoder.starts_from_data=true")
    assert config["model"]["decoder"]["init_from_data"] is True
    assert caplog.messages == ["model.decoder.starts_from_data: this option is now init_from_data"]


def test_an_option_under_both_its_names_is_refused_in_a_users_config_and_read_in_a_stored_one() -> None:
    words = ("model=conditional_pixelcnn_vae", "+model.decoder.starts_from_data=false")
    with pytest.raises(UserError, match="starts_from_data: this option is now init_from_data, set too"):
        config_of(*words)
    stored = config_of("model=conditional_pixelcnn_vae")
    both = copy.deepcopy(stored)
    both["model"]["decoder"]["starts_from_data"] = False
    assert config_hash(both) == config_hash(stored)
