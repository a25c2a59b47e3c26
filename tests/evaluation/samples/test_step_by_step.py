"""Step by step: errors, KL and sharpness by hand, and what the figures show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.test_sequential_vae import SHAPE, images, model_of, spec_of
from vaebench.data.spec import DataSpec
from vaebench.distributions import Gaussian, StandardNormal
from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.samples import step_by_step as sequential
from vaebench.evaluation.samples.step_by_step import StepByStep, gradient_energy
from vaebench.model import Model
from vaebench.testing import identity_model, make_context, measure, saved, toy_spec


class Painter(Model):
    """z is the mean grey of an image and its contrast, at each of two steps; a step's image is left half
    grey - contrast, right half grey + contrast."""

    has_latent = True
    has_density = False
    num_steps = 2
    latent_dim = 4
    spec = toy_spec((1, 3, 4))
    parameters_per_datum = 12

    def encode(self, x: Tensor) -> Gaussian:
        grey = x.mean((1, 2, 3))
        mean = torch.stack([grey, 0 * grey, grey + 0.1, 0 * grey + 0.2], 1)
        return Gaussian(mean, torch.full_like(mean, -60.0))

    def prior_distribution(self) -> StandardNormal:
        return StandardNormal(4, like=torch.zeros(()))

    def images_by_step(self, z: Tensor) -> Tensor:
        grey, contrast = z.unflatten(1, (2, 2)).permute(2, 1, 0)[..., None, None, None]
        sides = torch.tensor([-1.0, -1.0, 1.0, 1.0]) * torch.ones(1, 3, 4)
        return grey + contrast * sides


def context_of(directory: Path, num: int = 6, batch_bytes: float = 1.0) -> Context:
    x = torch.rand(num, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    return make_context(Painter(), x, directory, batch_bytes=batch_bytes)


def of(**options: Any) -> StepByStep:
    return StepByStep(**{"num_data": None, "num_samples": 2000, "num_shown": 3} | options)


def test_numbers_are_those_by_hand(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    found, x = measure(of(), context), context.splits.test.x
    grey = x.mean((1, 2, 3), keepdim=True)
    sides = torch.tensor([-0.2, -0.2, 0.2, 0.2])
    for step, image in ((1, grey.expand_as(x)), (2, grey + 0.1 + sides)):
        errors = (image - x).square().mean((1, 2, 3)).double()
        assert found[f"mse_{step}"].value == pytest.approx(float(errors.mean()), rel=1e-5)
        assert found[f"mse_{step}"].standard_error == pytest.approx(float(errors.std() / 6**0.5), rel=1e-5)
    mean, logvar = context.model.encode(x).mean, torch.tensor(-60.0)
    kl = 0.5 * (mean.square() + logvar.exp() - logvar - 1)
    for step, part in ((1, kl[:, :2]), (2, kl[:, 2:])):
        assert found[f"kl_{step}"].value == pytest.approx(float(part.sum(1).mean()), rel=1e-5)
        assert found[f"kl_{step}"].n == 6
    # One of three differences in a row is 2 z, with E z^2 = 1 and Var z^2 = 2.
    for step in (1, 2):
        sharpness = found[f"sharpness_{step}"]
        assert sharpness.n == 2000
        assert sharpness.standard_error == pytest.approx(4 / 3 * 2**0.5 / 2000**0.5, rel=0.1)
        assert abs(sharpness.value - 4 / 3) < 4 * sharpness.standard_error
    down, across = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
    energy = down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))
    assert found["sharpness_data"].value == pytest.approx(float(energy.mean()), rel=1e-5)
    assert [m.higher_is_better for m in found.values()] == [False] * 2 + [None] * 5
    arrays = saved(context, "steps")
    assert arrays["mse"].tolist() == [found["mse_1"].value, found["mse_2"].value]
    assert arrays["kl_error"].tolist() == [found["kl_1"].standard_error, found["kl_2"].standard_error]
    assert arrays["sharpness_data"][0] == found["sharpness_data"].value


def test_gradient_energy_takes_both_directions_and_all_channels() -> None:
    x = torch.zeros(2, 3, 3, 3)
    x[0, 0, 1, 1] = 2.0  # two differences of 2 down, and two across, of 18 each
    x[1, 2, 0, 0] = 1.0  # one each
    torch.testing.assert_close(gradient_energy(x), torch.tensor([2 * 8 / 18, 2 / 18]))


@pytest.mark.slow
def test_chunks_change_nothing_but_the_sampled_order(tmp_path: Path) -> None:
    small, large = (
        measure(of(num_data=40), context_of(tmp_path, num=300, batch_bytes=size)) for size in (1.0, 1e9)
    )
    for name, number in small.items():
        assert number.value == pytest.approx(large[name].value, rel=1e-9)
    assert small["mse_1"].n == 40
    assert small["kl_1"].n == 300


def test_figures_are_rows_from_noise_or_data_to_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, tuple[Tensor, int]] = {}
    monkeypatch.setattr(
        sequential,
        "save_images",
        lambda context, name, images, columns, title: shown.update({name: (images, columns)}),
    )
    context = context_of(tmp_path)
    measure(of(), context)
    x = context.splits.test.x
    columns = context.model.images_by_step(context.model.encode(x).mean)
    images, width = shown["steps_reconstructions"]
    assert width == 3
    table = images.unflatten(0, (3, 3))
    for row in range(3):
        torch.testing.assert_close(table[row], torch.stack([x[row], columns[0, row], columns[1, row]]))
    images, width = shown["steps_samples"]
    assert (len(images), width) == (9, 3)
    noise = images.unflatten(0, (3, 3))[:, 0]
    assert noise.std() > 0.2
    assert 0 <= noise.min() < noise.max() <= 1


def test_more_rows_than_samples_or_data_are_as_many_as_there_are(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    measure(of(num_samples=2, num_shown=10), context)
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "steps.png", "steps_reconstructions.png", "steps_samples.png",
    ]  # fmt: skip


def test_a_sequential_vae_is_measured_by_its_own_columns(tmp_path: Path) -> None:
    model, x = model_of(), images(5)
    context = make_context(model, x, tmp_path, spec=spec_of())
    found = measure(of(num_samples=3), context)
    assert len(found) == 10
    q = context.encoded("test")
    kl = 0.5 * (q.mean.square() + q.logvar.exp() - q.logvar - 1)
    assert found["kl_2"].value == pytest.approx(float(kl[:, 5:10].sum(1).mean()), rel=1e-5)
    assert np.isfinite([m.value for m in found.values()]).all()


def test_what_has_no_steps_or_no_images_is_not_applicable(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="the model is not sequential"):
        measure(of(), make_context(identity_model(SHAPE), images(3), tmp_path))
    spec: DataSpec = toy_spec((4,))
    with pytest.raises(NotApplicableError, match="not images"):
        measure(of(), make_context(Painter(), torch.rand(5, 4), tmp_path, spec=spec))
