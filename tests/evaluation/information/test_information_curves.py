"""The curves of Zhao et al.'s figures 5 and 6 from the lines of the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from vaebench.data.spec import DataSpec
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.information import information_curves
from vaebench.evaluation.information.information_curves import InformationCurves
from vaebench.models.latent import LatentModel
from vaebench.testing import identity_model, latent_model, make_context, measure, saved, toy_spec

SHAPE = (2, 3, 4)


def line(epoch: int, **more: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train": {"loss": 1.0, "reconstruction": -48.0 / epoch},
        "valid": {"elbo": -60.0, "reconstruction": -72.0 / epoch, "kl": 3.0 * epoch, **more},
    }


def information(epoch: int) -> dict[str, float]:
    return {"mi_lower": 1.0 * epoch, "mi_upper": 9.0 * epoch, "mi_cap": 5.0}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, from now on."""
    figures: list[Any] = []
    original = information_curves.draw
    monkeypatch.setattr(
        information_curves, "draw", lambda curves: figures.append(original(curves)) or figures[-1]
    )
    return figures


def run(directory: Path, history: list[dict[str, Any]]) -> Any:
    context = make_context(identity_model(SHAPE), np_images(), directory, history=history)
    assert measure(InformationCurves(), context) == {}
    assert (directory / "figures/information_curves.png").read_bytes().startswith(b"\x89PNG")
    return saved(context, "information_curves")


def np_images() -> Any:
    import torch

    return torch.zeros(3, *SHAPE)


def curve(axis: Any, number: int) -> list[float]:
    return list(axis.lines[number].get_ydata())


def test_information_with_its_cap_and_reconstruction_of_each_number(tmp_path: Path, drawn: list[Any]) -> None:
    arrays = run(tmp_path, [line(epoch, **information(epoch)) for epoch in (1, 2, 3)])
    left, right = drawn[0].axes
    assert curve(left, 0) == [1, 2, 3]
    assert set(curve(left, 1)) == {5.0}
    assert "5.00" in left.lines[1].get_label()
    assert curve(right, 0) == pytest.approx([2.0, 1.0, 2 / 3])  # training, over 24 numbers
    assert curve(right, 1) == pytest.approx([3.0, 1.5, 1.0])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["train", "valid"]
    expected = {
        "epoch": [1, 2, 3], "kl": [3, 6, 9], "mi_lower": [1, 2, 3], "mi_upper": [9, 18, 27],
        "mi_cap": [5, 5, 5], "valid_nll_per_dim": [3.0, 1.5, 1.0], "train_nll_per_dim": [2.0, 1.0, 2 / 3],
    }  # fmt: skip
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(arrays[name], values)


def test_without_recorded_information_the_kl_stands_in_its_place(tmp_path: Path, drawn: list[Any]) -> None:
    """Also where only a part of the epochs has it."""
    arrays = run(tmp_path, [line(1), line(2, **information(2))])
    left, _ = drawn[0].axes
    assert curve(left, 0) == [3, 6]
    assert left.get_ylabel().startswith("KL")
    assert not information(1).keys() & arrays.keys()


def test_an_objective_that_logs_no_reconstruction_has_that_of_the_validation(
    tmp_path: Path, drawn: list[Any]
) -> None:
    history = [line(1)]
    del history[0]["train"]["reconstruction"]
    arrays = run(tmp_path, history)
    assert "train_nll_per_dim" not in arrays
    assert curve(drawn[0].axes[1], 0) == [3.0]


class WithoutCode(LatentModel):
    has_latent: ClassVar = False


def test_a_model_without_a_code_has_none(tmp_path: Path) -> None:
    """Of whose validation there is no KL in the lines of the epochs."""
    history = [line(1)]
    del history[0]["valid"]["kl"]
    model = latent_model(toy_spec(SHAPE), 2, family=WithoutCode)
    context = make_context(model, np_images(), tmp_path, history=history)
    with pytest.raises(NotApplicableError, match="no latent code"):
        measure(InformationCurves(), context)


class WithoutDensity(LatentModel):
    has_density: ClassVar = False


def test_an_objective_that_is_no_density_and_sentences_have_none(tmp_path: Path) -> None:
    """Neither has a reconstruction in nats per number of x."""
    model = latent_model(toy_spec(SHAPE), 2, family=WithoutDensity)
    context = make_context(model, np_images(), tmp_path, history=[line(1)])
    with pytest.raises(NotApplicableError, match="no likelihood"):
        measure(InformationCurves(), context)
    spec = DataSpec("toy", (9,), "tokens", None, vocabulary=("</s>", "<unk>", "a"))
    context = make_context(identity_model(SHAPE), np_images(), tmp_path, history=[line(1)], spec=spec)
    with pytest.raises(NotApplicableError, match="sentences differ"):
        measure(InformationCurves(), context)


def test_an_epoch_whose_numbers_were_not_finite_is_a_gap(tmp_path: Path, drawn: list[Any]) -> None:
    arrays = run(tmp_path, [line(1), {**line(2), "valid": {**line(2)["valid"], "kl": None}}, line(3)])
    np.testing.assert_array_equal(arrays["kl"], [3, np.nan, 9])


def test_without_epochs_there_are_no_curves(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="no epoch"):
        run(tmp_path, [])
