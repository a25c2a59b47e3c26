"""Signals: Ctrl-C, SIGTERM and preemption request a stop after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

# submitit and SLURM send USR2 before a time limit.
STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2]


class Interrupted(SystemExit):
    """Stop of a run on a signal, after it saved its state; exits with 128 + signal, as shells expect.

    It is not an Exception, so that an interrupted sweep does not start its next job.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.signal_name = signal.Signals(signum).name

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """Return what pickle needs: a worker process of a sweep passes this exception to the sweep."""
        return Interrupted, (self.signum,)


class StopRequest:
    """Context within which a stopping signal sets a flag; a second signal has its default effect at once."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[signal.Signals, object] = {}

    def check(self) -> bool:
        """Return True if a stop was requested."""
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
            launcher(signal.SIGUSR2, None)  # the launcher requeues and ends the process; all is saved by now
