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


def resolve_device(name: str) -> torch.device:
    """Return the device; `auto` is CUDA if available, otherwise the CPU. Raises ConfigError if it is missing.

    Apple's MPS has no float64 and is untested, so that `auto` never chooses it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available[name]:
        choices = ", ".join(["auto", *(other for other, is_available in available.items() if is_available)])
        raise ConfigError(f"runtime.device = {name!r}: no such device on this machine (choices: {choices})")
    return torch.device(name)


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads; None shares the machine's cores among the parallel jobs of a sweep."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or max(1, cores // _parallel_jobs(cores)))


def _parallel_jobs(cores: int) -> int:
    """Return how many jobs of this sweep run in parallel on this machine, from the launcher's config."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return 1
    launcher: Mapping[str, Any] = HydraConfig.get().launcher or {}
    jobs = launcher.get("n_jobs", 1) or 1
    return jobs if jobs > 0 else max(1, cores + 1 + jobs)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set the precision of float32 matrix products, convolutions and LSTMs within the context.

    The former precision is restored after it. PyTorch's own switch covers matrix products only, and cuDNN's
    TensorFloat-32, for convolutions and LSTMs, is on by default.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
