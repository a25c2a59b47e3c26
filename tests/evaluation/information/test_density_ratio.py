"""Log density ratios by classification, on Gaussians whose ratio is known, and the information they give."""

import math

import pytest
import torch
from torch import Tensor, nn

from vaebench.distributions import Gaussian, StandardNormal, kl_divergence, log_mean_exp
from vaebench.evaluation.information import density_ratio_mi
from vaebench.evaluation.information.density_ratio import Classifiers, Codes, Fitting, fit
from vaebench.evaluation.information.density_ratio_mi import DensityRatioMI, dv_error, effective_number
from vaebench.testing import LinearGaussian, OpaquePosterior, identity_model, make_context, measure

SHORT = Fitting(width=24, lr=1e-2, batch_size=512, num_steps=300)
LOW_SNR = LinearGaussian.make(gains=(0.5, 0.5, 0.4, 0.4))


def gaussian(*means: float, std: float = 1.0) -> Gaussian:
    return Gaussian(torch.tensor(means), torch.full((len(means),), 2 * math.log(std)))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(problems, fitting: Fitting = SHORT, scale: float = 1.0, offset: float = 0.0, seed: int = 0):
    """Classifiers of each Gaussian against the standard normal, both moved to another unit."""
    draws = generator(seed)

    def draw(num: int) -> list[tuple[Tensor, Tensor]]:
        sides = [(p, gaussian(*[0.0] * len(p))) for p in problems]
        return [tuple(offset + scale * side.rsample(num, draws) for side in pair) for pair in sides]

    return fit(draw, fitting, generator(seed + 1))


PROBLEMS = [gaussian(1.0), gaussian(0.5, 1.0, std=0.6), gaussian(-0.3, std=1.5), gaussian(0.0, 0.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (100.0, 3000.0)])
def test_ratios_of_gaussians_are_found_at_every_point_in_the_order_of_the_problems(scale, offset):
    """Two problems of one width on either side of one of another; in any unit, since inputs are scaled."""
    ratios = fitted(PROBLEMS, scale=scale, offset=offset)
    points = [p.rsample(4000, generator(2)) for p in PROBLEMS]
    found = ratios([offset + scale * z for z in points])
    for z, p, estimate in zip(points, PROBLEMS, found, strict=True):
        exact = p.log_prob(z) - StandardNormal(len(p), z).log_prob(z)
        assert (estimate - exact).abs().mean() < 0.12
        kl = float(kl_divergence(p, StandardNormal(len(p), z)).sum())
        assert float(estimate.mean()) == pytest.approx(kl, abs=0.08)


def test_an_input_that_never_moves_does_no_harm():
    def draw(num: int) -> list[tuple[Tensor, Tensor]]:
        z = torch.randn(2, num, 1, generator=draws)
        still = torch.full((num, 1), 0.1)
        return [(torch.cat([z[0] + 1, still], 1), torch.cat([z[1], still], 1))]

    draws = generator()
    ratios = fit(draw, SHORT, generator(1))
    assert float(ratios([draw(4000)[0][0]]).mean()) == pytest.approx(0.5, abs=0.08)


def test_the_classifiers_are_mlps_with_two_hidden_layers_of_gelu():
    mean, std = torch.randn(2, 3), torch.rand(2, 3) + 0.5
    both = Classifiers(mean, std, 5, generator())
    v = torch.randn(2, 7, 3)
    for i in range(2):
        mlp = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 1))
        for layer, weight, bias in zip(mlp[::2], both.weights, both.biases, strict=True):
            assert weight[i].abs().max() <= layer.in_features**-0.5
            layer.weight.data, layer.bias.data = weight[i].data.T, bias[i, 0].data
        torch.testing.assert_close(both(v)[i], mlp((v[i] - mean[i]) / std[i]).squeeze(-1))


def test_a_fit_repeats_by_its_generators_alone_and_leaves_the_global_one():
    few = Fitting(width=8, lr=1e-2, batch_size=64, num_steps=5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fitted(PROBLEMS, few)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    v = [torch.ones(3, len(p)) for p in PROBLEMS]
    assert torch.equal(fitted(PROBLEMS, few)(v), first(v))
    assert not torch.equal(fitted(PROBLEMS, few, seed=5)(v), first(v))


def test_the_rate_falls_along_half_a_cosine(monkeypatch):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self: (rates.append(self.param_groups[0]["lr"]), step(self)),
    )
    fitted(PROBLEMS[:1], Fitting(width=4, lr=0.2, batch_size=16, num_steps=4))
    expected = [0.2 * math.cos(math.pi * i / 8) ** 2 for i in range(4)]
    assert rates == pytest.approx(expected)


def test_codes_are_of_their_own_data():
    x = torch.arange(50.0).unsqueeze(1)
    codes = Codes(x, Gaussian(10 * x, torch.full((50, 1), -20.0)), generator())
    for data, z in (codes.at(torch.tensor([3, 1, 3])), codes.draw(20)):
        torch.testing.assert_close(z, 10 * data, rtol=0, atol=1e-3)
    assert codes.at(torch.tensor([3, 1, 3]))[0].flatten().tolist() == [3, 1, 3]
    assert len(codes.draw(200)[0].unique()) > 40
    assert [codes.repeats(num) for num in (1, 50, 100, 149)] == [1, 1, 2, 3]


def mi(**options) -> DensityRatioMI:
    return DensityRatioMI(**({"num_steps": 400, "batch_size": 512, "width": 32, "lr": 1e-2} | options))


def test_information_of_a_gaussian_channel_is_found(tmp_path):
    """I = 0.90 nats, in four units."""
    context = make_context(LOW_SNR.model(), LOW_SNR.sample(4000), tmp_path)
    numbers = measure(mi(num_draws=12_000), context)
    exact = LOW_SNR.mutual_information
    assert numbers["mi_density_ratio"].value == pytest.approx(exact, rel=0.12)
    assert 0.8 * exact < numbers["mi_density_ratio_dv"].value
    dv = numbers["mi_density_ratio_dv"]
    assert dv.value < exact + 3 * dv.standard_error
    assert numbers["mi_density_ratio_saturated"].value == 0
    assert numbers["mi_density_ratio_cap"].value == pytest.approx(math.log(12_000))


def test_no_information_is_none_also_for_a_posterior_without_a_density_formula(tmp_path):
    model = LOW_SNR.model(posterior=OpaquePosterior)
    model.posterior.mean.weight.data.zero_()
    context = make_context(model, LOW_SNR.sample(2000), tmp_path)
    numbers = measure(mi(num_steps=200, num_draws=2000), context)
    assert abs(numbers["mi_density_ratio"].value) < 0.1
    assert abs(numbers["mi_density_ratio_dv"].value) < 0.1


def oracle(std: float, share: float = 1.0):
    """The exact log ratio of x ~ N(0, 1), z = x + N(0, std^2), or a share of it, in place of a classifier."""

    def ratio(inputs: list[Tensor]) -> Tensor:
        x, z = inputs[0].double().unbind(-1)
        total = 1 + std**2
        exact = 0.5 * (z.square() / total - (z - x).square() / std**2 + math.log(total / std**2))
        return share * exact.unsqueeze(0)

    return lambda *args: ratio


def exact_channel(
    std: float, num: int, num_draws: int, tmp_path, monkeypatch, seed: int = 0, share: float = 1
):
    monkeypatch.setattr(density_ratio_mi, "fit", oracle(std, share))
    x = torch.randn(num, 1, generator=generator(seed))
    context = make_context(identity_model((1,), std), x, tmp_path, seed=seed)
    return measure(mi(num_draws=num_draws), context)


def test_with_the_exact_ratio_both_numbers_are_the_information(tmp_path, monkeypatch):
    numbers = exact_channel(0.5, 3000, 15_000, tmp_path, monkeypatch)
    exact = 0.5 * math.log(1 + 1 / 0.5**2)
    for name in ("mi_density_ratio", "mi_density_ratio_dv"):
        assert abs(numbers[name].value - exact) < 3 * numbers[name].standard_error
        assert numbers[name].standard_error < 0.05
    assert numbers["mi_density_ratio_saturated"].value == 0


@pytest.mark.slow
@pytest.mark.parametrize(("share", "repeats"), [(1, 1), (1, 20), (0.6, 1), (0.6, 20)])
def test_standard_errors_are_the_spread_over_seeds(share, repeats, tmp_path, monkeypatch):
    """Also of a classifier that falls short, on which shuffled pairs that share a datum depend together."""
    how = {"num": 300, "num_draws": 300 * repeats, "share": share}
    runs = [exact_channel(0.5, **how, tmp_path=tmp_path, monkeypatch=monkeypatch, seed=s) for s in range(80)]
    for name in ("mi_density_ratio", "mi_density_ratio_dv"):
        values, errors = torch.tensor([(run[name].value, run[name].standard_error) for run in runs]).T
        assert 0.8 < values.std() / errors.square().mean().sqrt() < 1.25


@pytest.mark.parametrize("std", [1e-2, 1e-6])
def test_more_information_than_the_pairs_can_show_is_saturated(std, tmp_path, monkeypatch):
    """Of 100 shuffled pairs a few, or none, are near enough to be true ones."""
    assert exact_channel(std, 100, 100, tmp_path, monkeypatch)["mi_density_ratio_saturated"].value == 1


def test_log_mean_exp_and_the_effective_number_by_hand():
    values = torch.tensor([0.0, 0.0, math.log(3), math.log(4)], dtype=torch.float64)
    value = log_mean_exp(values + 1000, 0)
    assert float(value) == pytest.approx(1000 + math.log(9 / 4), abs=1e-9)
    assert effective_number((values + 1000 - value).exp()) == pytest.approx(3)  # 9^2 / 27


def test_the_error_of_the_donsker_varadhan_bound_by_hand():
    """Weights of the pairs (x_3, z_1), (x_1, z_2), (x_2, z_3)."""
    by_z = torch.tensor([[0.5, 1.0, 1.5]], dtype=torch.float64)
    by_x = by_z[:, [1, 2, 0]]
    own = torch.tensor([8.0, 0.0, 1.0], dtype=torch.float64)
    influence = torch.tensor([8 - 1.0 - 0.5, 0 - 1.5 - 1.0, 1 - 0.5 - 1.5])
    alone = (0.25 + 0.25) / 9
    assert dv_error(own, by_x, by_z) == pytest.approx(float(influence.var() / 3 - alone) ** 0.5)
    same = torch.ones(2, 3, dtype=torch.float64)
    assert dv_error(torch.zeros(3), same, same) == 0
