"""The pictures: that each is filed, and that it shows what its title says."""

import pytest
import torch
from torch import Tensor

from vaebench.data.spec import Split
from vaebench.evaluation import plots
from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.plots import image_grid
from vaebench.evaluation.samples.pictures import (
    LatentSpectrum,
    LatentTraversal,
    LatentTSNE,
    PriorSamples,
    Reconstructions,
    TrainingCurves,
)
from vaebench.testing import identity_model, latent_model, make_context, measure, saved, toy_spec

SHAPE = (1, 2, 2)
PNG = b"\x89PNG\r\n\x1a\n"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def image_context(directory, num: int = 30, **fields) -> Context:
    """A model of images with a random affine decoder, whose codes are the data."""
    torch.manual_seed(0)
    model = identity_model(SHAPE)
    return make_context(model, normal(num, *SHAPE), directory, **fields)


def filed(context: Context) -> list[str]:
    """The names of the figures, each seen to be a PNG."""
    paths = sorted((context.directory / "figures").iterdir())
    assert all(path.read_bytes().startswith(PNG) for path in paths)
    return [path.name for path in paths]


@pytest.fixture
def grids(monkeypatch) -> list[tuple[Tensor, int]]:
    """The images and number of columns of every grid that is filed, from now on."""
    shown: list[tuple[Tensor, int]] = []
    original = plots.image_grid

    def recording(images: Tensor, columns: int):
        shown.append((images, columns))
        return original(images, columns)

    monkeypatch.setattr(plots, "image_grid", recording)
    return shown


def test_grid_shows_grey_images_as_dark_ink_on_white_and_colours_as_they_are():
    grey = image_grid(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), columns=2)
    assert grey[1, 1].tolist() == [1, 1, 1]
    assert grey[1, 3].tolist() == [0, 0, 0]
    red = image_grid(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 1), columns=2)
    assert red[1, 1].tolist() == [1, 0, 0]


def test_reconstructions_are_below_their_test_data(tmp_path, grids):
    context = image_context(tmp_path)
    assert measure(Reconstructions(num=5), context) == {}
    assert filed(context) == ["reconstructions.png"]
    ((images, columns),) = grids
    x = context.splits.test.x[:5]
    assert columns == 5
    assert torch.equal(images, torch.cat([x, context.model.reconstruct(x)]))


@pytest.mark.parametrize("num", [1, 7, 16])
def test_as_many_samples_are_shown_as_are_asked_for(num, tmp_path, grids):
    context = image_context(tmp_path)
    measure(PriorSamples(num=num), context)
    assert filed(context) == ["samples.png"]
    ((images, _),) = grids
    assert images.shape == (num, *SHAPE)


def test_traversal_moves_one_unit_a_row_and_the_most_active_first(tmp_path, grids):
    """Units 2 and 0 move most. Unshown units stay at the code of the first test image."""
    context = image_context(tmp_path)
    codes = normal(30, 4) * torch.tensor([2.0, 0.1, 5.0, 0.1])
    x = codes.view(30, *SHAPE)
    context = make_context(context.model, x, tmp_path)
    measure(LatentTraversal(num_units=2, num_steps=3, reach=1.5), context)
    assert filed(context) == ["traversal.png"]
    expected = codes[0].repeat(6, 1)
    expected[:3, 2] = expected[3:, 0] = torch.tensor([-1.5, 0.0, 1.5])
    model = context.model
    ((images, columns),) = grids
    assert columns == 3
    torch.testing.assert_close(
        images, model.likelihood.mean(model.decode(expected[None])).squeeze(0).detach()
    )


def test_traversal_of_more_units_than_there_are_shows_all(tmp_path, grids):
    measure(LatentTraversal(num_units=10, num_steps=3, reach=3.0), image_context(tmp_path))
    ((images, _),) = grids
    assert len(images) == 4 * 3


def test_spectrum_is_filed_also_where_a_unit_is_dead(tmp_path):
    x = normal(10, *SHAPE)
    x[:, 0, 0, 0] = 0
    context = make_context(identity_model(SHAPE), x, tmp_path)
    assert measure(LatentSpectrum(), context) == {}
    assert filed(context) == ["spectrum.png"]


@pytest.mark.parametrize("labels", [None, torch.arange(30) % 3], ids=["without labels", "with labels"])
def test_tsne_files_a_point_per_datum(labels, tmp_path):
    split = Split(normal(30, *SHAPE), labels)
    context = make_context(identity_model(SHAPE), split, tmp_path)
    assert measure(LatentTSNE(num_data=25, perplexity=4.0), context) == {}
    assert filed(context) == ["tsne.png"]
    assert saved(context, "tsne")["points"].shape == (25, 2)


@pytest.mark.parametrize("num", [4, 5])
def test_tsne_of_too_few_codes_is_not_applicable(num, tmp_path):
    with pytest.raises(NotApplicableError, match="too few"):
        measure(LatentTSNE(num_data=num, perplexity=5.0), image_context(tmp_path))


def line(epoch: int) -> dict:
    numbers = {"elbo": -100.0 / epoch, "kl": 1.0 * epoch}
    return {"epoch": epoch, "train": numbers, "valid": numbers | {"active_units": epoch}}


@pytest.mark.slow
@pytest.mark.parametrize("num_epochs", [1, 2, 12])
def test_curves_need_one_epoch_at_least(num_epochs, tmp_path):
    history = [line(epoch) for epoch in range(1, num_epochs + 1)]
    context = image_context(tmp_path, history=history)
    assert measure(TrainingCurves(), context) == {}
    assert filed(context) == ["curves.png"]
    context.history = []
    with pytest.raises(NotApplicableError, match="no epoch"):
        measure(TrainingCurves(), context)


@pytest.mark.parametrize(("has_density", "label"), [(True, "ELBO (nats)"), (False, "objective")])
def test_an_objective_that_is_no_density_is_not_called_an_elbo(has_density, label, tmp_path, monkeypatch):
    shown = []
    context = image_context(tmp_path, history=[line(1)])
    monkeypatch.setattr(type(context.model), "has_density", has_density)
    monkeypatch.setattr(context, "save_figure", lambda _, figure: shown.append(figure))
    measure(TrainingCurves(), context)
    assert shown[0].axes[0].get_ylabel() == label


@pytest.mark.parametrize(
    "evaluator", [Reconstructions(num=2), PriorSamples(num=2)], ids=["recons", "samples"]
)
def test_data_that_are_no_images_are_not_applicable(evaluator, tmp_path):
    context = make_context(latent_model(toy_spec((4,)), 2), normal(10, 4), tmp_path)
    with pytest.raises(NotApplicableError, match="not images"):
        measure(evaluator, context)
