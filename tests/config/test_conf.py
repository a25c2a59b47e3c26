"""The files under conf/: each option composes, fits its constructors, and does what it says."""

from functools import cache
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tests.config.helpers import CONF, composed, config_of, leaves, plant, plant_experiment
from vaebench.config.build import build, factory
from vaebench.config.errors import ConfigError
from vaebench.config.identity import scientific

FILES = sorted(set(CONF.rglob("*.yaml")) - set(CONF.glob("paper/*")))  # papers are no options
EXPERIMENT_FILES = sorted(CONF.glob("experiment/**/*.yaml"))
OPTIONS = [
    (str(file.parent.relative_to(CONF)), file.stem)
    for file in FILES
    if file.parent != CONF and file not in EXPERIMENT_FILES
]
EXPERIMENTS = [str(file.relative_to(CONF / "experiment").with_suffix("")) for file in EXPERIMENT_FILES]

base = cache(config_of)


def body_of(file: Path) -> dict[str, Any]:
    """What the file itself says, without its defaults list."""
    content = yaml.safe_load(file.read_text()) or {}
    content.pop("defaults", None)
    return content


def check_experiment(name: str, folder: Path) -> None:
    """An experiment binds to its constructors, differs from the base, and every value in it takes effect."""
    in_conf = folder == CONF  # with its tier, as `Row.words` has it, so that reports compose the same line
    config = config_of(
        f"experiment={name}", *(["tier=full"] if in_conf else []), beside=None if in_conf else folder
    )
    changes = scientific(config) != scientific(base()) or config["evaluation"] != base()["evaluation"]
    assert changes, f"experiment={name} is the base config"
    found = dict(leaves(config))
    for key, value in leaves(body_of(folder / f"experiment/{name}.yaml")):
        assert as_list(found[key]) == value, f"experiment={name}: {key} has no effect"


def as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def lines_with_every_option() -> list[list[tuple[str, str]]]:
    """Return command lines that have every option: one option of each group, and a line for each family."""
    groups: dict[str, list[str]] = {}
    for group, option in OPTIONS:
        groups.setdefault(group, []).append(option)
    families = [[("model", family)] for family in groups.pop("model")]
    columns = [[(group, option) for option in options] for group, options in groups.items()]
    return families + [[pair for pair in line if pair] for line in zip_longest(*columns)]


@pytest.mark.slow
@pytest.mark.parametrize("line", lines_with_every_option(), ids=lambda line: "=".join(line[0]))
def test_every_option_of_every_group_fits_its_constructors(line: list[tuple[str, str]]) -> None:
    config = config_of(*("=".join(choice) for choice in line))
    for group, option in line:
        node: Any = config
        for part in group.split("/"):
            node = node[part]
        content = body_of(CONF / group / f"{option}.yaml")
        if "_target_" in content:
            assert node["_target_"] == content["_target_"]
            assert callable(factory(node))
        if group == "evaluation":
            versions = {name: build(evaluator).version for name, evaluator in node.items()}
            assert {*content} <= {*versions}
            assert all(isinstance(version, int) for version in versions.values())


def test_the_lines_have_every_option() -> None:
    assert {pair for line in lines_with_every_option() for pair in line} == {*OPTIONS}


def test_every_component_file_is_an_option_of_a_group() -> None:
    with_target = {file for file in FILES if "_target_" in file.read_text()}
    assert with_target <= {CONF / group / f"{option}.yaml" for group, option in OPTIONS}
    assert len(with_target) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_changes_something_and_has_its_effect(name: str) -> None:
    check_experiment(name, CONF)


def test_the_test_of_experiments_accepts_a_good_one_in_a_folder(tmp_path: Path) -> None:
    plant_experiment(
        tmp_path,
        "paper/row",
        "defaults:\n  - override /dataset: mnist\n  - override /evaluation: full\n"
        "training: {optimizer: {betas: [0.5, 0.9]}}\nmodel: {latent_dim: 10}",
    )
    check_experiment("paper/row", tmp_path)
    config = config_of("experiment=paper/row", beside=tmp_path)
    assert (config["dataset"]["name"], config["model"]["latent_dim"]) == ("mnist", 10)
    assert "nll_5000" in config["evaluation"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("dataset: {name: digits}", "is the base config"),
        ("seed: 1", "is the base config"),
        ("tier: full", "is the base config"),
        ("model: {latent_dim: 3}\ntier: smoke", "tier has no effect"),  # the tier's own file comes later
        ("model: {latnet_dim: 3}", "no such key"),
    ],
)
def test_the_test_of_experiments_refuses_bad_ones(tmp_path: Path, body: str, complaint: str) -> None:
    plant_experiment(tmp_path, "row", body)
    with pytest.raises((AssertionError, ConfigError), match=complaint):
        check_experiment("row", tmp_path)


def test_files_are_short() -> None:
    assert median(len(file.read_text().splitlines()) for file in FILES) <= 15


@pytest.mark.slow
@pytest.mark.parametrize("tier", [path.stem for path in CONF.glob("tier/*.yaml")])
def test_a_tier_changes_what_it_says_and_nothing_else(tier: str) -> None:
    said = dict(leaves(body_of(CONF / f"tier/{tier}.yaml")))
    assert said["tier"] == tier
    assert dict(leaves(config_of(f"tier={tier}"))) == dict(leaves(base())) | said


def test_command_line_beats_tier_beats_experiment_beats_base(tmp_path: Path) -> None:
    plant_experiment(tmp_path, "row", "training: {steps: 9, batch_size: 33, patience: 4}\nseed: 5")

    def training(*overrides: str) -> tuple[Any, ...]:
        config = config_of(*overrides, beside=tmp_path)
        return *(config["training"][key] for key in ("steps", "batch_size", "patience")), config["seed"]

    assert training() != (9, 33, 4, 5)
    assert training("experiment=row") == (9, 33, 4, 5)
    assert training("experiment=row", "tier=smoke") == (20, 50, 4, 5)
    assert training("experiment=row", "tier=smoke", "training.steps=3") == (3, 50, 4, 5)
    assert training("training.steps=3", "tier=smoke", "experiment=row") == (3, 50, 4, 5)


def test_a_group_option_on_the_command_line_beats_the_experiments(tmp_path: Path) -> None:
    plant(tmp_path, "model/wide", (CONF / "model/vae.yaml").read_text().replace("name: vae", "name: wide"))
    plant_experiment(tmp_path, "row", "defaults:\n  - override /model: wide")
    assert config_of("experiment=row", beside=tmp_path)["model"]["name"] == "wide"
    assert config_of("experiment=row", "model=vae", beside=tmp_path)["model"]["name"] == "vae"


@pytest.mark.parametrize(
    ("words", "part", "depth"),
    [
        (["model=vae_deep_encoder", "model/encoder=mlp_5x300"], "encoder", 5),
        (["model=vae_deep_decoder", "model/decoder=mlp_5x300"], "decoder", 5),
        (["model=pixel_vae", "model/decoder@model.decoder.base=residual_mlp"], "decoder.base", 11),
    ],
)
def test_an_option_that_is_chosen_is_that_option_whatever_the_family(
    words: list[str], part: str, depth: int
) -> None:
    assert OmegaConf.select(composed(*words), f"model.{part}.depth") == depth
