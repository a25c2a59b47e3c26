"""Warms up once, then forks runs and kills them: `python -m tests.runner.kill_server <json>`.

A program of its own, since a process that forks must not have started threads. Reads a plan from its
argument, prints one JSON line: how many runs were killed, and in which states they were.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
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
    if any(name.endswith(".tmp") for name in files):
        return "while a file was written"
    if "best.pt" in files:
        return "in evaluation"
    return "in training" if "index.json" in files else "before the first checkpoint"


def wait_for(file: str, outputs: Path, pid: int) -> None:
    """Until there is such a file below `outputs`, or the process has ended."""
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not any(outputs.rglob(file)) and os.waitid(os.P_PID, pid, ended) is None:
        time.sleep(0.005)


def main() -> None:
    torch.set_num_threads(1)
    plan = json.loads(sys.argv[1])
    outputs = Path(plan["outputs"])
    with tempfile.TemporaryDirectory() as warm_up:  # seconds of imports, which would outlive most forks
        run_once(
            [*plan["overrides"], f"paths.outputs={warm_up}", "training.steps=2", "evaluation.nll.num_data=2"]
        )
    chance = random.Random(plan["seed"])
    states: list[str] = []
    while True:
        pid = start(plan["overrides"])
        if len(states) == plan["kills"]:
            _, status = os.waitpid(pid, 0)
            print(json.dumps({"states": states, "exit": os.waitstatus_to_exitcode(status)}))
            return
        # Of three kills one comes at any moment, one in training and one in evaluation, on any machine.
        if file := ("", "index.json", "best.pt")[len(states) % 3]:
            wait_for(file, outputs, pid)
        time.sleep(chance.uniform(*plan["seconds"]))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) == 0:  # it was faster than the bullet
            print(json.dumps({"states": states, "exit": 0}))
            return
        states.append(state_of(outputs))


if __name__ == "__main__":
    main()
