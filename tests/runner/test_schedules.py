"""Learning rates after so many steps, and after a resumption."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from vaebench.runner.schedules import cosine, exponential


def make() -> tuple[torch.optim.Optimizer, LRScheduler]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    return optimizer, exponential(optimizer, 100, factor=0.9)


def rates(optimizer: torch.optim.Optimizer, schedule: LRScheduler, num: int) -> list[float]:
    """Of the next `num` steps."""
    found = []
    for _ in range(num):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_an_exponential_schedule_multiplies_the_rate_at_each_step_and_resumes() -> None:
    expected = rates(*make(), 6)
    assert expected == pytest.approx([0.5 * 0.9**step for step in range(6)])
    first, again = make(), make()
    assert rates(*first, 4) == expected[:4]
    for new, old in zip(again, first, strict=True):
        new.load_state_dict(old.state_dict())
    assert rates(*again, 2) == expected[4:]


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_default_schedule_falls_along_half_a_cosine_over_all_steps(final: float) -> None:
    optimizer, _ = make()
    optimizer.param_groups[0]["lr"] = 0.5
    found = rates(optimizer, cosine(optimizer, 100, final=final), 101)
    expected = [0.5 * (final + (1 - final) * (1 + math.cos(math.pi * step / 100)) / 2) for step in range(101)]
    assert found == pytest.approx(expected)
    assert (found[0], found[50], found[100]) == pytest.approx((0.5, 0.25 * (1 + final), 0.5 * final))
