"""A run as a value: same command, same place; finished work is not done again, unfinished work goes on."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.runs import only_run, read, small_config, small_run, without_seconds
from tests.stopped import signal_at
from vaebench.data.digits import Digits
from vaebench.data.spec import Splits
from vaebench.errors import UserError
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.runner import experiment
from vaebench.runner import prepare as prepare_module
from vaebench.runner.experiment import RunFailedError
from vaebench.runner.meter import NotFiniteError
from vaebench.runner.prepare import prepare
from vaebench.runner.signals import Interrupted


def test_run_directory_holds_config_provenance_metrics_results_and_status(tmp_path: Path) -> None:
    results = small_run(tmp_path)
    run = only_run(tmp_path)
    assert read(run, "results.json") == results
    assert results["schema_version"] == 1
    name = {"dataset": "digits", "model": "vae", "hash": run.parts[-3], "seed": 0, "version": "v0"}
    assert results["run"] == name | {"tier": "full"}
    assert results["training"]["epochs"] == 3
    assert [entry["name"] for entry in results["evaluations"]] == ["bound", "nll"]
    assert all(entry["status"] == "complete" for entry in results["evaluations"])
    assert read(run, "status.json")["state"] == "complete"
    (attempt,) = read(run, "provenance.json")
    assert {"time", "command", "git", "packages", "python", "hardware"} <= attempt.keys()
    assert attempt["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert attempt["hardware"]["evaluation_matmul_precision"] == "highest"
    assert all(entry["matmul_precision"] == "highest" for entry in results["evaluations"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "best.pt", "index.json", "step-00000036.pt",
    ]  # fmt: skip


def test_finished_run_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small_run(tmp_path)
    monkeypatch.setattr(experiment, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(experiment, "evaluate", lambda *_: pytest.fail("evaluated again"))
    assert small_run(tmp_path) == first
    assert len(read(only_run(tmp_path), "provenance.json")) == 1


def test_runtime_and_tracker_do_not_move_a_run_but_the_model_does(tmp_path: Path) -> None:
    small_run(tmp_path)
    small_run(tmp_path, "runtime.checkpoint_seconds=5", "runtime.eval_batch_mib=4")
    assert len(list(tmp_path.glob("*/*/*/seed0/v0"))) == 1
    small_run(tmp_path, "model.latent_dim=3")
    assert len(list(tmp_path.glob("*/*/*/seed0/v0"))) == 2


def test_fresh_starts_the_next_version_and_leaves_the_old_one(tmp_path: Path) -> None:
    first = small_run(tmp_path)
    second = small_run(tmp_path, "fresh=true")
    assert [second["run"].pop("version"), first["run"].pop("version")] == ["v1", "v0"]
    assert without_seconds(second) == without_seconds(first)
    assert small_run(tmp_path)["run"]["version"] == "v1"


def test_changed_suite_runs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small_run(tmp_path)
    monkeypatch.setattr(EvidenceLowerBound, "run", lambda *_: pytest.fail("measured again"))
    after = small_run(tmp_path, "evaluation.nll.num_samples=40")
    assert [entry["settings"]["num_samples"] for entry in after["evaluations"]] == [10, 20, 40]
    assert all(entry in after["evaluations"] for entry in before["evaluations"])


def test_a_quick_look_leaves_the_files_of_a_fuller_measurement(tmp_path: Path) -> None:
    small_run(tmp_path)
    folder, name = only_run(tmp_path), "arrays/kl_per_unit.npz"
    before = (folder / name).read_bytes()
    entries = small_run(tmp_path, "evaluation.bound.num_samples=3")["evaluations"]
    full, quick = [entry["files"] for entry in entries if entry["name"] == "bound"]
    assert full == {name: name, "arrays/bound_10.npz": "arrays/bound_10.npz"}
    assert quick["arrays/bound_3.npz"] == "arrays/bound_3.npz"
    assert quick[name] != name
    assert (folder / name).read_bytes() == before
    assert (folder / quick[name]).is_file()


def test_a_newer_version_overwrites_the_files_whose_numbers_it_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path)
    monkeypatch.setattr(EvidenceLowerBound, "version", 2)
    bound, _ = small_run(tmp_path, "evaluation.bound.num_samples=3")["evaluations"]
    assert bound["files"]["arrays/kl_per_unit.npz"] == "arrays/kl_per_unit.npz"


@pytest.mark.slow
def test_newer_evaluator_version_replaces_the_older_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path)
    monkeypatch.setattr(ImportanceSampledNLL, "version", 2)
    after = small_run(tmp_path)
    assert [(entry["name"], entry["version"]) for entry in after["evaluations"]] == [("bound", 1), ("nll", 2)]
    # With other settings, too: what a later version mends was wrong with any.
    monkeypatch.setattr(ImportanceSampledNLL, "version", 3)
    after = small_run(tmp_path, "evaluation.nll.num_samples=3")
    assert [(entry["name"], entry["version"]) for entry in after["evaluations"]] == [("bound", 1), ("nll", 3)]


def test_other_data_under_the_same_name_are_refused_in_training_and_in_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Digits.load

    def other(dataset: Digits) -> Splits:
        splits = load(dataset)
        return replace(splits, origin=splits.origin | {"test_hash": "0" * 16})

    with signal_at(12, monkeypatch), pytest.raises(Interrupted):
        small_run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Digits, "load", other)
        with pytest.raises(UserError, match=r"test_hash was \w{16} and is now 0{16}\..*fresh=true"):
            small_run(tmp_path)
    small_run(tmp_path)
    monkeypatch.setattr(Digits, "load", other)
    small_run(tmp_path)  # complete: no data are read
    with pytest.raises(UserError, match="differ from those that"):
        small_run(tmp_path, "evaluation.nll.num_samples=3")


def test_failing_evaluator_is_recorded_and_the_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(EvidenceLowerBound, "run", broken)
        with pytest.raises(RunFailedError, match="bound"):
            small_run(tmp_path)
    run = only_run(tmp_path)
    bound, nll = read(run, "results.json")["evaluations"]
    assert (bound["status"], nll["status"]) == ("failed", "complete")
    assert "ZeroDivisionError: planted" in bound["traceback"]
    assert "ZeroDivisionError: planted" in (run / "run.log").read_text()
    assert read(run, "status.json")["state"] == "failed"
    assert small_run(tmp_path)["evaluations"][0]["status"] == "complete"  # the same command mends it
    assert read(run, "status.json")["state"] == "complete"


def test_training_that_is_stopped_by_a_signal_goes_on_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small_run(tmp_path / "whole")
    with signal_at(12, monkeypatch), pytest.raises(Interrupted) as stopped:
        small_run(tmp_path / "stopped")
    assert stopped.value.code == 128 + signal.SIGTERM
    run = only_run(tmp_path / "stopped")
    assert read(run, "status.json")["state"] == "interrupted"
    assert (run / "checkpoints/step-00000013.pt").exists()  # in the middle of the second epoch
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert without_seconds(small_run(tmp_path / "stopped")) == without_seconds(expected)


def test_not_finite_loss_stops_with_step_and_quantity(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"(loss|elbo|reconstruction|kl) was not finite at step \d+"):
        small_run(tmp_path, "training.optimizer.lr=1e12", "training.schedule.final=1")
    assert read(only_run(tmp_path), "status.json")["state"] == "failed"


def test_collapse_is_said_while_it_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small_run(tmp_path, "model.objective.beta=50")
    assert "collapse?" in caplog.text


def test_early_stopping_waits_for_patience_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    facts = small_run(
        tmp_path, "training.patience=2", "training.epochs=60", "training.optimizer.lr=0.1"
    )["training"]  # fmt: skip
    assert facts["stopped"] == "no better validation elbo for 2 epochs"
    assert facts["epochs"] == facts["best_epoch"] + 2
    lines = [
        line["valid"]["elbo"] for line in experiment.Metrics(only_run(tmp_path) / "metrics.jsonl").read()
    ]
    assert max(lines) == lines[facts["best_epoch"] - 1] == facts["best_valid_elbo"]


def test_patience_does_not_run_during_the_warm_up(tmp_path: Path) -> None:
    overrides = ["training.patience=1", "training.epochs=6", "training.optimizer.lr=1e-12"]
    stopped = small_run(tmp_path / "a", *overrides, "training.schedule.final=1")["training"]
    warm = small_run(
        tmp_path / "b", *overrides, "training.schedule.final=1", "model.objective.warmup_epochs=4"
    )["training"]  # fmt: skip
    assert warm["epochs"] > 4 >= stopped["epochs"]


def test_steps_override_epochs(tmp_path: Path) -> None:
    facts = small_run(tmp_path, "training.steps=17")["training"]
    assert (facts["steps"], facts["epochs"]) == (17, 2)


def test_tensorboard_gets_the_numbers_of_every_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small_run(tmp_path, "tracker=tensorboard")
    events = EventAccumulator(str(only_run(tmp_path) / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("valid/elbo")] == [12, 24, 36]


def test_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"runtime\.device = 'cuda'.*auto, cpu"):
        small_run(tmp_path, "runtime.device=cuda")


@pytest.mark.parametrize("name", ["status.json", "results.json", "config.yaml"])
def test_damaged_file_of_a_run_is_named(tmp_path: Path, name: str) -> None:
    small_run(tmp_path)
    path = only_run(tmp_path) / name
    path.write_text("{half a file")
    with pytest.raises(UserError, match=r"is damaged|belongs to another config") as error:
        small_run(tmp_path)
    assert str(path if name.endswith("json") else path.parent) in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epochs", "tier", "told"), [(3, "full", True), (3, "smoke", False), (2, "full", False)]
)
def test_a_training_that_ends_within_its_warm_up_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, epochs: int, tier: str, told: bool
) -> None:
    words = [f"model.objective.warmup_epochs={epochs}", f"tier={tier}", "training.steps=null"]
    small_run(tmp_path, *words, "training.epochs=3")
    assert ("not later than the KL warm-up" in caplog.text) == told


def test_a_second_interrupt_which_waits_for_no_step_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "fit", at_once)
    with pytest.raises(KeyboardInterrupt):
        small_run(tmp_path)
    assert read(only_run(tmp_path), "status.json")["state"] == "interrupted"
    monkeypatch.undo()
    small_run(tmp_path)
    assert read(only_run(tmp_path), "status.json")["state"] == "complete"


def test_a_stand_in_for_the_data_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is part of the hash, and of what config.yaml records."""
    usual = prepare(small_config(tmp_path))
    stand_in = replace(usual.dataset.spec, name="digits_seeded")
    monkeypatch.setattr(prepare_module, "build_dataset", lambda _: SimpleNamespace(spec=stand_in))
    moved = prepare(small_config(tmp_path))
    assert moved.config["dataset"]["name"] == moved.rundir.path.parts[-5] == "digits_seeded"
    assert moved.rundir.path.parts[-3] != usual.rundir.path.parts[-3]
    assert usual.config["dataset"]["name"] == "digits"
