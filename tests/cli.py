"""Running the program as people do: in this process, which is fast, or in one of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from vaebench.train import main

ROOT = Path(__file__).parents[1]
HYDRA_SAYS = "Error executing job with overrides"


@dataclass(frozen=True)
class Outcome:
    """What a person sees."""

    code: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """stderr without the one line that Hydra adds to a failed job."""
        lines = [line for line in self.stderr.splitlines() if line and not line.startswith(HYDRA_SAYS)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Program:
    """`vaebench` in this process, with what it changes there put back after each call."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Outcome:
        root, package = logging.getLogger(), logging.getLogger("vaebench")
        handlers, level, package_level = root.handlers, root.level, package.level
        root.handlers = []  # pytest's own would keep job() from making the one for the screen
        self.capsys.readouterr()
        try:
            with self.monkeypatch.context() as patch:
                patch.setattr(sys, "argv", ["vaebench", *words])
                patch.setenv("HYDRA_FULL_ERROR", "0")
                code, last_words = _exit()
        finally:
            root.handlers = handlers
            root.setLevel(level)
            package.setLevel(package_level)
            HydraConfig.instance().cfg = None
        captured = self.capsys.readouterr()
        return Outcome(code, captured.out, captured.err + last_words)


def _exit() -> tuple[int, str]:
    """The code, and the message that the interpreter would print on the way out."""
    try:
        main()
    except SystemExit as stop:
        return (1, stop.code) if isinstance(stop.code, str) else (int(stop.code or 0), "")
    return 0, ""


def in_subprocess(
    *words: str, program: tuple[str, ...] = ("-m", "vaebench.train"), cwd: Path, **env: str
) -> Outcome:
    """Python with `program` and `words`, in `cwd`, on one thread."""
    done = subprocess.run(
        [sys.executable, *program, *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
