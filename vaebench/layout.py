"""Layout of run directories: where they are, the names of their files, the version of results.json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SCHEMA_VERSION = 1
"""Version of the format of results.json."""

CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
STATUS = "status.json"
LOCK = "lock.json"
LOG = "run.log"
CHECKPOINTS = "checkpoints"
PARTIAL_RESULTS = "scratch"
ARRAYS = "arrays"
FIGURES = "figures"

VERSION = re.compile(r"v(\d+)")
_RUN = re.compile(
    r"(?P<dataset>[^/]+)/(?P<model>[^/]+)/(?P<hash8>[0-9a-f]{8})/seed(?P<seed>\d+)/(?P<version>v\d+)"
)


class RunName(NamedTuple):
    """The five folders of a run directory."""

    dataset: str
    model: str
    hash8: str
    seed: int
    version: str

    def __str__(self) -> str:
        return f"{seed_folder(self.dataset, self.model, self.hash8, self.seed)}/{self.version}"


def seed_folder(dataset: str, model: str, hash8: str, seed: int) -> str:
    """Return `<dataset>/<model>/<hash8>/seed<k>`, which holds the versions of one run."""
    return f"{dataset}/{model}/{hash8}/seed{seed}"


def run_name(directory: Path) -> RunName:
    """Return the name of a run directory from the end of its path. Raises ValueError if it is not one."""
    match = _RUN.fullmatch("/".join(directory.absolute().parts[-5:]))
    if match is None:
        raise ValueError(f"{directory}: expected <dataset>/<model>/<hash>/seed<k>/v<n>")
    return RunName(match["dataset"], match["model"], match["hash8"], int(match["seed"]), match["version"])


def find_run_directories(outputs: Path) -> Iterator[Path]:
    """Yield every run directory under `outputs`, in the order of the paths."""
    for folder in sorted(outputs.glob("*/*/*/seed*/v*")):
        if _RUN.fullmatch(folder.relative_to(outputs).as_posix()):
            yield folder
