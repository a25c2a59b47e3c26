"""Trainings that a signal stops, and what they and unstopped ones end with; evaluations that are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vaebench.runner import loop
from vaebench.runner.checkpoint import State


@contextmanager
def signal_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, SIGTERM comes during the training step with this number, from 0."""
    real_epoch = loop.run_epoch

    def epoch_with_a_signal(training: loop.Training, bar: Any) -> None:
        real_step = training.step

        def one_step(x: Any, finished: Any) -> Any:
            if training.progress.step == step:
                signal.raise_signal(signal.SIGTERM)
            return real_step(x, finished)

        training.step = one_step
        real_epoch(training, bar)
        training.step = real_step

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", epoch_with_a_signal)
        yield


def last_checkpoint(run: Path) -> State:
    """Return the newest state of a run, without its time."""
    state = torch.load(max(run.glob("checkpoints/step-*.pt")), weights_only=True)
    state["progress"].pop("seconds")
    return state


class Stopped(BaseException):
    """As `Interrupted` is: no evaluation may catch it."""


def stopping_after(num: int) -> Callable[[], None]:
    """A `Context.check_stop` that answers `num` times, and then stops."""
    left = iter(range(num))

    def check() -> None:
        if next(left, None) is None:
            raise Stopped

    return check


def same_bits(a: Any, b: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same_bits, a, b))
    return bool(a == b)
