"""Provenance of a result: code, packages, hardware and command, one record per attempt."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

PACKAGES = ["vaebench", "torch", "torchvision", "numpy", "scikit-learn", "hydra-core", "omegaconf"]
JOB_VARIABLES = ["SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"]


def attempt(device: torch.device, precision: Mapping[str, str]) -> dict[str, Any]:
    """Return the record of this process: time, command, code, packages, hardware, precision and job."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["vaebench", *sys.argv[1:]]),
        "git": git_state(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": {
            "host": platform.node(),
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "device": str(device),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "threads": torch.get_num_threads(),
            **precision,
        },
        "job": {name: os.environ[name] for name in JOB_VARIABLES if name in os.environ},
    }


def git_state() -> dict[str, Any] | None:
    """Return the commit of the running code and a hash of the changes since; None outside a git checkout.

    Untracked files enter the hash by name only.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        changes = _git(root, "diff", "HEAD") + _git(root, "ls-files", "--others", "--exclude-standard")
    except (OSError, subprocess.SubprocessError):
        return None
    digest = hashlib.sha256(changes.encode()).hexdigest()[:16] if changes else None
    return {"commit": commit, "dirty": bool(changes), "diff_sha256": digest}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
