"""Every evaluator of conf/evaluation/full.yaml keeps the contract, and none can take the others down."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from tests.compositions import composed
from vaebench.config.build import build
from vaebench.data.spec import DataSpec, Split, Splits
from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.output_files import OutputFiles
from vaebench.evaluation.suite import is_done, run_one
from vaebench.models.latent import LatentModel
from vaebench.runner.signals import Interrupted
from vaebench.seeding import random_state
from vaebench.testing import latent_model, make_context

SPEC = DataSpec(name="toy", shape=(1, 4, 4), kind="binary", num_classes=3)
TINY = {
    "num_samples": 5,
    "num_data": 40,
    "num_train": 50,
    "num": 4,
    "hidden": 8,
    "epochs": 2,
    "num_units": 2,
    "num_steps": 3,
    "perplexity": 5.0,
    "num_flow_data": 20,
    "num_importance": 5,
    "num_simulated": 4,
    "num_chains": 2,
    "num_temperatures": 3,
    "num_leapfrog": 1,
}
NEED_NO_LATENT = {"curves", "samples"}


def full_suite() -> dict[str, dict[str, Any]]:
    """The nodes of the full suite, with whatever makes an evaluator slow made small."""
    suite: Any = OmegaConf.to_container(composed("evaluation=full").evaluation, resolve=True)
    return {name: node | {k: v for k, v in TINY.items() if k in node} for name, node in suite.items()}


SUITE = full_suite()


def random_split(num: int, stochastic: bool = False) -> Split:
    generator = torch.Generator().manual_seed(num)
    y = torch.arange(num) % 3
    grey = torch.randint(256, (num, *SPEC.shape), generator=generator, dtype=torch.uint8)
    if stochastic:
        return Split(grey, y, scale=1 / 255, stochastic=True)
    return Split(grey.gt(127).to(torch.uint8), y)


def tiny_context(directory: Path, family: type[LatentModel] = LatentModel) -> Context:
    torch.manual_seed(0)
    model = latent_model(SPEC, latent_dim=3, depth=2, family=family)
    splits = Splits(random_split(70, stochastic=True), random_split(50), random_split(60))
    numbers = {"elbo": -1.0, "kl": 1.0, "active_units": 3}
    history = [{"epoch": epoch, "train": numbers, "valid": numbers} for epoch in (1, 2)]
    return make_context(model, splits.test, directory, splits=splits, spec=SPEC, history=history)


class WithoutLatent(LatentModel):
    has_latent: ClassVar = False

    def encode(self, x: Tensor) -> Any:
        raise AssertionError("there is nothing to encode into")


def as_values(state: Any) -> Any:
    """A random state in plain values, which compare."""
    return {k: [getattr(v, "tolist", lambda v=v: v)() for v in state[k]] for k in state}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return tiny_context(tmp_path_factory.mktemp("suite"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITE)
def test_every_evaluator_gives_finite_measurements_or_a_figure_and_leaves_the_random_state(name, context):
    figures = context.directory / "figures"
    figures_before = set(figures.glob("*"))
    before = as_values(random_state())
    entry = run_one(name, build(SUITE[name]), SUITE[name], context)
    assert as_values(random_state()) == before
    assert entry["status"] == "complete", entry
    assert entry["version"] >= 1
    assert entry["measurements"] or set(figures.glob("*.png")) > figures_before
    for fields in entry["measurements"]:
        number = Measurement(**fields)
        assert math.isfinite(number.value), number
        assert number.unit
        assert number.n >= 1
        error = number.standard_error
        assert error is None or (math.isfinite(error) and error >= 0)


@pytest.mark.parametrize("name", ["bound", "nll", "mutual_information", "mlp_probe"])
def test_the_same_context_gives_the_same_numbers(name, context, tmp_path):
    first = run_one(name, build(SUITE[name]), {}, context)
    torch.manual_seed(99)
    again = run_one(name, build(SUITE[name]), {}, tiny_context(tmp_path))
    assert first["measurements"] == again["measurements"]


@pytest.mark.parametrize("name", SUITE)
def test_a_model_without_latent_is_not_applicable_to_whatever_needs_one(name, tmp_path):
    context = tiny_context(tmp_path, WithoutLatent)
    evaluate = partial(list, build(SUITE[name]).run(context))
    if name in NEED_NO_LATENT:
        assert evaluate() == []
    else:
        with pytest.raises(NotApplicableError, match="no latent code"):
            evaluate()


class Returning:
    """An evaluator that does what it is told after one measurement."""

    version: ClassVar = 3

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def run(self, context: Context) -> Iterator[Measurement]:
        torch.rand(3)
        yield Measurement("one", 1.0, "nats", True, 1)
        if self.error is not None:
            raise self.error


def test_a_raising_evaluator_is_filed_as_failed_with_its_traceback_and_without_numbers(context):
    before = torch.get_rng_state()
    entry = run_one("bad", Returning(ValueError("the reason")), {"num": 1}, context)
    assert entry["status"] == "failed"
    assert "ValueError: the reason" in entry["traceback"]
    assert entry["measurements"] == []
    assert entry["settings"] == {"num": 1}
    assert torch.equal(torch.get_rng_state(), before)


def test_an_evaluator_that_does_not_apply_is_filed_with_its_reason(context):
    entry = run_one("none", Returning(NotApplicableError("the reason")), {}, context)
    assert entry["status"] == "not_applicable"
    assert entry["reason"] == "the reason"
    assert entry["measurements"] == []


def test_a_request_to_stop_is_no_failure_of_the_evaluator(context):
    with pytest.raises(Interrupted):
        run_one("stopped", Returning(Interrupted(15)), {}, context)


def test_an_entry_stands_unless_it_failed_or_its_evaluator_is_newer(context):
    complete = run_one("good", Returning(), {}, context)
    assert is_done(complete, 3)
    assert not is_done(complete, 4)
    assert not is_done(None, 1)
    assert not is_done(run_one("bad", Returning(ValueError()), {}, context), 3)
    assert is_done(run_one("none", Returning(NotApplicableError("no")), {}, context), 3)


class Encoding:
    """An evaluator that needs the encoding, the prior and the test data, and saves a file."""

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        mean = context.encoded("test").mean
        yield Measurement("norm", float(mean.norm()), "units", None, len(context.test_data))
        context.save_arrays("mine", mean=mean.numpy())
        assert context.prior is not None


def test_evaluators_share_the_encoding_and_the_prior_but_not_their_files(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, calls = replace(context, shared={}), []
    for name in ("encode", "prior_distribution"):
        real = getattr(context.model, name)
        monkeypatch.setattr(
            context.model, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1]
        )
    first = run_one("one", Encoding(), {}, context)
    second = run_one(
        "two", Encoding(), {}, context, OutputFiles(context.directory, {"arrays/mine.npz"}, "abc")
    )
    assert sorted(calls) == ["encode", "prior_distribution"]
    assert first["measurements"] == second["measurements"]
    assert first["files"] == {"arrays/mine.npz": "arrays/mine.npz"}
    assert second["files"] == {"arrays/mine.npz": "arrays/mine_abc.npz"}
