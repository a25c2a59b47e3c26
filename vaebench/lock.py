"""Lock of a run directory: one process at a time runs a run; stale locks are detected."""

from __future__ import annotations

import errno
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
STALE_SECONDS = 10 * HEARTBEAT_SECONDS  # a job on another host without a heartbeat for so long is dead
PAUSE = 0.2  # seconds; `holder_of` holds the lock for a moment


class AlreadyRunningError(UserError):
    """Error: another process holds the lock of the run."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` of a run. Raises AlreadyRunningError, naming the holder.

    On one machine the kernel's lock decides; it ends with its process, also after kill -9. Between machines
    that share a file system without such locks, the heartbeat in the file decides.
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
        finally:  # also after a failure or a stop, so that another host can resume at once
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> dict[str, Any] | None:
    """Return the live process that runs the run (host, pid, job), or None; `status` shows it as running."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        holder = _read(descriptor)
        if not _take(descriptor, shared=True):
            return holder or {"pid": "?"}
        elsewhere = holder.get("host") not in (None, platform.node())
        alive = elsewhere and time.time() - holder.get("heartbeat", 0) < STALE_SECONDS
        return holder if alive else None
    finally:
        os.close(descriptor)


def _take(descriptor: int, shared: bool = False) -> bool:
    """Take the kernel's lock, or return False if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: the heartbeat alone decides
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
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
    except ValueError:  # empty, or read during a write
        return {}


def _already_running(holder: dict[str, Any], path: Path) -> AlreadyRunningError:
    who = ", ".join(f"{key} {holder[key]}" for key in ("host", "pid", "job") if holder.get(key))
    return AlreadyRunningError(
        f"This run is already running ({who or 'it has just started'}): {path.parent}\n"
        f"Wait until it ends, or start a new version with fresh=true."
    )


@contextmanager
def _heartbeat(descriptor: int) -> Iterator[None]:
    """Write host, pid and job of this process to the lock file, now and every HEARTBEAT_SECONDS."""
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
