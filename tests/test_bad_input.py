"""Bad input ends in one clear message, with exit code 1, before any data are read and anything is written.

One mistake of each kind goes through the whole program here; `config/test_explain.py` has those that
Hydra finds, `config/test_check.py` the others.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli import HYDRA_SAYS, Outcome, Program, in_subprocess
from tests.config.helpers import CONF, plant, plant_experiment
from vaebench.data.digits import Digits
from vaebench.data.mnist import MNIST

TINY = (
    "runtime.device=cpu",
    "runtime.threads=1",
    "training.steps=1",
    "evaluation=none",
    "model.encoder.width=8",
    "model.decoder.width=8",
)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any) -> None:
        raise AssertionError("data were read")

    for dataset in (Digits, MNIST):
        monkeypatch.setattr(dataset, "load", load)


def check_one_message(outcome: Outcome, *parts: str) -> None:
    """One message of ours, perhaps Hydra's one line, nothing else, exit code 1."""
    assert outcome.code == 1, outcome
    assert outcome.stdout == ""
    assert outcome.stderr.count(HYDRA_SAYS) <= 1
    assert all(line.startswith("  ") for line in outcome.message.splitlines()[1:]), outcome.message
    assert "Traceback" not in outcome.message
    for part in parts:
        assert part in outcome.message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["model=vea"], ["model = 'vea'", "no such option", "did you mean 'vae'?"]),
        (["tracker=null"], ["tracker = null", "choices: none, "]),
        (["training.epohcs=3"], ["training.epohcs: no such key", "did you mean 'epochs'?"]),
        (["model.latent_dim=3.5"], ["model.latent_dim = 3.5", "expected an integer"]),
        (
            ["dataset=mnist_gray"],
            ["model.likelihood: Bernoulli does not fit mnist_gray", "model/likelihood=gaussian"],
        ),
        (["model/likelihood=gaussian"], ["Gaussian does not fit digits", "use model/likelihood=bernoulli"]),
        (
            ["training.epochs=0", "+typo=1", "seed=x"],
            ["3 problems:", "training.epochs", "typo", "seed = 'x'"],
        ),
        (
            ["training.epohcs=1", "modle=x", "seed=x"],
            ["3 problems:", "training.epohcs", "modle", "seed = 'x'"],
        ),
    ],
    ids=lambda value: value[0] if value[0].islower() else "",
)
@pytest.mark.usefixtures("no_data")
def test_bad_input_ends_in_one_message(
    vaebench: Program, tmp_path: Path, words: list[str], parts: list[str]
) -> None:
    outputs = tmp_path / "outputs"
    check_one_message(vaebench(*words, f"paths.outputs={outputs}"), *parts)
    assert not outputs.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "word", "parts"),
    [
        ("experiment/mine", "training: {epohcs: 3}", "experiment=mine", ["training.epohcs", "'epochs'"]),
        (
            "experiment/mine",
            "model: {encoder: {dpeth: 3}}",
            "experiment=mine",
            ["model.encoder.dpeth", "'depth'"],
        ),
        ("experiment/mine", "training: {epochs: 3", "experiment=mine", ["mine.yaml, line 4"]),
        (
            "experiment/mine",
            "defaults: [override /model: vea]",
            "experiment=mine",
            ["model = 'vea'", "'vae'"],
        ),
        (
            "model/encoder/mine",
            "depht: 3",
            "model/encoder=mine",
            ["model.encoder = {'depht': 3}", "_target_"],
        ),
        (
            "model/encoder/mine",
            (CONF / "model/encoder/mlp.yaml").read_text() + "depht: 3\n",
            "model/encoder=mine",
            ["model.encoder.depht: no such key", "did you mean 'depth'?"],
        ),
    ],
)
@pytest.mark.usefixtures("no_data")
def test_a_mistake_in_a_file_ends_in_one_message(
    vaebench: Program, tmp_path: Path, file: str, text: str, word: str, parts: list[str]
) -> None:
    if file.startswith("experiment/"):
        plant_experiment(tmp_path, file.removeprefix("experiment/"), f"{text}\n")
    else:
        plant(tmp_path, file, text)
    check_one_message(vaebench("--config-dir", str(tmp_path), word, f"paths.outputs={tmp_path}/o"), *parts)
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("no_data")
def test_an_output_folder_that_cannot_be_written_is_named(vaebench: Program) -> None:
    for words in (["paths.outputs=/dev/null/x"], ["-m", "paths.outputs=/dev/null/x", "seed=0,1"]):
        check_one_message(vaebench(*words, *TINY), "/dev/null/x", "Not a directory", "paths.outputs=")


@pytest.mark.slow
def test_a_run_directory_of_another_config_is_refused_with_the_difference(
    vaebench: Program, tmp_path: Path
) -> None:
    words = [f"paths.outputs={tmp_path}", *TINY]
    assert vaebench(*words).code == 0
    (file,) = tmp_path.glob("digits/vae/*/seed0/v0/config.yaml")
    stored = yaml.safe_load(file.read_text())
    stored["model"]["encoder"]["width"] = 9
    file.write_text(yaml.safe_dump(stored))
    results = (file.parent / "results.json").read_bytes()
    outcome = vaebench(*words)
    assert outcome.code == 1
    assert outcome.message.splitlines() == [
        f"{file.parent} belongs to another config:",
        "  model.encoder.width: 8 here, 9 there",
        "Use fresh=true for a new version, or move that directory elsewhere.",
    ]
    assert (file.parent / "results.json").read_bytes() == results
    assert vaebench(*words, "fresh=true").code == 0
    assert (file.parents[1] / "v1/results.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=vae,vea"], "model = 'vea': no such option; did you mean 'vae'?"),
        (["seed=0,1", "training.epohcs=1"], "training.epohcs: no such key; did you mean 'epochs'?"),
    ],
)
@pytest.mark.usefixtures("no_data")
def test_a_mistake_in_a_sweep_is_found_before_its_first_job(
    vaebench: Program, tmp_path: Path, words: list[str], message: str
) -> None:
    outcome = vaebench("-m", *words, f"paths.outputs={tmp_path}", *TINY)
    check_one_message(outcome, message)
    assert not list(tmp_path.glob("digits/*"))


@pytest.mark.slow
def test_a_job_of_a_sweep_says_its_own_mistake_and_the_others_run(vaebench: Program, tmp_path: Path) -> None:
    outcome = vaebench("-m", "seed=0,-1,x,2", f"paths.outputs={tmp_path}", *TINY)
    assert outcome.code == 1
    for message in ("seed = -1: expected 0 or more", "seed = 'x': expected an integer"):
        assert outcome.stderr.splitlines().count(message) == 1
    assert "Traceback" not in outcome.stderr
    assert {path.name for path in tmp_path.glob("digits/vae/*/*")} == {"seed0", "seed2"}


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    outcome = in_subprocess("training.epohcs=3", "paths.outputs=o", cwd=tmp_path)
    check_one_message(outcome, "training.epohcs: no such key; did you mean 'epochs'?")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_shown_with_its_traceback(
    vaebench: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Digits, "load", load)
    outcome = vaebench(f"paths.outputs={tmp_path}", *TINY)
    assert outcome.code == 1
    assert "Traceback" in outcome.stderr
    assert "ZeroDivisionError: a bug" in outcome.stderr
