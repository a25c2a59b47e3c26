"""Checkpoints: the latest two and the best, whole or not at all, and never code."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from pathlib import Path

import pytest
import torch

from tests.runs import only_run, small_run, without_seconds
from vaebench.errors import UserError
from vaebench.runner.checkpoint import Checkpoints


@pytest.fixture
def two(tmp_path: Path) -> Checkpoints:
    """A folder after three saves."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step, "weights": torch.full((4,), float(step))})
    return checkpoints


def test_latest_two_are_kept(two: Checkpoints) -> None:
    assert sorted(path.name for path in two.folder.glob("*.pt")) == ["step-00000002.pt", "step-00000003.pt"]
    state = two.latest()
    assert state is not None
    assert state["step"] == 3
    assert torch.equal(state["weights"], torch.full((4,), 3.0))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "deleted"])
def test_corrupt_latest_falls_back_to_the_one_before_and_says_so(
    two: Checkpoints, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = two.folder / "step-00000003.pt"
    content = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    else:
        middle = content.index(torch.full((4,), 3.0).numpy().tobytes())
        content[middle] ^= 1  # a bit of a weight: torch.load would not notice
        path.write_bytes({"truncated": content[:100], "flipped": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        state = two.latest()
    assert state is not None
    assert state["step"] == 2
    assert "step-00000003.pt is corrupt; going back to step-00000002.pt" in caplog.text


def test_file_that_never_entered_the_index_does_not_count(two: Checkpoints) -> None:
    (two.folder / "step-00000009.pt").write_bytes((two.folder / "step-00000003.pt").read_bytes())
    state = two.latest()
    assert state is not None
    assert state["step"] == 3


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.crater),))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_checkpoint_with_code_is_refused_and_nothing_is_executed(
    two: Checkpoints, tmp_path: Path, protocol: str
) -> None:
    path, crater = two.folder / "step-00000003.pt", tmp_path / "crater"
    if protocol == "torch":
        torch.save({"weights": Bomb(crater)}, path)
    else:
        path.write_bytes(pickle.dumps({"weights": Bomb(crater)}))
    assert two.latest()["step"] == 2  # not the file that was written: passed over, unread
    index = json.loads((two.folder / "index.json").read_text())
    index[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (two.folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"refused.*Nothing in it was executed"):
        two.latest()
    assert not crater.exists()


@pytest.mark.slow
def test_training_goes_on_from_the_checkpoint_before_a_corrupt_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every_step = "runtime.checkpoint_seconds=0"
    expected = small_run(tmp_path / "whole", every_step)
    small_run(tmp_path / "broken", every_step)
    folder = only_run(tmp_path / "broken") / "checkpoints"
    (folder / "best.pt").write_bytes(b"broken")
    latest = sorted(folder.glob("step-*.pt"))[-1]
    latest.write_bytes(latest.read_bytes()[:-1])
    (only_run(tmp_path / "broken") / "results.json").unlink()
    with caplog.at_level(logging.INFO):
        again = small_run(tmp_path / "broken", every_step)
    assert "going back to step-00000035.pt" in caplog.text
    assert "Resuming at step 35 of 36" in caplog.text
    assert without_seconds(again) == without_seconds(expected)
