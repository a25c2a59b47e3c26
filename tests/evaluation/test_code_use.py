"""Figures 5 and 6 of Zhao et al. at the smallest size: no KL, samples by the chain, and an interruption."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs import only_run, small_config, without_seconds
from vaebench.evaluation import partial_results as scratch
from vaebench.evaluation.samples.markov_chain import MarkovChain
from vaebench.runner.experiment import run
from vaebench.runner.signals import Interrupted

SMALL = [
    "model/objective=unregularized", "training.steps=3", "training.batch_size=50", "evaluation=code_use",
    "evaluation.bound.num_samples=1", "evaluation.chain.num_chains=5", "evaluation.chain.num_steps=2",
    "evaluation.chain.num_data=20", "evaluation.chain.num_train=100", "evaluation.reconstructions.num=2",
    "runtime.track_information=100", "runtime.device=cpu", "runtime.threads=1", "runtime.progress=never",
]  # fmt: skip
FAMILIES = {
    "conditional_pixelcnn_vae": ["model.decoder.depth=2", "model.decoder.channels=4"],
    "pixelcnnpp_vae": ["model.decoder.resnets=1", "model.decoder.resolutions=2", "model.decoder.channels=4"],
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_unregularised_model_is_measured_and_its_interrupted_chain_goes_on(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SAVE_SECONDS", -1.0)

    def config(name: str) -> Any:
        return small_config(tmp_path / name, f"model={family}", *SMALL, *FAMILIES[family], families=True)

    expected = run(config("whole"))
    assert {entry["status"] for entry in expected["evaluations"]} == {"complete"}
    assert "best_valid_reconstruction" in expected["training"]
    whole = only_run(tmp_path / "whole")
    assert (whole / "figures/information_curves.png").exists()
    with np.load(whole / "arrays/information_curves.npz") as curves:
        assert {"mi_lower", "mi_cap"} <= curves.keys()

    real_step, steps, stopped = MarkovChain._step, [], []

    def step_with_a_signal(chain: MarkovChain, *given: Any) -> Any:
        if given[-2:] == ("data", 2) and not stopped:
            stopped.append(signal.raise_signal(signal.SIGTERM))
        drawn = real_step(chain, *given)  # which is between chunks, at the first, where it sees the signal
        steps.append(given[-2:])
        return drawn

    monkeypatch.setattr(MarkovChain, "_step", step_with_a_signal)
    with pytest.raises(Interrupted):
        run(config("stopped"))
    assert without_seconds(run(config("stopped"))) == without_seconds(expected)
    assert steps == [(start, step) for start in ("noise", "data") for step in (1, 2)]  # none twice
