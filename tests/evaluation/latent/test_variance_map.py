"""The posterior variance map against explicit loops, and where two data give it in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from vaebench.data.spec import DataSpec, Split, Splits
from vaebench.distributions import Gaussian
from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.latent import variance_map
from vaebench.evaluation.latent.variance_map import PosteriorVarianceMap, conditionals
from vaebench.models.latent import LatentModel
from vaebench.testing import (
    OpaquePosterior,
    identity_model,
    latent_model,
    make_context,
    measure,
    saved,
    set_affine,
    toy_spec,
)

SHAPE = (1, 3, 2)
IMAGES = DataSpec(name="toy", shape=SHAPE, kind="unit", num_classes=None)
PAIR = DataSpec(name="toy", shape=(1, 1, 2), kind="binary", num_classes=None)
R2, CORRELATION = "posterior_mean_r2", "variance_fuzziness_correlation"


def the_map(**options) -> PosteriorVarianceMap:
    small = {"num_cells": 7, "reach": 2.0, "num_digits": 3, "mask_below": 0.01, "num_codes": 100}
    return PosteriorVarianceMap(**(small | options))


def grey_levels(num: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (num, *SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def image_context(directory, stochastic: bool = False) -> Context:
    """Each datum has its own mean and variances of the code; the test data are not those of training."""
    torch.manual_seed(1)
    model = latent_model(IMAGES, 2, depth=1)
    for layer, gain, bias in (
        (model.posterior.mean, 8, 0.0),
        (model.posterior.logvar, 2, -1.5),
        (model.decoder.output, 3, 0.0),
    ):
        set_affine(layer, gain * layer.weight.detach(), bias)
    train, test = (Split(grey_levels(num, num), None, 1 / 255, stochastic) for num in (40, 25))
    return make_context(model, test, directory, splits=Splits(train, test, test), spec=IMAGES)


def pair_context(directory, slope: float, codes_at: float = 0.7, std: float = 0.8) -> Context:
    """(0, 1) has the code N((-a, 0), s^2 I) and (1, 0) N((a, 0), s^2 I): E[x|z] = sigmoid(+-2 a z_1 / s^2).

    g(z) is that too, but with `slope` times the logits.
    """
    model = latent_model(PAIR, 2)
    set_affine(model.posterior.mean, torch.tensor([[codes_at, -codes_at], [0.0, 0.0]]), 0.0)
    set_affine(model.posterior.logvar, 0.0, 2 * math.log(std))
    gain = slope * 2 * codes_at / std**2
    set_affine(model.decoder.output, torch.tensor([[gain, 0.0], [-gain, 0.0]]), 0.0)
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(2, 1, 1, 2)
    return make_context(model, x, directory, spec=PAIR)


def brute_force(q: Gaussian, x: Tensor, z: np.ndarray) -> tuple[float, np.ndarray, float, float]:
    """log density of codes, mean, variance and number of data at one point, by loops over data and pixels."""
    mean, variance, x = q.mean.double().numpy(), q.logvar.double().exp().numpy(), x.double().numpy()
    density = []
    for i in range(len(x)):
        one = 1.0
        for d in range(2):
            one *= math.exp(-((z[d] - mean[i, d]) ** 2) / (2 * variance[i, d]))
            one /= math.sqrt(2 * math.pi * variance[i, d])
        density.append(one)
    total = sum(density)
    w = [one / total for one in density]
    m = [sum(w[i] * x[i, p] for i in range(len(x))) for p in range(x.shape[1])]
    spread = sum(w[i] * (x[i, p] - m[p]) ** 2 for i in range(len(x)) for p in range(x.shape[1]))
    return math.log(total / len(x)), np.array(m), spread, 1 / sum(one**2 for one in w)


@pytest.mark.slow
@pytest.mark.parametrize("stochastic", [False, True], ids=["grey", "binarised"])
def test_map_is_the_loop_over_data_and_pixels_at_20_points(stochastic, tmp_path):
    context = image_context(tmp_path, stochastic)
    measure(the_map(), context)
    arrays = saved(context, "variance_map")
    x = context.data("train").flatten(1)
    assert set(x.unique().tolist()) == {0, 1} if stochastic else len(x.unique()) > 100
    for cell in np.random.default_rng(0).permutation(49)[:20]:
        row, column = divmod(cell, 7)
        z = np.array([-2 + 4 * (column + 0.5) / 7, -2 + 4 * (row + 0.5) / 7])
        np.testing.assert_allclose(arrays["grid"][row, column], z, atol=1e-12)
        log_density, _, variance, num_data = brute_force(context.encoded("train"), x, z)
        assert arrays["log_density"][row, column] == pytest.approx(log_density, abs=1e-9)
        assert arrays["variance"][row, column] == pytest.approx(variance, rel=1e-5, abs=1e-6)
        assert arrays["data_per_cell"][row, column] == pytest.approx(num_data, rel=1e-9)
    assert arrays["variance"].std() > 0.05 * arrays["variance"].mean()


def test_numbers_are_those_of_the_loop_over_the_cells_that_are_left(tmp_path):
    context = image_context(tmp_path)
    numbers = measure(the_map(mask_below=0.4), context)
    arrays = saved(context, "variance_map")
    kept = ~arrays["masked"]
    assert 5 < kept.sum() < 40
    z = arrays["grid"][kept]
    x = context.data("train").flatten(1)
    found = [brute_force(context.encoded("train"), x, point) for point in z]
    log_density, m, variance, num_data = (np.array(part) for part in zip(*found, strict=True))
    with torch.no_grad():
        g = context.model.decode_mean(torch.from_numpy(z).float()[None])[0].flatten(1).double().numpy()
    share = np.exp(log_density) / np.exp(log_density).sum()
    error, spread = 0.0, 0.0
    for c in range(len(z)):
        error += share[c] * ((g[c] - m[c]) ** 2).sum()
        spread += share[c] * ((m[c] - share @ m) ** 2).sum()
    expected = {
        "posterior_variance": share @ variance,
        R2: 1 - error / spread,
        CORRELATION: np.corrcoef(variance, (g * (1 - g)).mean(1))[0, 1],
        "data_per_cell_median": np.sort(num_data)[(len(z) - 1) // 2],
    }
    assert {name: number.n for name, number in numbers.items()} == dict.fromkeys(expected, kept.sum())
    for name, value in expected.items():
        assert numbers[name].value == pytest.approx(value, rel=1e-4), name


@pytest.mark.slow
def test_nothing_depends_on_the_tiles(tmp_path, monkeypatch):
    contexts = [image_context(tmp_path / name) for name in ("whole", "tiled")]
    whole = measure(the_map(), contexts[0])
    monkeypatch.setattr(variance_map, "TILE", 5)
    monkeypatch.setattr(Context, "rows_per_chunk", lambda _: 4)
    tiled = measure(the_map(), contexts[1])
    for name, number in whole.items():
        assert tiled[name].value == pytest.approx(number.value, rel=1e-5)
    arrays = [saved(context, "variance_map") for context in contexts]
    assert arrays[0].keys() == arrays[1].keys()
    for name, values in arrays[0].items():
        np.testing.assert_allclose(arrays[1][name], values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_map_of_two_data_is_the_product_of_their_weights_times_their_squared_distance(std, tmp_path):
    """Codes at (-a, 0) and (a, 0): w = sigmoid(2 a z_1 / s^2), whatever z_2 is."""
    context = make_context(identity_model((2,), std), torch.tensor([[-0.5, 0.0], [0.5, 0.0]]), tmp_path)
    measure(the_map(num_cells=10), context)
    arrays = saved(context, "variance_map")
    first = -2 + 0.4 * (np.arange(10) + 0.5)
    w = 1 / (1 + np.exp(-first / std**2))
    expected = np.tile(w * (1 - w), (10, 1))  # a row per z_2, and the data are a unit apart
    np.testing.assert_allclose(arrays["variance"], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "r2"), [(1.0, 1.0), (0.0, 0.0), (-1.0, -3.0)], ids=["posterior mean", "constant", "reversed"]
)
def test_a_decoder_that_is_the_posterior_mean_has_an_r2_of_one(slope, r2, tmp_path):
    """A constant one at the mean has 0; one turned round is wrong by twice the distance to the mean."""
    numbers = measure(the_map(num_cells=20), pair_context(tmp_path, slope))
    assert numbers[R2].value == pytest.approx(r2, abs=1e-5)
    if slope:  # sum_d m_d (1 - m_d), for binary data and either decoder
        assert numbers[CORRELATION].value == pytest.approx(1, abs=1e-6)
    else:
        assert CORRELATION not in numbers


def test_cells_are_masked_where_codes_are_rarer_than_at_nearly_all_codes(tmp_path):
    """Of N(0, I) nine tenths are within r^2 = 4.6. The data do not show in this code: nothing to explain."""
    model = latent_model(IMAGES, 2)
    set_affine(model.posterior.mean, 0.0, 0.0)
    set_affine(model.posterior.logvar, 0.0, 0.0)
    x = grey_levels(3000).float() / 255
    context = make_context(model, x, tmp_path, spec=IMAGES)
    numbers = measure(the_map(num_cells=25, reach=3.0, mask_below=0.1, num_codes=3000), context)
    arrays = saved(context, "variance_map")
    radius, masked = np.linalg.norm(arrays["grid"], axis=-1), arrays["masked"]
    edge = chi2(2).ppf(0.9) ** 0.5
    assert not masked[radius < edge - 0.1].any()
    assert masked[radius > edge + 0.1].all()
    total = float(x.double().flatten(1).var(0, correction=0).sum())
    assert numbers["posterior_variance"].value == pytest.approx(total, rel=1e-5)
    assert numbers["data_per_cell_median"].value == pytest.approx(3000)
    assert R2 not in numbers
    assert CORRELATION not in numbers


def test_a_far_offset_of_the_data_costs_no_precision_and_one_datum_has_no_variance(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = 100 + 0.01 * torch.randn(30, 6, generator=generator)
    q = Gaussian(torch.randn(30, 2, generator=generator), torch.zeros(30, 2))
    z = torch.tensor([[0.0, 0.0], [0.5, -1.0], [400.0, 300.0]], dtype=torch.float64)
    found = conditionals(q, x, z, make_context(identity_model((2,)), x, tmp_path))
    for i in range(2):
        _, mean, variance, _ = brute_force(q, x, z[i].numpy())
        assert found.variance[i].item() == pytest.approx(variance, rel=1e-4)
        np.testing.assert_allclose(found.mean[i], mean, rtol=1e-6)
    assert found.num_data[2].item() == pytest.approx(1)
    assert 0 <= found.variance[2].item() < 1e-8
    farthest = int((q.mean @ torch.tensor([400.0, 300.0])).argmax())
    torch.testing.assert_close(found.mean[2], x[farthest], rtol=1e-6, atol=0)


def test_without_a_reach_the_map_goes_over_the_middle_of_the_means(tmp_path):
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0]) + 3
    context = make_context(identity_model((2,)), x, tmp_path)
    measure(the_map(reach=None, num_cells=4), context)
    low, high = np.quantile(x.double().numpy(), [0.01, 0.99], axis=0)
    grid = saved(context, "variance_map")["grid"]
    np.testing.assert_allclose(grid[0, 0], low + (high - low) / 8)
    np.testing.assert_allclose(grid[0, 3], [high[0] - (high - low)[0] / 8, low[1] + (high - low)[1] / 8])


@pytest.fixture
def shown(monkeypatch) -> dict[str, list]:
    """The digits and the figures that are drawn from now on."""
    seen: dict[str, list] = {"images": [], "figures": []}
    grid, draw = variance_map.image_grid, variance_map.draw

    def recording_grid(images: Tensor, columns: int):
        seen["images"].append((images, columns))
        return grid(images, columns)

    def recording_draw(*given):
        seen["figures"].append(draw(*given))
        return seen["figures"][-1]

    monkeypatch.setattr(variance_map, "image_grid", recording_grid)
    monkeypatch.setattr(variance_map, "draw", recording_draw)
    return seen


def test_the_figure_has_the_map_with_z_2_upwards_and_the_digits_at_the_same_places(tmp_path, shown):
    context = image_context(tmp_path)
    measure(the_map(mask_below=0.4), context)
    arrays = saved(context, "variance_map")
    assert (tmp_path / "figures/variance_map.png").read_bytes().startswith(b"\x89PNG")
    panels = shown["figures"][0].axes[:2]
    (coloured,), (digits,) = (panel.images for panel in panels)
    assert coloured.origin == "lower"
    assert coloured.get_extent() == digits.get_extent() == [-2, 2, -2, 2]
    np.testing.assert_array_equal(coloured.get_array().mask, arrays["masked"])
    np.testing.assert_allclose(coloured.get_array().compressed(), arrays["variance"][~arrays["masked"]])
    at = 4 / 3  # the top row first, each from the left
    codes = torch.tensor([[z1, z2] for z2 in (at, 0, -at) for z1 in (-at, 0, at)])
    ((images, columns),) = shown["images"]
    assert columns == 3
    assert digits.origin == "upper"
    torch.testing.assert_close(images, context.model.decode_image(codes).detach())


def test_data_that_are_no_images_have_the_map_alone(tmp_path, shown):
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    numbers = measure(the_map(), make_context(identity_model((2,), 0.5), x, tmp_path))
    assert {"posterior_variance", R2} <= numbers.keys()
    assert CORRELATION not in numbers
    assert shown["images"] == []
    assert len(shown["figures"][0].axes) == 2  # the map and its colours


def not_parallel() -> LatentModel:
    model = latent_model(toy_spec((2,)), 2)
    model.decoder.is_autoregressive = True
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (latent_model(toy_spec((2,)), 3), "needs latent_dim=2, and it is 3"),
        (not_parallel(), "not autoregressive"),
        (latent_model(toy_spec((2,)), 2, posterior=OpaquePosterior), "no closed form"),
        (identity_model((2,), 0.1), "another reach"),
    ],
    ids=["units", "decoder", "posterior", "reach"],
)
def test_where_there_is_no_map_the_reason_is_given(model, reason, tmp_path):
    with pytest.raises(NotApplicableError, match=reason):
        measure(the_map(), make_context(model, torch.full((5, 2), 100.0), tmp_path))
    assert list(tmp_path.iterdir()) == []
