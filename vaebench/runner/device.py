"""Device, threads and precision of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from vaebench.config.errors import ConfigError


def resolve_device(wanted: str) -> torch.device:
    """`auto` is CUDA, then CPU. Raises ConfigError where the device is not there.

    Apple's MPS has no float64 and has not been tried: it is there for who names it.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device("cuda" if there["cuda"] else "cpu")
    if not there[wanted]:
        choices = ", ".join(["auto", *(name for name, available in there.items() if available)])
        raise ConfigError(f"runtime.device = {wanted!r}: there is none here (choices: {choices})")
    return torch.device(wanted)


def set_threads(wanted: int | None) -> None:
    """As many CPU threads as asked for, otherwise the machine's cores shared among the sweep's jobs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(wanted or max(1, cores // _parallel_jobs(cores)))


def _parallel_jobs(cores: int) -> int:
    """How many jobs of this sweep run beside each other on this machine, as the launcher's config says."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return 1
    launcher: Mapping[str, Any] = HydraConfig.get().launcher or {}
    jobs = launcher.get("n_jobs", 1) or 1
    return jobs if jobs > 0 else max(1, cores + 1 + jobs)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Float32 matrix products in this precision within, convolutions and LSTMs too; in the former one after.

    PyTorch's switch is of matrix products alone, and cuDNN's TensorFloat-32 is on by default.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
