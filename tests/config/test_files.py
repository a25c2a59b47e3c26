"""Mistakes in files of one's own: experiments, and options of nested groups."""

from pathlib import Path

import pytest

from tests.config.helpers import CONF, plant, plant_experiment, problems_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "start"),
    [
        (
            "training: {epohcs: 3}",
            "training.epohcs: no such key; did you mean 'epochs'? (choices: batch_size, ",
        ),
        (
            "model: {encoder: {dpeth: 3}}",
            "model.encoder.dpeth: no such key; did you mean 'depth'? (choices: ",
        ),
        ("modle: vae", "modle: no such key; did you mean 'model'? (choices: data_root, "),
        (
            "model: mine",
            "model = 'mine': expected a component, a mapping with a _target_; choose an option with "
            "model=mine",
        ),
        (
            "evaluation: full",
            "evaluation = 'full': expected a mapping of names to components; choose an option with "
            "evaluation=full",
        ),
        ("training: 3", "training = 3: expected a group of settings"),
        ("tracker: null", "tracker = null: expected a component"),
    ],
)
def test_a_mistake_in_an_experiment_file_is_found(tmp_path: Path, body: str, start: str) -> None:
    plant_experiment(tmp_path, "mine", body)
    (problem,) = problems_of("experiment=mine", beside=tmp_path)
    assert problem.startswith(start)


def test_an_experiment_without_its_package_header_is_told_so(tmp_path: Path) -> None:
    plant(tmp_path, "experiment/mine", "training: {epochs: 3}")
    (problem,) = problems_of("experiment=mine", beside=tmp_path)
    assert problem == "experiment: its file needs `# @package _global_` as the first line"


@pytest.mark.parametrize(
    ("wrong", "right", "messages"),
    [
        (
            "widht:",
            "width:",
            [
                "model.encoder.widht: no such key; did you mean 'width'? (choices: activation, ",
                "model.encoder.width: missing; it needs a value",
            ],
        ),
        (
            "mlp.MLPEncodr",
            "mlp.MLPEncoder",
            [
                "model.encoder._target_ = 'vaebench.networks.mlp.MLPEncodr': vaebench.networks.mlp has no "
                "'MLPEncodr'; did you mean 'MLPEncoder'? (choices: ",
            ],
        ),
        (
            "mpl.MLPEncoder",
            "mlp.MLPEncoder",
            [
                "model.encoder._target_ = 'vaebench.networks.mpl.MLPEncoder': cannot be imported "
                "(No module named 'vaebench.networks.mpl')",
            ],
        ),
        ("_taget_:", "_target_:", ["model.encoder = {'_taget_': "]),
    ],
)
def test_a_mistake_in_a_nested_group_file_is_found(
    tmp_path: Path, wrong: str, right: str, messages: list[str]
) -> None:
    text = (CONF / "model/encoder/mlp.yaml").read_text()
    plant(tmp_path, "model/encoder/mine", text.replace(right, wrong))
    problems = problems_of("model/encoder=mine", beside=tmp_path)
    for problem, message in zip(problems, messages, strict=True):
        assert problem.startswith(message)
