"""Runs once to the end, then forks runs and kills them: `python -m tests.runner.kill_server <json>`.

A program of its own, since a process that forks must not have started threads. Reads a plan from its
argument, prints one JSON line: how many runs were killed, and in which states they were.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from vaebench.config.paths import conf_dir
from vaebench.runner.experiment import run


def run_once(overrides: list[str]) -> None:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        run(compose("train", overrides=overrides))


def start(overrides: list[str]) -> int:
    """Fork a run and return its process id."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        run_once(overrides)
        status = 0
    finally:
        os._exit(status)


def state_of(outputs: Path) -> str:
    """Where the only run below `outputs` was when it died."""
    files = {path.name for path in outputs.rglob("*") if path.is_file()}
    if "best.pt" in files:
        return "in evaluation"
    return "in training" if "index.json" in files else "before the first checkpoint"


def has_new(file: str, outputs: Path, since: float) -> bool:
    """Whether such a file was written below `outputs` after `since`."""
    for path in outputs.rglob(file):
        with contextlib.suppress(FileNotFoundError):  # replaced while we looked
            if path.stat().st_mtime > since:
                return True
    return False


def wait_for(target: str, outputs: Path, pid: int, since: float) -> None:
    """Until this process has written a checkpoint, or entered its evaluation, or ended."""
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, pid, ended) is None:
        if any(outputs.rglob("best.pt")) or (target == "training" and has_new("index.json", outputs, since)):
            return
        time.sleep(0.002)


def main() -> None:
    torch.set_num_threads(1)
    plan = json.loads(sys.argv[1])
    outputs = Path(plan["outputs"])
    # Here, and not in a fork: its seconds of imports would outlive most forks.
    run_once([*plan["overrides"], f"paths.outputs={plan['whole']}"])
    overrides = [*plan["overrides"], f"paths.outputs={outputs}"]
    chance = random.Random(plan["seed"])
    states: list[str] = []
    while True:
        since = time.time()
        pid = start(overrides)
        if len(states) == plan["kills"]:
            _, status = os.waitpid(pid, 0)
            print(json.dumps({"states": states, "exit": os.waitstatus_to_exitcode(status)}))
            return
        # The first kills fall in training and the fourth in evaluation on any machine; others may come at
        # any moment. With a checkpoint at every step, most of them meet a file being written.
        target = ("training", "training", "any moment", "evaluation")[len(states) % 4]
        if target != "any moment":
            wait_for(target, outputs, pid, since)
        time.sleep(chance.uniform(0.0, 0.1 if target == "training" else plan["seconds"]))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) == 0:  # it was faster than the bullet
            print(json.dumps({"states": states, "exit": 0}))
            return
        states.append(state_of(outputs))


if __name__ == "__main__":
    main()
