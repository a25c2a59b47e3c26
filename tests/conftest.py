"""What tests of the whole program share, and the order in which files run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.cli import Program
from tests.compositions import compose_once, read_each_file_once
from vaebench.reporting import experiments


def pytest_configure(config: pytest.Config) -> None:
    """Make one cache folder for the session; workers and subprocesses inherit its name."""
    if not hasattr(config, "workerinput"):
        os.environ["VAEBENCH_CACHE"] = tempfile.mkdtemp(prefix="vaebench-tests-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["VAEBENCH_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _each_line_is_composed_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        read_each_file_once(patch)
        patch.setattr(experiments, "compose", compose_once)
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Undo what a run in this process has set: by default it takes all cores, of which a worker has one."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def vaebench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Call it with the words of a command line."""
    return Program(monkeypatch, capsys)
