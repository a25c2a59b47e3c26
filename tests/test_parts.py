"""Contracts of parts: a part of another package that breaks one is refused before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import plant
from tests.runs import small_config
from tests.sentences import write_corpus
from vaebench import part_checks, parts
from vaebench.errors import UserError
from vaebench.objectives.base import Objective
from vaebench.parts import Loss, Measurement
from vaebench.runner import prepare
from vaebench.runner.experiment import run
from vaebench.testing import latent_model, toy_spec

MINE: Any = ModuleType("mylab")


def mine(thing: Any) -> Any:
    """Make a class part of the importable package `mylab`."""
    thing.__module__ = "mylab"
    setattr(MINE, thing.__name__, thing)
    return thing


@mine
class Decoder(nn.Module):
    """A good one."""

    is_autoregressive = False

    def __init__(self, latent_dim: int, output_shape: Any, data_shape: Any, *, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent_dim, width), nn.Tanh(), nn.Linear(width, 64))
        self.output_shape = output_shape

    def forward(self, z: Tensor, x: Tensor | None) -> Tensor:
        return self.layers(z).unflatten(1, self.output_shape)


@mine
class Silent(Decoder):
    """It does not say whether it is autoregressive."""

    is_autoregressive = None  # type: ignore[assignment]


@mine
class NoSampler(Decoder):
    """It says that it is autoregressive, and cannot sample."""

    is_autoregressive = True


@mine
class Narrow(Decoder):
    """One number too few."""

    def forward(self, z: Tensor, x: Tensor | None) -> Tensor:
        return super().forward(z, x)[..., 1:]


@mine
class Positional(Decoder):
    """Its option is no keyword-only parameter."""

    def __init__(self, latent_dim: int, output_shape: Any, data_shape: Any, width: int = 3) -> None:
        super().__init__(latent_dim, output_shape, data_shape, width=width)


@mine
class PlainObject:
    """No torch module."""

    is_autoregressive = False

    def __init__(self, latent_dim: int, output_shape: Any, data_shape: Any, *, width: int) -> None:
        pass

    def __call__(self, z: Tensor, x: Tensor | None) -> Tensor:
        return z


@mine
class Encoder(nn.Module):
    """It does not say how many features it has."""

    def __init__(self, input_shape: Any, *, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@mine
class NotAnObjective(nn.Module):
    def __init__(self, steps_per_epoch: int, model: Any) -> None:
        super().__init__()

    def forward(self, terms: Any, step: Tensor, model: Any) -> Loss:
        return Loss(-terms.log_px_z.mean())


@mine
class Unweighted(Objective):
    """It does not state the weight of the KL."""

    def __init__(self, steps_per_epoch: int, model: Any) -> None:
        super().__init__()

    def forward(self, terms: Any, step: Tensor, model: Any) -> Loss:
        return Loss(terms.kl_per_datum.mean() - terms.log_px_z.mean())


@mine
class Unreduced(Unweighted):
    """Its loss is no scalar."""

    def forward(self, terms: Any, step: Tensor, model: Any) -> Loss:
        return Loss(-terms.log_px_z)


@mine
class Bare(Unweighted):
    """It returns a tensor."""

    def forward(self, terms: Any, step: Tensor, model: Any) -> Any:
        return -terms.log_px_z.mean()


@mine
class NoVersion:
    def __init__(self, *, threshold: float) -> None:
        pass

    def run(self, context: Any) -> list[Measurement]:
        return []


@mine
class NoRun:
    version = 1


@mine
class Beta(nn.Module):
    """A likelihood without `mean`."""

    kinds = frozenset({"binary"})
    parameter_shape = (1, 8, 8)

    def __init__(self, shape: Any) -> None:
        super().__init__()

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        return x

    def sample(self, parameters: Tensor, generator: Any = None) -> Tensor:
        return parameters


@mine
class Kindless(Beta):
    """It does not say for which kinds of data it is."""

    kinds = None  # type: ignore[assignment]


@mine
class NotAModel(nn.Module):
    def __init__(self, spec: Any, *, name: str) -> None:
        super().__init__()


@mine
class Posterior(nn.Module):
    is_gaussian = "yes"

    def __init__(self, in_features: int, latent_dim: int) -> None:
        super().__init__()


@mine
class Prior(nn.Module):
    def __init__(self, latent_dim: int, shape: Any) -> None:
        super().__init__()


@pytest.fixture(autouse=True)
def mylab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mylab", MINE)


def config(tmp_path: Path, part: str, text: str, *words: str) -> Any:
    """The config of a small run with one part of mylab, planted beside conf/."""
    plant(tmp_path / "conf", f"{part}/mine", dedent(text))
    option = part if part == "evaluation" else f"{part}"
    searched = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    return small_config(tmp_path / "outputs", f"{option}=mine", searched, *words, families=True)


GOOD = ("training.steps=2", "evaluation=none", "runtime.device=cpu", "runtime.progress=never")


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        (
            "model/decoder",
            "_target_: mylab.Silent\nwidth: 3",
            r"model.decoder: mylab.Silent has no `is_autoregressive` \(whether it also reads x, by teacher "
            r"forcing\); the contract is vaebench.parts.Decoder",
        ),
        (
            "model/decoder",
            "_target_: mylab.NoSampler\nwidth: 3",
            r"mylab.NoSampler has no `sample`\(\); the contract is vaebench.parts.AutoregressiveDecoder",
        ),
        (
            "model/decoder",
            "_target_: mylab.PlainObject\nwidth: 3",
            "mylab.PlainObject is not a torch.nn.Module",
        ),
        ("model/decoder", "_target_: mylab.Narrow\nwidth: 3", "mylab.Narrow.*The size of tensor"),
        (
            "model/decoder",
            "_target_: mylab.Positional\nwidth: 3",
            r"model.decoder.width: mylab.Positional takes `width` positionally.*keyword-only",
        ),
        (
            "model/encoder",
            "_target_: mylab.Encoder\nwidth: 3",
            r"model.encoder: .* has no `out_features` \(F,",
        ),
        ("model/likelihood", "_target_: mylab.Beta", r"model.likelihood: mylab.Beta has no `mean`\(\)"),
        (
            "model/likelihood",
            "_target_: mylab.Kindless",
            r"has no `kinds` \(the kinds of data that it is for\)",
        ),
        (
            "model/posterior",
            "_target_: mylab.Posterior",
            r"mylab.Posterior has `is_gaussian` = 'yes', expected bool, has no `is_amortised`",
        ),
        ("model/prior", "_target_: mylab.Prior", "mylab.Prior has no `needs_gaussian_posterior`"),
        (
            "model/objective",
            "_target_: mylab.NotAnObjective",
            r"model.objective: mylab.NotAnObjective has no `kl_weight`\(\), .*has no `criterion`.*"
            r"vaebench.parts.ObjectiveContract",
        ),
        (
            "model/objective",
            "_target_: mylab.Unreduced",
            r"the objective's loss has shape \[1, 2\], expected \[\]",
        ),
        ("model/objective", "_target_: mylab.Bare", "Bare returned Tensor, expected vaebench.parts.Loss"),
        (
            "evaluation",
            "m: {_target_: mylab.NoVersion, threshold: 1.0}",
            r"evaluation.m: mylab.NoVersion has no `version` \(incremented when its numbers change\)",
        ),
        (
            "model",
            "defaults: [objective: elbo]\n_target_: mylab.NotAModel\nname: mine",
            r"model: mylab.NotAModel has no `encode`\(\), .*vaebench.parts.ModelContract",
        ),
        ("evaluation", "m: {_target_: mylab.NoRun}", r"evaluation.m: mylab.NoRun has no `run`\(\)"),
    ],
)
def test_a_part_that_breaks_its_contract_is_one_message_and_no_directory(
    part: str, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        run(config(tmp_path, part, text, *(word for word in GOOD if not word.startswith(part))))
    assert not (tmp_path / "outputs").exists()


def test_an_iterative_posterior_needs_an_objective_that_states_its_weight(tmp_path: Path) -> None:
    words = (*GOOD, "model/posterior=svi")
    with pytest.raises(UserError, match=r"model.objective: Unweighted does not define kl_weight\(step\)"):
        run(config(tmp_path, "model/objective", "_target_: mylab.Unweighted", *words))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("model/decoder", "_target_: mylab.Decoder\nwidth: 3"),
        ("model/objective", "_target_: mylab.Unweighted"),
    ],
)
def test_a_part_that_keeps_its_contract_trains(part: str, text: str, tmp_path: Path) -> None:
    assert run(config(tmp_path, part, text, *GOOD))["training"]["steps"] == 2


@mine
class Penalised(Unweighted):
    """It takes a gradient of its own."""

    def forward(self, terms: Any, step: Tensor, model: Any) -> Loss:
        (slope,) = torch.autograd.grad(terms.log_px_z.sum(), terms.z, create_graph=True)
        return Loss(super().forward(terms, step, model).total + slope.square().mean())


def test_an_objective_of_sentences_that_takes_gradients_trains(tmp_path: Path) -> None:
    text = f"dataset.folder={write_corpus(tmp_path / 'corpus')}"
    words = ("model=lstm_vae", "dataset=text", text, "model.decoder.hidden=6", "training.batch_size=2", *GOOD)
    results = run(config(tmp_path, "model/objective", "_target_: mylab.Penalised", *words))
    assert results["training"]["steps"] == 2


@pytest.mark.slow
def test_trying_a_part_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial of a foreign decoder uses no random number of the training and no batch statistic."""
    text = "_target_: mylab.Decoder\nwidth: 3"
    assert prepare.prepare(config(tmp_path / "prepared", "model/decoder", text, *GOOD)).model.training

    def weights(name: str) -> dict[str, Tensor]:
        run(config(tmp_path / name, "model/decoder", "_target_: mylab.Decoder\nwidth: 3", *GOOD))
        (best,) = (tmp_path / name).rglob("best.pt")
        return torch.load(best, weights_only=True)["model"]

    tried = weights("tried")
    monkeypatch.setattr(prepare, "try_parts", lambda *_: None)
    untried = weights("untried")
    assert all(torch.equal(tried[key], untried[key]) for key in untried)


def test_the_parts_of_vaebench_keep_their_contracts() -> None:
    made = latent_model(toy_spec((3,)), 2).decoder
    assert part_checks.require_decoder(made, "model.decoder") is made
    assert {*part_checks.members(parts.AutoregressiveDecoder)} == {"is_autoregressive", "sample"}
    assert {*part_checks.members(parts.Evaluator)} == {"version", "run"}
