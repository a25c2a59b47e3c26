"""What the check of a composed config refuses, and in which words."""

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.config.helpers import config_of, problems_of
from vaebench.config.check import checked, options_of
from vaebench.config.errors import ConfigError
from vaebench.networks.mlp import MLPEncoder
from vaebench.runner.optimizers import adam


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer.lr=abc", "training.optimizer.lr = 'abc': expected a number"),
        ("model.latent_dim=3.5", "model.latent_dim = 3.5: expected an integer"),
        ("training.epochs=many", "training.epochs = 'many': expected an integer"),
        ("fresh=maybe", "fresh = 'maybe': expected true or false"),
        ("seed=true", "seed = true: expected a number"),
        ("data_root=null", "data_root = null: expected text"),
        ("model.encoder.width=null", "model.encoder.width = null: expected an integer"),
        ("training.optimizer.betas=0.9", "training.optimizer.betas = 0.9: expected a list"),
        (
            "training.optimizer.betas=[0.9]",
            "training.optimizer.betas = [0.9]: expected more values in the list",
        ),
        (
            "runtime.device=gpu",
            "runtime.device = 'gpu': expected one of auto, cpu, cuda, mps; did you mean 'cuda'?",
        ),
        (
            "model.encoder.activation=rleu",
            "model.encoder.activation = 'rleu': expected one of relu, leaky_relu, gelu, elu, tanh, softplus; "
            "did you mean 'relu'?",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_was_expected(override: str, message: str) -> None:
    assert problems_of(override) == (message,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.encoder.width=-5", "model.encoder.width = -5: expected 1 or more"),
        ("model.objective.beta=-1", "model.objective.beta = -1: expected 0 or more"),
        ("training.epochs=0", "training.epochs = 0: expected 1 or more"),
        ("training.steps=0", "training.steps = 0: expected 1 or more"),
        ("training.batch_size=0", "training.batch_size = 0: expected 1 or more"),
        ("training.optimizer.lr=0", "training.optimizer.lr = 0: expected more than 0"),
        ("training.optimizer.lr=inf", "training.optimizer.lr = inf: expected a finite number"),
        ("training.optimizer.betas=[0.9,1]", "training.optimizer.betas = [0.9, 1]: expected less than 1"),
        ("seed=-1", "seed = -1: expected 0 or more"),
        ("seed=4294967296", "seed = 4294967296: expected less than 4294967296"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_nearest_legal_one(override: str, message: str) -> None:
    assert problems_of(override) == (message,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("+typo=1", "typo: no such key (choices: data_root, dataset, evaluation, "),
        ("+sede=1", "sede: no such key; did you mean 'seed'? (choices: "),
        ("+training.typo=1", "training.typo: no such key (choices: batch_size, clip_grad_norm, "),
        ("++training.epohcs=1", "training.epohcs: no such key; did you mean 'epochs'? (choices: "),
        ("+model.encoder.typo=1", "model.encoder.typo: no such key (choices: activation, "),
        (
            "+model.encoder.dpeth=1",
            "model.encoder.dpeth: no such key; did you mean 'depth'? (choices: activation, ",
        ),
        ("+model.spec=1", "model.spec: no such key"),  # a constructor's positional parameters are not options
        (
            "+evaluation.nll.num_smaples=1",
            "evaluation.nll.num_smaples: no such key; did you mean 'num_samples'?",
        ),
        ("+evaluation.mine=1", "evaluation.mine = 1: expected a component, a mapping with a _target_"),
    ],
)
def test_a_key_that_is_added_but_not_known_is_refused(override: str, start: str) -> None:
    (problem,) = problems_of(override)
    assert problem.startswith(start)


def test_an_option_of_an_evaluator_that_the_suite_lacks_can_be_left_out_as_is_said() -> None:
    words = ["experiment=zhao/fig5_elbo", "evaluation=none"]
    (problem,) = problems_of(*words)
    assert problem == (
        "evaluation.bound = {'num_samples': 1}: the evaluation suite has no 'bound'; pick a suite that "
        "includes it, or drop this key with ~evaluation.bound"
    )
    assert config_of(*words, "~evaluation.bound")["evaluation"] == {}


@pytest.mark.parametrize(
    "override", ["~seed", "~training.epochs", "~model.latent_dim", "model.latent_dim=???"]
)
def test_a_missing_value_is_named(override: str) -> None:
    key = override.removeprefix("~").removesuffix("=???")
    assert problems_of(override) == (f"{key}: missing; it needs a value",)


def test_a_reference_to_nothing_is_named() -> None:
    assert problems_of("seed=${sede}") == ("seed: Interpolation key 'sede' not found",)


def test_all_mistakes_are_listed_at_once_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("+typo=1", "model.latent_dim=-3", "training.epochs=many", "evaluation.nll.num_samples=0")
    first, *rest = str(caught.value).splitlines()
    assert first == "4 problems:"
    assert all(line.startswith("  ") for line in rest)
    keys = ["typo", "model.latent_dim", "training.epochs", "evaluation.nll.num_samples"]
    assert sorted(re.split("[: ]", line.strip())[0] for line in rest) == sorted(keys)


def test_values_arrive_in_the_declared_types() -> None:
    config = config_of("training.optimizer.lr=1", "training.clip_grad_norm=2", "seed=3.0")
    values = [config["training"]["optimizer"]["lr"], config["training"]["clip_grad_norm"], config["seed"]]
    assert [(value, type(value)) for value in values] == [(1.0, float), (2.0, float), (3, int)]
    assert config["training"]["optimizer"]["betas"] == (0.9, 0.999)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a b"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    for key in ("model.name", "dataset.name"):
        assert problems_of(f"{key}='{name}'") == (f"{key} = {name!r}: expected letters, digits and _ . -",)


def test_the_check_leaves_no_omegaconf_behind() -> None:
    def kinds(value: Any) -> set[type]:
        inner = (
            value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        )
        return {type(value)}.union(*map(kinds, inner))

    assert kinds(config_of()) <= {dict, list, tuple, str, int, float, bool, type(None)}


def test_options_are_the_keyword_only_parameters_of_a_class_or_a_function() -> None:
    assert {"depth", "width", "activation"} <= set(options_of(MLPEncoder))
    assert not {"self", "input_shape"} & set(options_of(MLPEncoder))
    assert set(options_of(adam)) == {"lr", "betas", "weight_decay"}
    assert all(required for _, required in options_of(adam).values())


def test_a_config_that_is_not_ours_is_refused_as_a_whole() -> None:
    with pytest.raises(ConfigError) as caught:
        checked(OmegaConf.create({"a": 1}))
    assert caught.value.problems[0].startswith("a: no such key")
    assert "model: missing; it needs a value" in caught.value.problems
