"""Mutual information in the lines of the epochs: what it is, and that it changes nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.runs import only_run, small_config, small_run, without_seconds
from vaebench.data.spec import Split
from vaebench.errors import UserError
from vaebench.evaluation import validation
from vaebench.evaluation.information import mutual_information
from vaebench.evaluation.validation import validate
from vaebench.runner.prepare import prepare
from vaebench.runner.results_files import Metrics
from vaebench.testing import LinearGaussian

TOY = LinearGaussian.make(gains=(1.5, 0.8))
NAMES = {"mi_lower", "mi_upper", "mi_cap"}


def test_it_is_that_of_the_first_data_by_the_double_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 20 and tiles of 7 fit neither the 50 data nor the 200."""
    monkeypatch.setattr(validation, "BATCH", 20)
    monkeypatch.setattr(mutual_information, "TILE", 7)
    model, x = TOY.model(), TOY.sample(200)
    seen = []
    terms = model.terms
    monkeypatch.setattr(model, "terms", lambda x: seen.append(terms(x)) or seen[-1])
    found = validate(model, Split(x, None), 0, track_information=50)
    z = torch.cat([part.z[0] for part in seen])[:50].double()
    mean, std = (
        torch.cat([getattr(part.q, name) for part in seen])[:50].double() for name in ("mean", "std")
    )
    log_q = torch.distributions.Normal(mean, std).log_prob(z[:, None]).sum(-1)  # [i, j]
    own = log_q.diagonal()
    lower = float((own - log_q.exp().mean(1).log()).mean())
    others = log_q.exp().fill_diagonal_(0).sum(1) / 49
    assert found["mi_lower"] == pytest.approx(lower, rel=1e-5)
    assert found["mi_upper"] == pytest.approx(float((own - others.log()).mean()), rel=1e-5)
    assert found["mi_cap"] == pytest.approx(math.log(50))


@pytest.mark.parametrize("num", [50, 200, 10_000])
def test_it_brackets_the_truth_and_all_else_is_the_same(num: int) -> None:
    model, split = TOY.model(), Split(TOY.sample(200), None)
    state = torch.get_rng_state()
    plain, tracked = validate(model, split, 0), validate(model, split, 0, num)
    assert torch.equal(torch.get_rng_state(), state)
    assert tracked.keys() - plain.keys() == NAMES
    assert {name: tracked[name] for name in plain} == plain
    assert tracked["mi_cap"] == pytest.approx(math.log(min(num, 200)))
    assert tracked["mi_lower"] - 0.3 < TOY.mutual_information < tracked["mi_upper"] + 0.3


def test_a_run_with_it_is_the_same_run_with_the_same_bits(tmp_path: Path) -> None:
    outputs = {"off": (), "on": ("runtime.track_information=100",)}
    results = {name: small_run(tmp_path / name, *words) for name, words in outputs.items()}
    assert without_seconds(results["on"]) == without_seconds(results["off"])
    off, on = (Metrics(only_run(tmp_path / name) / "metrics.jsonl").read() for name in outputs)
    assert all(line["valid"].keys() >= NAMES for line in on)
    for line in on:
        for name in NAMES:
            del line["valid"][name]
    assert without_seconds(on) == without_seconds(off)


def test_a_posterior_whose_density_elsewhere_is_unknown_is_refused_before_data(tmp_path: Path) -> None:
    config = small_config(tmp_path, "model=iaf_vae", "runtime.track_information=100", families=True)
    with pytest.raises(UserError, match=r"runtime\.track_information = 100: needs .* iaf_vae lacks"):
        prepare(config)
