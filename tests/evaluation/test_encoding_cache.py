"""The encoding of a posterior that refines itself: stopped, kept, and taken up again to the same bits."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs import only_run, small_run, without_seconds
from tests.stopped import Stopped, stopping_after
from vaebench.data.spec import Split, Splits
from vaebench.distributions import Gaussian
from vaebench.evaluation import encoding_cache, partial_results
from vaebench.evaluation.base import Context
from vaebench.models.latent import LatentModel
from vaebench.posteriors.svi import SVIPosterior
from vaebench.runner.signals import Interrupted
from vaebench.testing import LinearGaussian, make_context

TOY = LinearGaussian.make(gains=(1.5, 0.8))
OPTIONS: dict[str, Any] = {
    "num_steps": 2, "lr": 1.0, "momentum": 0.5, "divisor": 50, "clip_norm": 5.0, "clip_over": "datum",
    "clip_back": False,
    "gradient": "unrolled", "epsilon": 1e-5,
}  # fmt: skip
X = TOY.sample(250)


@pytest.fixture(autouse=True)
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)


def refining(shift: float = 0.9) -> LatentModel:
    torch.manual_seed(0)
    return TOY.model(shift, 0.7, posterior=partial(SVIPosterior, **OPTIONS))


def counted(model: LatentModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many data each call of `model.encode` encodes, from now on."""
    counts: list[int] = []
    real = model.encode
    monkeypatch.setattr(model, "encode", lambda x: (counts.append(len(x)), real(x))[1])
    return counts


def same(a: Any, b: Any) -> bool:
    return torch.equal(a.mean, b.mean) and torch.equal(a.logvar, b.logvar)


@pytest.mark.parametrize("done", [0, 1, 2])
def test_stopped_before_any_part_it_goes_on_from_there(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = refining()
    expected = make_context(model, X, tmp_path / "whole").encoded("test")
    torch.testing.assert_close(expected.mean, model.encode(X).mean.detach())
    counts = counted(model, monkeypatch)
    with pytest.raises(Stopped):
        make_context(model, X, tmp_path / "cut", check_stop=stopping_after(done)).encoded("test")
    assert counts == [100, 100, 50][:done]
    state = torch.get_rng_state()
    found = make_context(model, X, tmp_path / "cut").encoded("test")
    assert counts == [100, 100, 50]
    assert isinstance(found, Gaussian)
    assert same(found, expected)
    assert torch.equal(torch.get_rng_state(), state)
    again = make_context(model, X, tmp_path / "cut").encoded("test")  # of a later attempt
    assert len(counts) == 3
    assert same(again, expected)


def test_binarised_data_are_the_same_after_an_interruption(tmp_path: Path) -> None:
    grey = torch.randint(256, (1150, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = Split(grey, None, scale=1 / 255, stochastic=True)
    model = refining()
    expected = make_context(model, split, tmp_path / "whole").encoded("test")
    with pytest.raises(Stopped):
        make_context(model, split, tmp_path / "cut", check_stop=stopping_after(10)).encoded("test")
    assert same(make_context(model, split, tmp_path / "cut").encoded("test"), expected)


def test_other_weights_data_splits_or_versions_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context(refining(), X, tmp_path).encoded("test")

    def calls(model: LatentModel, x: Any = X, split: Any = "test") -> int:
        counts = counted(model, monkeypatch)
        make_context(model, x, tmp_path).encoded(split)
        return len(counts)

    assert calls(refining()) == 0
    assert calls(refining(0.8)) == 3
    assert calls(refining(), X + 1) == 3
    assert calls(refining(), split="valid") == 3
    monkeypatch.setattr(encoding_cache, "VERSION", encoding_cache.VERSION + 1)
    assert calls(refining()) == 3


def test_an_amortised_posterior_keeps_nothing_and_closing_removes_the_rest(tmp_path: Path) -> None:
    make_context(TOY.model(), X, tmp_path).encoded("test")
    assert not (tmp_path / "scratch").exists()
    split = Split(X, None)
    context = Context(refining(), Splits(split, split, split), TOY.model().spec, 0, tmp_path, [])
    context.encoded("test")
    context.encoded("valid")
    (tmp_path / "scratch/nll_v1.npz").touch()
    assert len(list((tmp_path / "scratch").iterdir())) == 3
    context.close()
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["nll_v1.npz"]


@pytest.mark.slow
def test_a_run_that_ctrl_c_ends_while_it_encodes_ends_with_the_numbers_of_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["model/posterior=svi", "model.posterior.num_steps=2", "training.epochs=1", "tier=full"]
    expected = small_run(tmp_path / "whole", *words)
    real, sizes = LatentModel.encode, list[int]()

    def encode_with_a_signal(model: LatentModel, x: torch.Tensor, *kl_weight: Any) -> Any:
        if not model.training and not torch.is_grad_enabled() and len(x) <= encoding_cache.BETWEEN_CHECKS:
            sizes.append(len(x))
            if len(sizes) == 2:
                signal.raise_signal(signal.SIGINT)
        return real(model, x, *kl_weight)

    monkeypatch.setattr(LatentModel, "encode", encode_with_a_signal)
    with pytest.raises(Interrupted):
        small_run(tmp_path / "stopped", *words)
    assert sizes == [100, 100]
    assert without_seconds(small_run(tmp_path / "stopped", *words)) == without_seconds(expected)
    num = expected["evaluations"][0]["measurements"][0]["n"]
    assert sum(sizes) == num  # no datum twice
    assert list((only_run(tmp_path / "stopped") / "scratch").iterdir()) == []
