"""What a person reads after a mistake that Hydra finds before we do."""

import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException

from tests.config.helpers import composed, plant, plant_experiment
from vaebench.config.commandline import CommandLine
from vaebench.config.errors import did_you_mean
from vaebench.config.explain import explain, is_mistake


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch):
    """The message for a command line that does not compose."""

    def of(*words: str, beside: Path | None = None) -> str:
        flags = ["--config-dir", str(beside)] if beside else []
        monkeypatch.setattr(sys, "argv", ["vaebench", *flags, *words])
        with pytest.raises(Exception) as caught:  # noqa: PT011 (whichever Hydra raises)
            composed(*words, beside=beside)
        assert is_mistake(caught.value)
        return explain(caught.value)

    return of


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("model/encoder=mpl", "model/encoder = 'mpl': no such option; did you mean 'mlp'? (choices: "),
        ("evaluation=xyz", "evaluation = 'xyz': no such option (choices: chain, "),
        ("model=null", "model = null: no such option"),
        ("hydra/launcher=jobllib", "hydra/launcher = 'jobllib': no such option; did you mean 'joblib'?"),
    ],
)
def test_an_unknown_option_of_a_group_is_told_with_the_nearest_and_all(
    message, word: str, expected: str
) -> None:
    text = message(word)
    assert text.startswith(expected)
    assert "\n" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("~training.epohcs", "training.epohcs: no such key; did you mean 'epochs'? (choices: batch_size, "),
        (
            "model.encdoer.depth=2",
            "model.encdoer: no such key; did you mean 'encoder'? (choices: decoder, encoder, ",
        ),
        ("model/encdoer=mlp", "model/encdoer: no such group; did you mean 'model/encoder'? (choices: "),
        ("tier.foo=1", "tier.foo: no such key; tier has no keys"),
        ("hydra.swep.dir=x", "hydra.swep.dir: no such key; `vaebench --cfg hydra` lists Hydra's keys"),
    ],
)
def test_a_misspelt_key_is_told_with_its_neighbours(message, word: str, expected: str) -> None:
    text = message(word)
    assert text.startswith(expected)
    assert "\n" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lr=1e-3", "'training.optimizer.lr'"),
        ("model.beta=4", "'model.objective.beta'"),
        ("depth=3", "'model.encoder.depth' or 'model.decoder.depth'"),
        ("encoder=mlp", "'model/encoder'"),
    ],
)
def test_a_key_at_the_wrong_place_is_told_where_it_is(message, word: str, meant: str) -> None:
    assert message(word).startswith(f"{word.split('=')[0]}: no such key; did you mean {meant}")


def test_keys_are_judged_by_the_options_that_were_chosen(message) -> None:
    assert message("evaluation=none", "evaluation.bound.num_samples=3") == (
        "evaluation.bound: no such key; there are none to choose from"
    )
    assert message("tracker=tensorboard", "evaluation=probes", "evaluation.svm_prob.kernel=rbf").startswith(
        "evaluation.svm_prob: no such key; did you mean 'svm_probe'? (choices: mlp_probe, "
    )


def test_all_mistakes_of_the_command_line_are_listed(message) -> None:
    lines = message(
        "training.epohcs=3", "model.latnet_dim=4", "model.encoder.width=-5", "+typo=1"
    ).splitlines()
    assert lines[0] == "4 problems:"
    assert {line.split(":")[0].split(" = ")[0].strip() for line in lines[1:]} == {
        "training.epohcs",
        "model.latnet_dim",
        "model.encoder.width",
        "typo",
    }


def test_keys_are_not_judged_without_the_option_that_was_meant(message) -> None:
    lines = message("model=nothing_like_it", "dataset=mnst", "model.num_components=500").splitlines()
    assert lines[0] == "2 problems:"
    assert [line.split("=")[0].strip() for line in lines[1:]] == ["model", "dataset"]


def test_a_sweep_is_judged_by_its_first_job() -> None:
    config = CommandLine.of(["-m", "seed=3,4", "tier=smoke,full", "model.latent_dim=range(5,7)"]).composed()
    assert (config.seed, config.tier, config.model.latent_dim) == (3, "smoke", 5)


def test_a_key_that_only_the_swept_options_have_wants_two_plus_signs(monkeypatch) -> None:
    sweep = ["vaebench", "-m", "model=pixelcnn_vae,pixelcnn_skip_vae", "model.decoder.channels=16"]
    monkeypatch.setattr(sys, "argv", sweep)
    with pytest.raises(HydraException) as caught:  # what Hydra composes before it sweeps
        composed("model.decoder.channels=16")
    assert "write ++model.decoder.channels=" in explain(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_the_folder_of_further_options_is_found_on_the_command_line(flags: list[str], tmp_path: Path) -> None:
    plant_experiment(tmp_path, "paper/row", "seed: 7")
    line = CommandLine.of(
        [flag.format(tmp_path) for flag in flags] + ["experiment=paper/row", "--cfg", "job"]
    )
    assert "paper/row" in line.options("experiment")
    assert "experiment/paper" in line.groups
    assert line.composed().seed == 7
    assert line.without("experiment").composed().seed == 0


def test_an_experiment_is_named_with_its_folder(message, tmp_path: Path) -> None:
    plant_experiment(tmp_path, "paper/row1", "seed: 1")
    plant_experiment(tmp_path, "other/row2", "seed: 1")
    assert message("experiment=paper/rwo1", beside=tmp_path).startswith(
        "experiment = 'paper/rwo1': no such option; did you mean 'paper/row1'? (choices: "
    )


def test_a_mistake_in_a_defaults_list_names_its_file(message, tmp_path: Path) -> None:
    plant_experiment(tmp_path, "mine", "defaults:\n  - override /modle: vae")
    text = message("experiment=mine", beside=tmp_path)
    assert text.startswith("modle: no such key; did you mean 'model'?")
    assert text.endswith("(in experiment/mine.yaml)")


def test_a_file_that_is_no_yaml_is_named_with_the_line(message, tmp_path: Path) -> None:
    plant(tmp_path, "experiment/mine", "# @package _global_\ntraining: {epochs: 3\n")
    text = message("experiment=mine", beside=tmp_path)
    assert text.startswith(f"{tmp_path}/experiment/mine.yaml, line 3: expected ',' or '}}'")


@pytest.mark.parametrize("word", ["training.epochs", "training.epochs==3"])
def test_an_override_of_another_form_is_told_the_form(message, word: str) -> None:
    assert message(word).startswith(f"{word}: expected key=value (")


@pytest.mark.parametrize("words", [["+evaluation=full"], ["evaluation=none", "+evaluation=full"]])
def test_an_option_that_is_added_to_one_that_is_there_is_told_how(message, words: list[str]) -> None:
    assert message(*words) == (
        "evaluation: chosen twice; `evaluation=...`, without a +, replaces the default option"
    )


def test_a_bug_is_no_mistake_of_the_user() -> None:
    assert not any(
        is_mistake(bug) for bug in (ValueError("x"), TypeError("x"), OSError("libfoo.so: cannot open"))
    )
    assert is_mistake(NotADirectoryError(20, "Not a directory", "/dev/null/x"))


def test_near_misses_are_offered_and_long_lists_are_not() -> None:
    assert did_you_mean("dpeth", ["width", "depth"]) == "; did you mean 'depth'? (choices: depth, width)"
    assert did_you_mean("zzz", ["width", "depth"]) == " (choices: depth, width)"
    assert did_you_mean("zzz", []) == "; there are none to choose from"
    assert did_you_mean("row7x", [f"row{i}" for i in range(50)]) == "; did you mean 'row7'?"
    many = [f"{folder}/row{i}" for folder in "ab" for i in range(30)]
    assert did_you_mean("b/row7x", many).startswith("; did you mean 'b/row7'? (choices: b/row0, ")


@pytest.mark.parametrize("word", ["paths.outputs=~/runs", "data_root=/x#1", "paths.outputs=a;b"])
def test_what_hydra_takes_in_quotes_alone_says_so(message, word: str) -> None:
    assert (
        message(word)
        == f"""{word}: contains a character that Hydra accepts only in quotes; write "key='value'\""""
    )


def test_an_unknown_option_in_a_list_is_told_with_the_nearest(message) -> None:
    text = message("evaluation=[likelihood,collaps]")
    assert text.startswith("evaluation = 'collaps': no such option; did you mean 'collapse'? (choices: ")


def test_of_a_sweep_over_a_glob_the_first_option_is_composed() -> None:
    assert CommandLine.of(["model=glob(scvae*)"]).composed().model.name == "scvae"
