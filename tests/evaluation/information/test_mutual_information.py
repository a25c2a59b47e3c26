"""The mutual information sandwich on Gaussian channels, at its caps, and against brute force."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from vaebench.distributions import StandardNormal, kl_divergence
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.information import mutual_information
from vaebench.evaluation.information.mutual_information import MutualInformation, cross_fitted
from vaebench.testing import LinearGaussian, OpaquePosterior, identity_model, make_context, measure

ALL = MutualInformation(num_data=None)
MODERATE = LinearGaussian.make(gains=(1.5, 0.8))
LOW_SNR = LinearGaussian.make(gains=(0.5, 0.5, 0.4, 0.4))


def sandwich(numbers, low: str, high: str) -> tuple[float, float]:
    """Three standard errors below the lower estimate and above the upper one."""
    return (
        numbers[low].value - 3 * numbers[low].standard_error,
        numbers[high].value + 3 * numbers[high].standard_error,
    )


@pytest.mark.parametrize("toy", [MODERATE, LOW_SNR], ids=["moderate", "low"])
def test_mutual_information_of_a_gaussian_channel_is_in_the_sandwich(toy, tmp_path):
    numbers = measure(ALL, make_context(toy.model(), toy.sample(2000), tmp_path))
    low, high = sandwich(numbers, "mi_lower", "mi_upper")
    assert low <= toy.mutual_information <= high
    assert numbers["mi_lower"].value <= numbers["mi_upper"].value
    assert numbers["mi_saturated"].value == 0
    assert numbers["mi_cap"].value == pytest.approx(math.log(2000))


def test_mutual_information_at_low_snr_is_tight_from_both_sides(tmp_path):
    """I = 0.90 nats; draws move both estimates by 3 %."""
    toy = LOW_SNR
    numbers = measure(ALL, make_context(toy.model(), toy.sample(2000), tmp_path))
    assert numbers["mi_upper"].value - numbers["mi_lower"].value < 0.01
    for name in ("mi_lower", "mi_upper"):
        assert numbers[name].standard_error < 0.035 * toy.mutual_information
        assert numbers[name].value == pytest.approx(toy.mutual_information, rel=0.06)


def test_posterior_equal_to_prior_has_no_information(tmp_path):
    model = identity_model((3,))
    model.posterior.mean.weight.data.zero_()
    numbers = measure(ALL, make_context(model, torch.randn(100, 3), tmp_path))
    for name in ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper"):
        assert abs(numbers[name].value) < 1e-6  # log p(z) is in float32
    assert numbers["mi_saturated"].value == 0


def test_separated_posteriors_give_the_cap_exactly_and_say_so(tmp_path):
    x = torch.arange(300.0).unsqueeze(1) * 100
    numbers = measure(ALL, make_context(identity_model((1,)), x, tmp_path))
    assert numbers["mi_lower"].value == pytest.approx(math.log(300), abs=1e-12)
    assert numbers["mi_upper"].value > 1000
    assert numbers["mi_saturated"].value == 1


def test_a_gap_of_a_nat_is_saturated_far_from_the_cap(tmp_path):
    """A fifth of the posteriors stand alone, the others are one: I_lower = 0.2 log N + 0.8 log(N / 0.8N)."""
    x = torch.zeros(200, 1)
    x[:40, 0] = 100 * torch.arange(1, 41)
    numbers = measure(ALL, make_context(identity_model((1,)), x, tmp_path))
    expected = 0.2 * math.log(200) - 0.8 * math.log(0.8)
    assert numbers["mi_lower"].value == pytest.approx(expected, abs=1e-9)
    assert expected < numbers["mi_cap"].value - 1
    assert numbers["mi_saturated"].value == 1


def test_within_a_nat_of_the_cap_is_saturated_at_a_small_gap(tmp_path):
    """Posteriors in far apart pairs: I_lower = log N / 2, and the upper one log 2 - log N / (N - 1) above."""
    x = 100 * torch.arange(100.0).repeat_interleave(2).unsqueeze(1)
    numbers = measure(ALL, make_context(identity_model((1,)), x, tmp_path))
    assert numbers["mi_lower"].value == pytest.approx(math.log(200 / 2), abs=1e-9)
    assert numbers["mi_upper"].value == pytest.approx(math.log(199), abs=1e-9)
    assert numbers["mi_saturated"].value == 1


@pytest.mark.parametrize("std", [0.01, 0.3, 1.0, 3.0])
def test_lower_bound_never_passes_its_cap(std, tmp_path):
    x = 3 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    numbers = measure(ALL, make_context(identity_model((2,), std), x, tmp_path))
    assert numbers["mi_lower"].value <= numbers["mi_cap"].value + 1e-12


def brute_force(z: Tensor, mean: Tensor, std: Tensor) -> dict[str, float]:
    """The four numbers from all pairs in float64, written as the definitions are."""
    n = len(z)
    pairs = Normal(mean, std).log_prob(z.unsqueeze(1)).sum(-1).exp()  # q_j(z_i), [i, j]
    own, total = pairs.diagonal(), pairs.sum(1)
    lower = (own.log() - (total / n).log()).mean()
    upper = (own.log() - ((total - own) / (n - 1)).log()).mean()
    rate = (own.log() - Normal(0, 1).log_prob(z).sum(-1)).mean()
    return {
        "mi_lower": float(lower),
        "mi_upper": float(upper),
        "marginal_kl_lower": float(rate - upper),
        "marginal_kl_upper": float(rate - lower),
    }


@pytest.mark.parametrize("tile", [7, 50, 1000])
def test_tiled_estimates_are_those_of_brute_force(tile, tmp_path, monkeypatch):
    monkeypatch.setattr(mutual_information, "TILE", tile)
    context = make_context(MODERATE.model(shift=0.2), MODERATE.sample(60), tmp_path)
    q = context.encoded("test")[:50]
    torch.manual_seed(4)
    z = q.rsample(1)[0].double()
    numbers = measure(MutualInformation(num_data=50), context, seed=4)
    for name, value in brute_force(z, q.mean.double(), torch.exp(0.5 * q.logvar.double())).items():
        assert numbers[name].value == pytest.approx(value, abs=1e-6)
        assert numbers[name].n == 50


@pytest.mark.parametrize(("shift", "log_ratio"), [(0.0, 0.0), (0.8, 0.0), (0.5, 0.7)])
def test_marginal_kl_is_that_of_the_aggregate_posterior(shift, log_ratio, tmp_path):
    """q(z) is Gaussian: means have variance 1 - v, posteriors r v, and all are moved by shift sqrt(v).

    KL(N(m, s2) || N(0, 1)) = 1/2 (m^2 + s2 - log s2 - 1); 0 for the exact posterior, whose aggregate is p(z).
    """
    toy = MODERATE
    numbers = measure(ALL, make_context(toy.model(shift, log_ratio), toy.sample(2000), tmp_path))
    v = toy.variance
    total = 1 - v + math.exp(log_ratio) * v
    exact = float(0.5 * (shift**2 * v + total - total.log() - 1).sum())
    low, high = sandwich(numbers, "marginal_kl_lower", "marginal_kl_upper")
    assert low <= exact <= high
    assert high - low < 0.25


def test_standard_error_is_the_spread_over_seeds(tmp_path):
    """Over fresh data as well as draws: the 200 terms are nearly independent."""
    runs = [
        measure(ALL, make_context(LOW_SNR.model(), LOW_SNR.sample(200, seed), tmp_path), seed)["mi_lower"]
        for seed in range(30)
    ]
    spread = torch.tensor([run.value for run in runs]).std()
    assert 1 / 1.5 < spread / runs[0].standard_error < 1.5


def test_a_posterior_without_pair_densities_is_not_applicable(tmp_path):
    context = make_context(MODERATE.model(posterior=OpaquePosterior), MODERATE.sample(10), tmp_path)
    with pytest.raises(NotApplicableError, match="no closed form"):
        measure(ALL, context)


def test_upper_bounds_without_a_mixture_are_too_large_by_what_their_marginal_lacks(tmp_path):
    """I + KL(q(z) || m), here with q(z) = N(0.8 sqrt(v), I): 0.32 sum_d v_d for the prior, 0 for the fit."""
    toy, shift = MODERATE, 0.8
    context = make_context(toy.model(shift), x := toy.sample(4000), tmp_path)
    numbers = measure(ALL, context)
    q = toy.posterior(x, shift)
    closed = kl_divergence(q, StandardNormal(2, like=q.mean)).sum(1)
    assert numbers["mi_upper_prior"].value == pytest.approx(float(closed.mean()), abs=1e-5)
    assert numbers["mi_upper_prior"].standard_error == pytest.approx(
        float(closed.std()) / 4000**0.5, rel=1e-4
    )
    lack = 0.5 * shift**2 * float(toy.variance.sum())
    for name, expected in (
        ("mi_upper_prior", toy.mutual_information + lack),
        ("mi_upper_gaussian", toy.mutual_information),
    ):
        number = numbers[name]
        assert number.value == pytest.approx(expected, abs=4 * number.standard_error)
        assert number.standard_error < lack / 6


def test_upper_bound_without_a_closed_form_is_taken_at_the_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(mutual_information, "kl_divergence", lambda q, p: None)
    context = make_context(MODERATE.model(shift=0.8), MODERATE.sample(500), tmp_path)
    numbers = measure(ALL, context)
    rate = numbers["mi_lower"].value + numbers["marginal_kl_upper"].value
    assert numbers["mi_upper_prior"].value == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize("num", [2, 3, 9, 200])
def test_codes_are_scored_under_the_gaussian_of_the_other_half(num):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(num, 6, generator=generator, dtype=torch.float64)
    z = z[:, 1:] + z[:, :1]
    expected = torch.empty(num, dtype=torch.float64)
    for i in range(num):
        others = z[[j for j in range(num) if (j - i) % 2]]
        scatter = sum(torch.outer(o - others.mean(0), o - others.mean(0)) for o in others)
        covariance = (scatter + 5 * torch.eye(5)) / (len(others) + 5)
        expected[i] = MultivariateNormal(others.mean(0), covariance).log_prob(z[i])
    torch.testing.assert_close(cross_fitted(z), expected)


def test_a_fit_to_few_codes_does_not_flatter_itself(tmp_path):
    """Of 60 codes of 30 units without information: one fitted to what it scores would say less than 0."""
    model = identity_model((30,))
    model.posterior.mean.weight.data.zero_()
    for seed in range(5):
        numbers = measure(ALL, make_context(model, torch.randn(60, 30), tmp_path), seed)
        assert numbers["mi_upper_gaussian"].value > 0
        assert numbers["mi_interval_low"].value == numbers["mi_interval_high"].value == 0
        assert numbers["mi_interval_low"].standard_error is None


@pytest.mark.parametrize(
    ("shift", "gains", "best"),
    [
        (0.0, (30.0,) * 4, "mi_upper_prior"),
        (1.0, (30.0,) * 4, "mi_upper_gaussian"),
        (1.0, (0.9, 0.8), "mi_upper"),
    ],
)
def test_the_interval_goes_from_the_lower_bound_to_the_smallest_upper_one(shift, gains, best, tmp_path):
    """Sharp posteriors send the mixture's upper bound far up; the prior is out where the codes are moved."""
    toy = LinearGaussian.make(gains=gains)
    model = toy.model(shift)
    if shift and best == "mi_upper_gaussian":
        model.posterior.mean.bias.data += 1
    numbers = measure(ALL, make_context(model, toy.sample(500, seed=1), tmp_path))
    uppers = {name: m.value for name, m in numbers.items() if name.startswith("mi_upper")}
    assert min(uppers, key=uppers.get) == best
    low, high = numbers["mi_interval_low"], numbers["mi_interval_high"]
    for end, chosen in ((low, numbers["mi_lower"]), (high, numbers[best])):
        assert (end.value, end.standard_error, end.n) == (chosen.value, chosen.standard_error, chosen.n)
    assert low.value - 3 * low.standard_error < toy.mutual_information < high.value + 3 * high.standard_error


def test_no_end_of_the_interval_is_below_zero(tmp_path):
    """Next to no information: estimates fall on either side of 0, and one that does not count is exact."""
    model = identity_model((3,))
    model.posterior.mean.weight.data *= 0.02
    below = {"mi_interval_low": 0, "mi_interval_high": 0}
    for seed in range(20):
        numbers = measure(ALL, make_context(model, MODERATE.sample(50, seed)[:, :3], tmp_path), seed)
        high = min(m.value for name, m in numbers.items() if name.startswith("mi_upper"))
        for name, estimate in (("mi_interval_low", numbers["mi_lower"].value), ("mi_interval_high", high)):
            assert numbers[name].value == max(0, estimate)
            assert (numbers[name].standard_error is None) == (estimate <= 0)
            below[name] += estimate < 0
    assert 0 < below["mi_interval_high"] <= below["mi_interval_low"] < 20


@pytest.mark.parametrize("far", [1e9, math.inf])
def test_one_code_that_overflows_costs_the_bound_that_it_ruins_and_no_other(far, tmp_path):
    """The Gaussian of a half with a code so far away is singular; an infinite code leaves no bound at all."""
    model = identity_model((10,))
    x = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    x[7] *= far
    numbers = measure(ALL, make_context(model, x, tmp_path))
    assert numbers["mi_upper_gaussian"].value == math.inf or math.isnan(numbers["mi_upper_gaussian"].value)
    low, high = numbers["mi_interval_low"], numbers["mi_interval_high"]
    if math.isinf(far):
        assert math.isnan(low.value)
    else:
        assert 0 < low.value <= numbers["mi_cap"].value
        assert high.value == min(numbers["mi_upper"].value, numbers["mi_upper_prior"].value)
