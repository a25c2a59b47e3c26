"""One process a run: the second one says who runs it; the dead do not hold anything."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.runs import only_run, small_run
from vaebench.lock import AlreadyRunningError, holder_of, locked
from vaebench.reporting.runs import find_runs

HOLD = """
import sys, time
from pathlib import Path
from vaebench.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_second_start_says_who_runs_it_and_touches_nothing(tmp_path: Path) -> None:
    small_run(tmp_path)
    run = only_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.json") if path.name != "lock.json"}
    with holder(run / "lock.json") as process:
        with pytest.raises(AlreadyRunningError, match=f"host {platform.node()}, pid {process.pid}"):
            small_run(tmp_path)
        assert next(find_runs(tmp_path)).state == "running"
        process.kill()
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_kill_9_frees_the_lock_and_the_run_shows_as_killed(tmp_path: Path) -> None:
    path = tmp_path / "digits/vae/00000000/seed0/v0/lock.json"
    path.parent.mkdir(parents=True)
    (path.parent / "status.json").write_text(json.dumps({"state": "running"}))
    with holder(path) as process:
        assert holder_of(path) is not None
        process.kill()
        process.wait()
    assert holder_of(path) is None
    assert next(find_runs(tmp_path)).state == "killed"
    with locked(path):
        pass


@pytest.mark.parametrize(("silent_for", "refused"), [(20, True), (3600, False)])
def test_another_host_holds_a_run_as_long_as_its_heart_beats(
    tmp_path: Path, silent_for: float, refused: bool
) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 7, "heartbeat": time.time() - silent_for}))
    if refused:
        with pytest.raises(AlreadyRunningError, match="host elsewhere, pid 7"), locked(path):
            pass
    else:
        with locked(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_run_that_fails_or_is_stopped_is_free_for_other_machines_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    with pytest.raises(KeyboardInterrupt), locked(path):  # noqa: PT012
        assert json.loads(path.read_text())["pid"] == os.getpid()
        raise KeyboardInterrupt
    assert path.read_text() == ""


def test_who_only_looks_does_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [looking]).start()
    with locked(path):
        pass
