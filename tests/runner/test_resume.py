"""A stopped training resumes with the same bits, for every part that has state or randomness of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runs import only_run, read, small_config, tiny, without_seconds
from tests.sentences import write_corpus
from tests.stopped import last_checkpoint, same_bits, signal_at
from vaebench.models.latent import LatentModel
from vaebench.runner.checkpoint import State
from vaebench.runner.experiment import run
from vaebench.runner.results_files import Metrics
from vaebench.runner.signals import Interrupted

SHORT = [
    "training.batch_size=400", "training.epochs=2", "evaluation=none", "runtime.device=cpu",
    "runtime.threads=1", "runtime.progress=never",
]  # fmt: skip
PLATEAU = [
    *tiny("skip_lstm_vae"), "dataset=text", "dataset.folder={corpus}", "dataset.max_words=8",
    "training.epochs=9", "training.batch_size=4", "training.clip_grad_norm=5", "training/optimizer=sgd",
    "training.optimizer.lr=3", "training/schedule=plateau", "training.schedule.first_epoch=2",
    "training.schedule.min_lr=0",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    words: list[str]
    step: int = 4
    """The signal comes during this step, from 0; three are an epoch of the digits."""
    holds: Callable[[State], bool] = lambda state: True
    """Whether the checkpoint that the signal leaves has the state which the case is about."""


def rate_fell(state: State) -> bool:
    return state["optimizer"]["param_groups"][0]["lr"] < 3 and state["progress"]["batch"] > 1


def svi(gradient: str) -> Case:
    posterior = ["model/posterior=svi", "model.posterior.num_steps=3", f"model.posterior.gradient={gradient}"]
    return Case([*tiny("vae"), *posterior])


CASES = {
    "mae: a network with an optimizer, in the objective": Case(
        tiny("mae"),
        holds=lambda state: (
            any(key.startswith("inverse.network") for key in state["objective"])
            and bool(state["auxiliary_optimizer"]["state"])
        ),
    ),
    "averaged weights": Case(
        [*tiny("vae"), "training/optimizer=adam_averaged", "training.optimizer.decay=0.9"],
        holds=lambda state: all("average" in moments for moments in state["optimizer"]["state"].values()),
    ),
    "sequential, with noise on its inputs": Case([*tiny("sequential_vae"), "model.denoising=true"]),
    "svi, unrolled": svi("unrolled"),
    "svi, finite differences": svi("finite_difference"),
    "svi, first order": svi("first_order"),
    "weights that start from data, dropout": Case(
        [*tiny("pixelcnnpp_vae"), "model/encoder=mlp", "training.batch_size=20", "training.steps=4"],
        step=0,
    ),
    "plateau, batches of one length": Case([*PLATEAU, "dataset.batches=equal"], 45, rate_fell),
    "plateau, padded batches": Case([*PLATEAU, "dataset.batches=padded"], 45, rate_fell),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_stopped_training_resumes_with_the_same_bits(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    words = [*SHORT, *(word.format(corpus=corpus) for word in case.words)]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(small_config(whole, *words, families=True))
    with signal_at(case.step, monkeypatch), pytest.raises(Interrupted):
        run(small_config(stopped, *words, families=True))
    state = last_checkpoint(only_run(stopped))
    assert state["progress"]["step"] == case.step + 1
    assert not state["progress"]["stopped"]
    assert case.holds(state)
    monkeypatch.setattr(LatentModel, "init_from_data", lambda *_: pytest.fail("started again"))
    run(small_config(stopped, *words, families=True))
    one, other = only_run(whole), only_run(stopped)
    assert same_bits(last_checkpoint(one), last_checkpoint(other))
    lines, others = (Metrics(path / "metrics.jsonl").read() for path in (one, other))
    assert lines
    assert without_seconds(lines) == without_seconds(others)
    assert without_seconds(read(one, "results.json")) == without_seconds(read(other, "results.json"))
