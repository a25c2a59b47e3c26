"""Blocks of a long estimate: an interrupted loop resumes after its last save."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vaebench.evaluation import partial_results
from vaebench.evaluation.partial_results import PartialResults


@pytest.mark.parametrize("stop_at", [0, 4, 8])
def test_an_interrupted_loop_computes_each_block_once(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    computed: list[int] = []

    def attempt(interrupt: bool) -> torch.Tensor:
        result = torch.zeros(2, 10, dtype=torch.float64)
        for part in PartialResults(tmp_path, "toy", 1, 10).blocks(result, 4, iter):
            if interrupt and part.start == stop_at:
                raise KeyboardInterrupt
            result[:, part] = torch.arange(part.start, part.stop)
            computed.append(part.start)
        return result

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupt=True)
    assert [path.name for path in (tmp_path / "scratch").glob("*")] == ["toy_v1_10.npz"] * (stop_at > 0)
    assert torch.equal(attempt(interrupt=False), torch.arange(10).double().expand(2, 10))
    assert computed == [0, 4, 8]
    assert not list((tmp_path / "scratch").glob("*"))
