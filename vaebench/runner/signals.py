"""Ctrl-C, SIGTERM and preemption become a request to stop at the next step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

# USR2 is submitit's and SLURM's warning of a time limit.
STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2]


class Interrupted(SystemExit):
    """The run stopped on a signal after it saved its state; exits with 128 + signal, as shells expect.

    Not an Exception: a sweep that is interrupted does not go on to its next job.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.signal_name = signal.Signals(signum).name

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """As a sweep's worker process hands it to the sweep."""
        return Interrupted, (self.signum,)


class StopRequest:
    """A context in which stopping signals set a flag; a second one acts at once, as without us."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[signal.Signals, object] = {}

    def check(self) -> bool:
        """Whether a stop was requested."""
        return self._signum is not None

    def raise_if_requested(self) -> None:
        if self._signum is not None:
            raise Interrupted(self._signum)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        launcher = self._previous.get(signal.SIGUSR2)
        if isinstance(error, Interrupted) and error.signum == signal.SIGUSR2 and callable(launcher):
            launcher(signal.SIGUSR2, None)  # its own requeueing, which ends the process: now all is saved
