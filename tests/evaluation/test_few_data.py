"""Test sets of one datum or three: a number, or the reason why there is none; never a failure, never NaN."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.compositions import composed
from tests.evaluation.test_suite import SPEC, TINY, random_split
from tests.models.test_sequential_vae import model_of as sequential_model
from tests.sentences import lstm_vae, sentences, spec_of
from vaebench.config.build import build
from vaebench.data.spec import Split, Splits
from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.evaluation.samples.sentences import Sentences
from vaebench.evaluation.samples.step_by_step import StepByStep
from vaebench.evaluation.suite import run_one
from vaebench.evaluation.validation import validate
from vaebench.runner.results_files import Metrics, Results
from vaebench.runner.summary import summary_table
from vaebench.testing import LinearGaussian, OpaquePosterior, latent_model, make_context, measure

SUITES = ("full", "code_use", "propagation")
SMALL = TINY | {"num_steps": 3, "num_chains": 3, "batch_size": 8, "width": 4, "num_draws": 5, "num_runs": 1}
LEAST = {
    "active_units": 2,
    "traversal": 2,
    "spectrum": 2,
    "code_distances": 2,
    "propagation": 2,
    "density_ratio_mi": 2,
    "mutual_information": 4,
    "chain": 6,
    "tsne": 6,  # a perplexity of 5
}


def nodes() -> dict[str, dict[str, Any]]:
    """Of all suites, made small."""
    found: dict[str, Any] = {}
    for suite in SUITES:
        found |= OmegaConf.to_container(composed(f"evaluation={suite}").evaluation, resolve=True)  # type: ignore[arg-type]
    return {name: node | {k: v for k, v in SMALL.items() if k in node} for name, node in found.items()}


NODES = nodes()


def context_of(num: int, directory: Path) -> Context:
    torch.manual_seed(0)
    model = latent_model(SPEC, latent_dim=3, depth=2)
    splits = Splits(random_split(70), random_split(50), random_split(num))
    numbers = {"elbo": -1.0, "kl": 1.0, "reconstruction": 0.0, "active_units": 3}
    history = [{"epoch": epoch, "train": numbers, "valid": numbers} for epoch in (1, 2)]
    return make_context(model, splits.test, directory, splits=splits, spec=SPEC, history=history)


def strict(text: str) -> Any:
    """The JSON of `text`, of which NaN is no part."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("name", NODES)
def test_every_evaluator_gives_numbers_or_says_why_not(name: str, num: int, tmp_path: Path) -> None:
    context = context_of(num, tmp_path)
    entry = run_one(name, build(NODES[name]), {}, context)
    if num < LEAST.get(name, 1):
        assert entry["status"] == "not_applicable"
        assert "too few" in entry["reason"]
        return
    assert entry["status"] == "complete", entry.get("reason", entry.get("traceback"))
    for number in entry["measurements"]:
        error = number["standard_error"]
        assert math.isfinite(number["value"])
        assert error is None or math.isfinite(error)
        if number["n"] == 1 and number["unit"] != "fraction":  # of which the error is binomial
            assert error is None
    for path in (tmp_path / "arrays").glob("*.npz"):
        with np.load(path) as arrays:
            assert all(array.dtype != object for array in arrays.values())


def test_two_data_have_an_error_and_one_has_none(tmp_path: Path) -> None:
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    x = toy.sample(2)
    model = toy.model(posterior=OpaquePosterior)  # whose ELBO is log p(x) at every draw
    alone, both = (
        measure(EvidenceLowerBound(num_samples=5), make_context(model, x[:n], tmp_path)) for n in (1, 2)
    )
    assert {m.standard_error for m in alone.values()} == {None}
    half = abs(float(toy.log_px(x[:1]) - toy.log_px(x[1:]))) / 2  # sd / sqrt(2) of two numbers
    assert both["elbo"].standard_error == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize("num", [2, 3, 4])
def test_information_needs_two_data_in_each_half_whatever_num_data_says(num: int, tmp_path: Path) -> None:
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    evaluator = MutualInformation(num_data=num)
    context = make_context(toy.model(), toy.sample(10), tmp_path)
    if num == 4:
        assert measure(evaluator, context)["mi_lower"].n == 4
    else:
        with pytest.raises(NotApplicableError, match=f"^too few test data: {num}, and at least 4 are needed"):
            measure(evaluator, context)


def test_one_sentence_is_measured_and_the_missing_interpolation_is_explained(tmp_path: Path) -> None:
    spec = spec_of()
    context = make_context(lstm_vae(spec), sentences(spec, "a b"), tmp_path, spec=spec)
    context.splits = Splits(*[Split(context.splits.test.x, None, lengths=torch.tensor([3]))] * 3)
    numbers = measure(ImportanceSampledNLL(num_samples=3, num_data=None, subset="first"), context)
    assert numbers["perplexity"].standard_error is None
    assert numbers["perplexity"].value == pytest.approx(math.exp(numbers["nll_nats"].value / 3))
    measure(Sentences(num=3, temperatures=[1.0], beam=2, num_steps=3), context)
    assert (tmp_path / "sentences/interpolations.txt").read_text() == (
        "# none: interpolation needs two test sentences, and there is one\n"
    )
    assert "# 1\n" in (tmp_path / "sentences/reconstructions.txt").read_text()


def test_a_step_of_one_image_has_no_error(tmp_path: Path) -> None:
    model = sequential_model()
    x = torch.rand(1, *model.spec.shape)
    context = make_context(model, x, tmp_path, spec=model.spec)
    numbers = measure(StepByStep(num_data=None, num_samples=2, num_shown=1), context)
    assert numbers["mse_1"].standard_error is None
    with np.load(tmp_path / "arrays/steps.npz") as arrays:
        assert np.isnan(arrays["mse_error"]).all()


@pytest.mark.parametrize("num", [1, 2])
def test_a_validation_of_one_datum_counts_no_units_and_knows_no_information(num: int) -> None:
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    found = validate(toy.model(), Split(toy.sample(num), None), 0, track_information=100)
    assert all(math.isfinite(value) for value in found.values())
    assert ({"active_units", "mi_lower"} <= found.keys()) == (num == 2)
    assert {"elbo", "kl"} <= found.keys()


class Infinite:
    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        yield Measurement("good", 1.0, "nats", True, 3, float("nan"))
        yield Measurement("bad", float("inf"), "nats", True, 3, 0.1)
        yield Measurement("worse", float("nan"), "nats", True, 3)


def test_what_is_not_finite_is_told_and_filed_as_null(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = run_one("infinite", Infinite(), {}, context_of(3, tmp_path))
    assert "not finite, stored as null: bad, worse" in caplog.text
    run = {"dataset": "toy", "model": "vae", "seed": 0, "tier": "full"}
    results = Results(tmp_path / "results.json", run)
    results.put(entry)
    results.put_training({"best": -math.inf, "epochs": 1, "seconds": 1, "best_epoch": 1, "stopped": "x"})
    stored = strict((tmp_path / "results.json").read_text())
    filed = {m["name"]: (m["value"], m["standard_error"]) for m in stored["evaluations"][0]["measurements"]}
    assert filed == {"good": (1.0, None), "bad": (None, 0.1), "worse": (None, None)}
    assert stored["training"]["best"] is None
    table = summary_table(stored["evaluations"], stored, tmp_path)
    assert re.search(r"infinite\.bad +not finite +± 0\.1000 +nats", table)


def test_lines_of_epochs_stay_json(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl")
    for epoch in (1, 2, 3):
        metrics.append({"epoch": epoch, "valid": {"elbo": -1.0, "posterior_fisher": math.inf}})
    metrics.rewind(2)
    lines = [strict(line) for line in metrics.path.read_text().splitlines()]
    assert lines == metrics.read()
    assert [line["valid"] for line in lines] == [{"elbo": -1.0, "posterior_fisher": None}] * 2
