"""A stopping signal is a request, answered once everything is saved."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator

import pytest

from vaebench.runner.signals import Interrupted, StopRequest


@pytest.fixture
def calls() -> Iterator[list[int]]:
    """The times at which a launcher's own handler of USR2 was called."""
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGUSR2, before)


def test_the_launcher_requeues_after_the_run_has_saved_its_state(calls: list[int]) -> None:
    with pytest.raises(Interrupted) as caught, StopRequest() as stop:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.check()
        assert calls == []
        stop.raise_if_requested()
    assert calls == [signal.SIGUSR2]
    assert caught.value.signal_name == "SIGUSR2"


def test_a_run_that_ended_all_the_same_is_not_requeued(calls: list[int]) -> None:
    with StopRequest():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert calls == []


def test_the_second_signal_acts_at_once(calls: list[int]) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.check()
        assert calls == [signal.SIGUSR2]


def test_it_comes_back_from_a_worker_of_a_sweep() -> None:
    back = pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM)))
    assert isinstance(back, Interrupted)
    assert (back.code, back.signal_name) == (143, "SIGTERM")
