"""The command line: quick to answer, the same by every entry, friendly to the order of words."""

import os
from pathlib import Path

import pytest
import yaml

from tests.cli import Outcome, Program, in_subprocess
from tests.config.helpers import CONF, plant_experiment

WATCH_FOR_TORCH = (
    "-c",
    "import atexit, sys; from vaebench.train import main; "
    "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); main()",
)
LIMIT = 1.5  # seconds of a processor, which a busy machine stretches too; 0.3 to 0.6 on an idle one


def completion(line: str, tmp_path: Path) -> Outcome:
    """What the shell is told, as the function that `vaebench -sc install=bash` prints asks for it."""
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    return in_subprocess("-sc", "query=bash", program=WATCH_FOR_TORCH, cwd=tmp_path, **asked)


@pytest.mark.slow
def test_questions_are_answered_soon_and_without_torch(tmp_path: Path) -> None:
    answers = {
        "--help": lambda: in_subprocess("--help", program=WATCH_FOR_TORCH, cwd=tmp_path),
        "--cfg job": lambda: in_subprocess("--cfg", "job", program=WATCH_FOR_TORCH, cwd=tmp_path),
        "completion": lambda: completion("vaebench model=", tmp_path),
    }
    for question, answer in answers.items():
        seconds = []
        for _ in range(3):
            before = os.times()
            outcome = answer()
            after = os.times()
            seconds.append(sum(after[2:4]) - sum(before[2:4]))
            assert (outcome.code, outcome.stderr.splitlines()[-1]) == (0, "False"), outcome.stderr
            assert outcome.stdout
        assert min(seconds) < LIMIT, f"{question} took {min(seconds):.2f} s"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vaebench model=", {"model=vae"}),
        ("vaebench training.e", {"training.epochs="}),
        (
            "vaebench dataset=mnist_gray model/likelihood=",
            {"model/likelihood=bernoulli", "model/likelihood=gaussian"},
        ),
        (
            "vaebench model.encoder.",
            {"model.encoder.depth=", "model.encoder.width=", "model.encoder.activation="},
        ),
    ],
)
def test_the_shell_completes_options_and_keys(line: str, expected: set[str], tmp_path: Path) -> None:
    assert expected <= set(completion(line, tmp_path).stdout.split())


@pytest.mark.slow
def test_the_shell_can_be_taught(tmp_path: Path) -> None:
    script = in_subprocess("-sc", "install=bash", cwd=tmp_path).stdout
    assert "-sc query=bash" in script


@pytest.mark.slow
def test_every_entry_is_the_same_program(tmp_path: Path) -> None:
    words = ("--cfg", "job", "model.latent_dim=7")
    console_script = "import sys; from vaebench.train import main; sys.exit(main())"
    entries = [("-m", "vaebench.train"), ("-m", "vaebench"), ("-c", console_script)]
    outcomes = [in_subprocess(*words, program=entry, cwd=tmp_path) for entry in entries]
    assert {(outcome.code, outcome.stderr) for outcome in outcomes} == {(0, "")}
    assert len({outcome.stdout for outcome in outcomes}) == 1
    assert yaml.safe_load(outcomes[0].stdout)["model"]["latent_dim"] == 7


def test_help_names_every_group_and_the_config_of_the_words(vaebench: Program, tmp_path: Path) -> None:
    plant_experiment(tmp_path, "paper/row", "seed: 1")
    outcome = vaebench("--config-dir", str(tmp_path), "dataset=mnist", "seed=3", "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    datasets = sorted(path.stem for path in CONF.glob("dataset/*.yaml"))
    assert f"dataset: {', '.join(datasets)}" in lines
    assert any(line.startswith("model/likelihood: ") for line in lines)
    assert any(line.startswith("experiment") and "row" in line for line in lines)
    assert any("vaebench -m" in line for line in lines)
    assert "seed: 3" in lines
    assert "  name: mnist" in lines


def test_a_mistake_beside_a_call_for_help_is_told(vaebench: Program) -> None:
    outcome = vaebench("--help", "dataset=mnst")
    assert outcome.code == 1
    assert outcome.message.startswith("dataset = 'mnst': no such option; did you mean 'mnist'?")


def test_the_config_is_shown_and_nothing_is_run(vaebench: Program, tmp_path: Path) -> None:
    outcome = vaebench("--cfg", "job", "dataset=mnist", "seed=3", f"paths.outputs={tmp_path}/o")
    shown = yaml.safe_load(outcome.stdout)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert (shown["dataset"]["name"], shown["seed"]) == ("mnist", 3)
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 3])
def test_a_sweep_may_be_asked_for_anywhere_among_the_words(
    vaebench: Program, tmp_path: Path, place: int
) -> None:
    words = ["evaluation=none", "seed=0,-1", f"paths.outputs={tmp_path}", "training.epochs=0"]
    words.insert(place, "-m")
    outcome = vaebench(*words)
    assert outcome.code == 1
    assert "unrecognized arguments" not in outcome.stderr
    assert outcome.stderr.splitlines().count("training.epochs = 0: expected 1 or more") == 1
    assert "  seed = -1: expected 0 or more" in outcome.stderr.splitlines()
