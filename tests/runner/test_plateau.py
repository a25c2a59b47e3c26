"""The plateau rule by hand, and that it ends a training; `test_resume.py` stops such a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.runs import only_run, read, small_config
from tests.sentences import write_corpus
from vaebench.runner.experiment import run
from vaebench.runner.optimizers import sgd
from vaebench.runner.schedules import Plateau, SeesValidation, constant, cosine, plateau


def plateau_of(lr: float = 1.0, first_epoch: int = 3) -> tuple[torch.optim.Optimizer, Plateau]:
    optimizer = sgd([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.0)
    schedule = plateau(optimizer, 100, first_epoch=first_epoch, factor=0.5, min_lr=0.03)
    assert isinstance(schedule, Plateau)
    return optimizer, schedule


def rates(values: list[float], first_epoch: int = 3) -> tuple[list[float], list[str]]:
    optimizer, schedule = plateau_of(first_epoch=first_epoch)
    found, reasons = [], []
    for value in values:
        for _ in range(4):
            optimizer.step()
            schedule.step()
        reasons.append(schedule.see(value))
        found.append(optimizer.param_groups[0]["lr"])
    return found, reasons


def test_the_rate_falls_from_the_first_bad_epoch_on_and_never_stops_to() -> None:
    assert rates([-5, -6, -4, -3, -3.5, -2, -1])[0] == [1, 1, 1, 1, 0.5, 0.25, 0.125]


def test_a_bad_epoch_before_the_first_that_counts_does_not() -> None:
    assert rates([-5, -6, -4, -3])[0] == [1, 1, 1, 1]
    assert rates([-5, -4, -5, -3])[0] == [1, 1, 0.5, 0.25]  # the first that counts
    assert rates([-5, -4, -4.5, -4.2], first_epoch=4)[0] == [1, 1, 1, 0.5]  # not the best so far


def test_an_equal_value_is_no_better_and_training_ends_below_the_least_rate() -> None:
    found, reasons = rates([-5] * 8)
    assert found[2:] == [0.5**n for n in range(1, 7)]
    assert reasons == [""] * 7 + ["learning rate below 0.03"]  # 0.03125 goes on, 0.015625 does not


def test_its_state_is_all_it_needs() -> None:
    optimizer, schedule = plateau_of()
    for value in (-5.0, -6.0, -5.5):
        schedule.see(value)
    other_optimizer, other = plateau_of()
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(schedule.state_dict())
    for value in (-1.0, -7.0):
        assert other.see(value) == schedule.see(value)
        assert other_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert other_optimizer.param_groups[0]["lr"] == 0.125


def test_other_schedules_do_not_look() -> None:
    optimizer, schedule = plateau_of()
    assert isinstance(schedule, SeesValidation)
    assert not isinstance(constant(optimizer, 10), SeesValidation)
    assert not isinstance(cosine(optimizer, 10, final=0.1), SeesValidation)


def test_sgd_with_and_without_momentum_by_hand() -> None:
    for momentum, expected in ((0.0, 1 - 0.1 * (2 + 3)), (0.5, 1 - 0.1 * (2 + (3 + 0.5 * 2)))):
        parameter = nn.Parameter(torch.ones(1))
        optimizer = sgd([parameter], lr=0.1, momentum=momentum)
        for gradient in (2.0, 3.0):
            parameter.grad = torch.tensor([gradient])
            optimizer.step()
        assert parameter.item() == pytest.approx(expected)


def config_of(tmp_path: Path, outputs: str, *more: str) -> Any:
    """Some epochs of a small LSTM VAE with the rule, which from the second epoch on halves the rate."""
    return small_config(
        tmp_path / outputs,
        "model=skip_lstm_vae",
        "model.latent_dim=3",
        *(f"model.{part}.{size}=6" for part in ("encoder", "decoder") for size in ("embedding", "hidden")),
        "dataset=text",
        f"dataset.folder={write_corpus(tmp_path / 'corpus')}",
        "dataset.max_words=8",
        "training.epochs=9",
        "training.batch_size=4",
        "training.clip_grad_norm=5",
        "training/optimizer=sgd",
        "training/schedule=plateau",
        "training.schedule.first_epoch=2",
        "training.schedule.min_lr=2",
        "training.optimizer.lr=3",
        "evaluation=text",
        "evaluation.nll.num_samples=3",
        "evaluation.sentences.num=2",
        *("runtime.device=cpu", "runtime.threads=1", "runtime.progress=never"),
        *more,
        families=True,
    )


@pytest.mark.slow
def test_the_rule_ends_a_training_and_says_so(tmp_path: Path) -> None:
    results = run(config_of(tmp_path, "out", "training.epochs=60"))
    assert all(entry["status"] == "complete" for entry in results["evaluations"])
    training = results["training"]
    assert training["epochs"] < 60
    assert training["stopped"] == "learning rate below 2"
    lines = (only_run(tmp_path / "out") / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == training["epochs"]
    assert read(only_run(tmp_path / "out"), "status.json")["state"] == "complete"
