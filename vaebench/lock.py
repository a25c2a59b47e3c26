"""Who runs a run now: one process at a time, known by name, dead ones told from living ones."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaebench.errors import UserError

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 10 * HEARTBEAT_SECONDS  # a job on another host that was silent for so long is dead
PAUSE = 0.2  # seconds; who only looks whether a run is held holds it for a moment


class AlreadyRunningError(UserError):
    """Another process holds the run."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run whose lock file is `path`. Raises AlreadyRunningError, naming the holder.

    The kernel's lock decides on one machine, and is gone with its process, also after kill -9. Between
    machines that share a file system without such locks, the heartbeat in the file decides.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(descriptor):
            time.sleep(PAUSE)
            if not _take(descriptor):
                raise _already_running(_read(descriptor), path)
        holder = _read(descriptor)
        elsewhere = holder.get("host") not in (None, platform.node())
        if elsewhere and time.time() - holder.get("heartbeat", 0) < STALE_SECONDS:
            raise _already_running(holder, path)
        try:
            with _heartbeat(descriptor):
                yield
        finally:  # also where the run failed or was told to stop: another host may go on at once
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> dict[str, Any] | None:
    """Who runs the run now, or None: what `status` shows as running is alive."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        holder = _read(descriptor)
        if not _take(descriptor, fcntl.LOCK_SH):
            return holder or {"pid": "?"}
        elsewhere = holder.get("host") not in (None, platform.node())
        alive = elsewhere and time.time() - holder.get("heartbeat", 0) < STALE_SECONDS
        return holder if alive else None
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True


def _read(descriptor: int) -> dict[str, Any]:
    try:
        return json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # empty, or caught between two heartbeats
        return {}


def _already_running(holder: dict[str, Any], path: Path) -> AlreadyRunningError:
    who = ", ".join(f"{key} {holder[key]}" for key in ("host", "pid", "job") if holder.get(key))
    return AlreadyRunningError(
        f"This run is already running ({who or 'it has just started'}): {path.parent}\n"
        f"Wait for it, or start another beside it with fresh=true."
    )


@contextmanager
def _heartbeat(descriptor: int) -> Iterator[None]:
    """Write who we are now, and again every half minute."""
    stop = threading.Event()
    holder = {"host": platform.node(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}

    def beat() -> None:
        content = json.dumps(holder | {"heartbeat": time.time()}).ljust(256).encode()
        os.pwrite(descriptor, content, 0)

    def keep_beating() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            beat()

    beat()
    thread = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
