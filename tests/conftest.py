"""What tests of the whole program share."""

import pytest

from tests.cli import Program


@pytest.fixture
def vaebench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Call it with the words of a command line."""
    return Program(monkeypatch, capsys)
