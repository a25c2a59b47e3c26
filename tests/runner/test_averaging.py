"""Averages of weights against sums written out, and trainings that keep them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.runs import only_run, small_run
from tests.stopped import same_bits
from vaebench.runner.averaging import AveragedAdam, weights_to_keep
from vaebench.runner.optimizers import adam, adam_averaged

DECAY, NUM = 0.8, 5
OPTIONS = {"lr": 0.1, "betas": (0.9, 0.999)}
SETTINGS = ["training/optimizer=adam_averaged", "training.optimizer.decay=0.9"]


def weights_of_steps(decay: float) -> tuple[nn.Parameter, torch.optim.Optimizer, Tensor]:
    """A parabola's minimum sought in NUM steps; the weights after each, `[NUM, 3]`."""
    weights = nn.Parameter(torch.tensor([1.0, -2.0, 5.0]))
    unused = nn.Parameter(torch.ones(2))
    optimizer = adam_averaged([weights, unused], decay=decay, **OPTIONS)  # type: ignore[arg-type]
    path = []
    for _ in range(NUM):
        optimizer.zero_grad(set_to_none=True)
        weights.square().sum().backward()
        optimizer.step()
        path.append(weights.detach().clone())
    return weights, optimizer, torch.stack(path)


@pytest.mark.parametrize("decay", [DECAY, 0.0])
def test_the_average_counts_each_step_the_decay_times_as_much_as_the_next(decay: float) -> None:
    weights, optimizer, path = weights_of_steps(decay)
    share = torch.tensor([decay ** (NUM - 1 - i) for i in range(NUM)])
    with weights_to_keep(optimizer):
        torch.testing.assert_close(weights.detach(), (share[:, None] * path).sum(0) / share.sum())
    assert torch.equal(weights, path[-1])


def test_the_weights_come_back_after_an_error_and_move_as_adams() -> None:
    weights, optimizer, path = weights_of_steps(DECAY)
    with pytest.raises(ZeroDivisionError), weights_to_keep(optimizer):
        math.ceil(1 / 0)
    assert torch.equal(weights, path[-1])
    plain = nn.Parameter(torch.tensor([1.0, -2.0, 5.0]))
    moves = adam([plain], weight_decay=0, **OPTIONS)  # type: ignore[arg-type]
    for _ in range(NUM):
        moves.zero_grad()
        plain.square().sum().backward()
        moves.step()
    assert torch.equal(plain, weights)
    with weights_to_keep(moves):
        assert torch.equal(plain, weights)


def test_a_stored_optimiser_goes_on_averaging_with_the_same_bits() -> None:
    weights, optimizer, _ = weights_of_steps(DECAY)
    copy, unused = nn.Parameter(weights.detach().clone()), nn.Parameter(torch.ones(2))
    other = AveragedAdam([copy, unused], decay=0.1, lr=3.0)
    other.load_state_dict(optimizer.state_dict())
    for each, moves in ((weights, optimizer), (copy, other)):
        each.grad = torch.ones(3)
        moves.step()
    with weights_to_keep(optimizer), weights_to_keep(other):
        assert torch.equal(weights, copy)


def test_a_training_judges_and_keeps_the_averages_and_goes_on_from_the_weights(tmp_path: Path) -> None:
    small_run(tmp_path, "training.epochs=1", *SETTINGS)
    run = only_run(tmp_path)
    state = torch.load(max(run.glob("checkpoints/step-*.pt")), weights_only=True)
    averages = [moments["average"] for moments in state["optimizer"]["state"].values()]
    kept = state["best_model"].values()
    assert len(averages) == len(kept)
    assert all(torch.equal(a, b) for a, b in zip(averages, kept, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(averages, state["model"].values(), strict=True))
    best = torch.load(run / "checkpoints/best.pt", weights_only=True)["model"]
    assert same_bits(best, state["best_model"])
