"""The objective without a KL: its gradient, what it logs, and by which number its weights are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.config.helpers import CONF, config_of
from tests.runs import only_run, small_run
from vaebench.objectives.base import Objective
from vaebench.objectives.elbo import ELBO
from vaebench.objectives.unregularized import Unregularized
from vaebench.runner.checkpoint import Checkpoints
from vaebench.runner.results_files import Metrics
from vaebench.testing import LinearGaussian, OpaquePosterior, latent_model, toy_spec

STEP = torch.zeros((), dtype=torch.int64)


def gradients(objective: Objective, model: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the loss, under the same draws at each call."""
    torch.manual_seed(0)
    model.zero_grad()
    objective(model.terms(x, objective.num_samples), STEP, model).total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_is_that_of_the_elbo_less_the_kls() -> None:
    torch.manual_seed(0)
    model = latent_model(toy_spec((6,)), 3, depth=1)
    x = torch.rand(40, 6).round()
    ours = gradients(Unregularized(10, model, num_samples=2), model, x)
    full = gradients(ELBO(10, model, beta=1.0, warmup_epochs=0, free_bits=0, num_samples=2), model, x)
    model.zero_grad()
    model.terms(x).kl_per_datum.mean().backward()
    of_kl = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert of_kl["posterior.mean.weight"].abs().max() > 1e-3
    for name, gradient in full.items():
        torch.testing.assert_close(ours[name], gradient - of_kl.get(name, 0))


@pytest.mark.parametrize("opaque", [False, True], ids=["closed form", "Monte Carlo"])
def test_kl_and_elbo_are_logged_all_the_same(opaque: bool) -> None:
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    model = toy.model(shift=1.0, **({"posterior": OpaquePosterior} if opaque else {}))
    terms = model.terms(toy.sample(50), 3)
    loss = Unregularized(10, model, num_samples=3)(terms, STEP, model)
    assert loss.parts.keys() == {"elbo", "reconstruction", "kl"}
    torch.testing.assert_close(loss.total, -terms.log_px_z.mean())
    torch.testing.assert_close(loss.parts["reconstruction"], -loss.total)
    torch.testing.assert_close(loss.parts["kl"], terms.kl_per_datum.mean())
    torch.testing.assert_close(loss.parts["elbo"], -loss.total - loss.parts["kl"])


OVERRIDES = ["model/objective=unregularized", "training.optimizer.lr=0.02", "training.batch_size=400"]


@pytest.mark.slow
def test_its_best_weights_and_its_patience_go_by_the_reconstruction(tmp_path: Path) -> None:
    facts = small_run(tmp_path, *OVERRIDES, "training.epochs=12")["training"]
    lines = [line["valid"] for line in Metrics(only_run(tmp_path) / "metrics.jsonl").read()]
    by_elbo = max(range(len(lines)), key=lambda epoch: lines[epoch]["elbo"]) + 1
    by_reconstruction = max(range(len(lines)), key=lambda epoch: lines[epoch]["reconstruction"]) + 1
    assert by_elbo < by_reconstruction - 2  # else this test tells nothing
    assert facts["best_epoch"] == by_reconstruction
    assert facts["best_valid_reconstruction"] == lines[by_reconstruction - 1]["reconstruction"]
    assert "best_valid_elbo" not in facts
    # It learned on while the ELBO was getting worse, for longer than this patience.
    patient = small_run(
        tmp_path / "patient", *OVERRIDES, "training.epochs=12", "training.patience=2"
    )["training"]  # fmt: skip
    assert patient["epochs"] > by_elbo + 2


def test_a_checkpoint_from_before_there_was_a_criterion_still_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small_run(tmp_path)["training"]
    state = Checkpoints(only_run(tmp_path) / "checkpoints").latest()
    assert state is not None
    state["progress"]["best_elbo"] = state["progress"].pop("best_value")
    monkeypatch.setattr(Checkpoints, "best", lambda _: None)
    monkeypatch.setattr(Checkpoints, "latest", lambda _: state)
    again = small_run(tmp_path, "evaluation.nll.num_samples=30")["training"]
    assert {"best_valid_elbo", "best_epoch"} <= first.keys()
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


FAMILIES = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_sets_nothing_that_another_objective_posterior_or_prior_would_lack(family: str) -> None:
    """What a family wants of them is an option file of its own, so that each is one switch."""
    own = yaml.safe_load((CONF / "model" / f"{family}.yaml").read_text())
    assert not {"objective", "posterior", "prior"} & own.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "objective"),
    [
        *((family, "unregularized") for family in ("pixel_vae", "fae", "lstm_vae", "sequential_vae")),
        ("fae", "infovae"),
        ("sequential_vae", "elbo"),
    ],
)
def test_the_objective_is_one_switch_for_any_family(family: str, objective: str) -> None:
    chosen = config_of(f"model={family}", f"model/objective={objective}")["model"]["objective"]
    plain = config_of(f"model/objective={objective}")["model"]["objective"]
    assert chosen == plain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "posterior"),
    [("vamp_vae", "iaf"), ("fae", "diagonal"), ("sa_lstm_vae", "sigmoid"), ("iaf_vae", "diagonal")],
)
def test_and_so_is_the_posterior(family: str, posterior: str) -> None:
    chosen = config_of(f"model={family}", f"model/posterior={posterior}")["model"]["posterior"]
    assert chosen == config_of(f"model/posterior={posterior}")["model"]["posterior"]
