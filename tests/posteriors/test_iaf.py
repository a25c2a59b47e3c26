"""The flow posterior: its density against autograd, against its inverse, and as one that sums to one."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from tests.runs import small_run
from vaebench.distributions import Gaussian, kl_divergence
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.posteriors.iaf import Flow, Flowed, IAFPosterior
from vaebench.testing import LinearGaussian, latent_model, make_context, measure, toy_spec

OPTIONS: dict[str, Any] = {
    "logvar_range": None,
    "context_dim": 3,
    "num_steps": 3,
    "depth": 2,
    "width": 24,
    "activation": "tanh",
    "num_mean_draws": 8,
}
TOY = LinearGaussian.make(gains=(1.5, 0.8))


def strengthen(posterior: IAFPosterior, by: float = 3.0) -> IAFPosterior:
    """A flow far from the identity, with gates of either sign."""
    with torch.no_grad():
        for step in posterior.flow.steps:
            step.output.weight.mul_(by)  # type: ignore[union-attr, operator]
            step.context.weight.mul_(by)  # type: ignore[union-attr, operator]
    return posterior


def posterior_of(dim: int, **options: Any) -> IAFPosterior:
    torch.manual_seed(1)
    return strengthen(IAFPosterior(5, dim, **(OPTIONS | options)).double())


def q_of(dim: int, batch: int = 4, **options: Any) -> Flowed:
    posterior = posterior_of(dim, **options)
    return posterior(torch.randn(batch, 5, dtype=torch.float64), bound)


def bound(q: Any) -> Tensor:
    raise AssertionError("an amortised posterior does not ask for the bound")


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_density_of_pushed_noise_is_that_of_autograds_jacobian(num_steps: int) -> None:
    """log q(z) = log N(eps; 0, I) - log |det dz/deps|."""
    q, noise = q_of(5, batch=1, num_steps=num_steps), torch.randn(5, dtype=torch.float64)
    matrix = jacobian(lambda e: q.push(e.view(1, 1, 5))[0].flatten(), noise)
    expected = Normal(0.0, 1.0).log_prob(noise).sum() - torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(q.push(noise.view(1, 1, 5))[1], expected.view(1, 1))
    if num_steps > 1:  # the second step's order is the other one
        assert (matrix.triu(1).abs() > 1e-6).any()
        assert (matrix.tril(-1).abs() > 1e-6).any()


def test_steps_mix_code_and_mean_by_the_gate() -> None:
    """z_1 = sigma z_0 + (1 - sigma) m, with sigma = sigmoid(s + 1.5)."""
    q, noise = q_of(3, num_steps=1), torch.randn(2, 4, 3, dtype=torch.float64)
    before = q.base.mean + (0.5 * q.base.logvar).exp() * noise
    mean, gate = q.flow.steps[0](before, q.context)
    sigma = 1 / (1 + torch.exp(-(gate + 1.5)))
    z, log_density = q.push(noise)
    torch.testing.assert_close(z, sigma * before + (1 - sigma) * mean)
    torch.testing.assert_close(log_density, q.base.log_prob(before) - sigma.log().sum(-1))


def test_with_silent_networks_the_flow_scales_by_the_open_gates() -> None:
    """m = s = 0: z_T = sigmoid(1.5)^T z_0, a Gaussian."""
    posterior = posterior_of(3)
    for step in posterior.flow.steps:
        for parameter in step.output.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(parameter)
    q = posterior(torch.randn(4, 5, dtype=torch.float64), bound)
    log_sigma = 3 * math.log(1 / (1 + math.exp(-1.5)))
    expected = Gaussian(math.exp(log_sigma) * q.base.mean, q.base.logvar + 2 * log_sigma)
    z = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(q.mean, expected.mean)  # pairs of noise: no error where the flow is linear
    torch.testing.assert_close(q.rsample(3).shape, torch.Size([3, 4, 3]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_by_inversion_equals_that_of_sampling(dtype: torch.dtype) -> None:
    q = posterior_of(5).to(dtype)(torch.randn(4, 5, dtype=dtype), bound)
    z, sampled = q.rsample_with_log_prob(7)
    inverted = q.log_prob(z)
    assert sampled.dtype == inverted.dtype == dtype
    assert sampled.shape == (7, 4)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    torch.testing.assert_close(inverted, sampled, rtol=0, atol=tolerance)


def test_samples_with_and_without_their_density_are_the_same() -> None:
    q = q_of(3)
    torch.manual_seed(0)
    z, _ = q.rsample_with_log_prob(4)
    torch.manual_seed(0)
    assert torch.equal(z, q.rsample(4))


def test_terms_take_the_density_from_sampling_and_invert_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inverse is D passes for each step of the flow."""
    monkeypatch.setattr(Flow, "inverse", lambda *_: pytest.fail("inverted"))
    options = {name: value for name, value in OPTIONS.items() if name != "logvar_range"}
    model = latent_model(toy_spec((4,)), 3, posterior=partial(IAFPosterior, **options))
    terms = model.terms(torch.rand(2, 4), 3)
    assert terms.log_qz_x is terms.sampled_log_qz_x
    assert terms.log_w.shape == (3, 2)


def test_both_densities_have_the_same_gradient_as_the_density_has() -> None:
    """At fixed z the inverse's gradient is that of finite differences; along z it is the chain rule's."""
    q, z = q_of(3, batch=2), torch.randn(1, 2, 3, dtype=torch.float64)
    weight = q.flow.steps[1].output.weight
    direction = torch.randn_like(weight)  # type: ignore[arg-type]

    def total(at: float) -> Tensor:
        with torch.no_grad():
            weight.add_(at * direction)  # type: ignore[operator]
            value = q.log_prob(z).sum()
            weight.sub_(at * direction)  # type: ignore[operator]
        return value

    (gradient,) = torch.autograd.grad(q.log_prob(z).sum(), weight)  # type: ignore[arg-type]
    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)
    torch.manual_seed(2)
    drawn, log_density = q.rsample_with_log_prob(3)
    pathwise = torch.autograd.grad(log_density.sum(), weight, retain_graph=True)  # type: ignore[arg-type]
    inverted = torch.autograd.grad(q.log_prob(drawn).sum(), weight)  # type: ignore[arg-type]
    torch.testing.assert_close(pathwise, inverted)


@pytest.mark.parametrize("dim", [1, 2])
def test_density_integrates_to_one(dim: int) -> None:
    q, side = q_of(dim, batch=1), torch.linspace(-7, 7, 400 if dim == 1 else 200, dtype=torch.float64)
    grid = torch.cartesian_prod(*[side] * dim).view(-1, 1, dim)
    with torch.no_grad():
        mass = q.log_prob(grid).exp().sum() * (side[1] - side[0]) ** dim
    assert float(mass) == pytest.approx(1, abs=2e-3)


def test_density_is_that_of_the_draws() -> None:
    """E_q[z] and E_q[z^2] by draws, and by integrating the density over a grid."""
    q, side = q_of(1, batch=1), torch.linspace(-7, 7, 400, dtype=torch.float64)
    with torch.no_grad():
        density = q.log_prob(side.view(-1, 1, 1)).exp().flatten() * (side[1] - side[0])
        draws = q.rsample(100_000, torch.Generator().manual_seed(0)).flatten()
    for power in (1, 2):
        error = float(draws.pow(power).std()) / len(draws) ** 0.5
        assert abs(float(draws.pow(power).mean() - (density * side**power).sum())) < 4 * error


def test_slices_and_joins_keep_each_datums_density_and_mean() -> None:
    q, z = q_of(3, batch=6), torch.randn(2, 6, 3, dtype=torch.float64)
    index = torch.tensor([4, 1])
    torch.testing.assert_close(q[index].log_prob(z[:, index]), q.log_prob(z)[:, index])
    joined = q[:2].cat([q[:2], q[2:]])
    assert (len(q), len(q[2:5]), len(joined)) == (6, 3, 6)
    torch.testing.assert_close(joined.log_prob(z), q.log_prob(z))
    torch.testing.assert_close(q[3:].mean, q.mean[3:])
    torch.testing.assert_close(joined.mean, q.mean)
    assert q.to("cpu") is q


def test_a_copy_elsewhere_leaves_the_models_flow_in_its_place() -> None:
    q = q_of(3)
    away = q.to("meta")
    assert away.flow is not q.flow
    assert {p.device.type for p in away.flow.parameters()} == {away.base.mean.device.type} == {"meta"}
    assert {p.device.type for p in q.flow.parameters()} == {"cpu"}


@pytest.mark.slow
def test_mean_is_within_its_error_of_the_mean_of_many_draws_and_always_the_same() -> None:
    q = replace(q_of(2), num_mean_draws=512)
    with torch.no_grad():
        draws = q.rsample(50_000)
    error = draws.std(0) / (512 / 2) ** 0.5
    assert ((q.mean - draws.mean(0)).abs() < 3 * error).all()
    torch.manual_seed(77)
    assert torch.equal(replace(q).mean, q.mean)
    assert not q.mean.requires_grad
    state = torch.get_rng_state()
    _ = replace(q, num_mean_draws=7).mean
    assert torch.equal(torch.get_rng_state(), state)


def test_mean_of_a_code_that_ignores_x_does_not_move_with_x() -> None:
    """Otherwise the error of the mean would pass for active units."""
    q = q_of(3)
    same = Flowed(
        Gaussian(*(t[:1].expand(4, 3) for t in (q.base.mean, q.base.logvar))),
        q.context[:1].expand(4, 3),
        q.flow,
        8,
    )
    assert float(same.mean.detach().var(0).max()) < 1e-28


def linear_gaussian_model() -> Any:
    """The toy with a flow after its exact posterior, which makes it wrong."""
    model = TOY.model(shift=0.2, log_ratio=0.9)
    torch.manual_seed(3)
    posterior = IAFPosterior(6, 2, **(OPTIONS | {"num_steps": 2}))
    posterior.base = model.posterior
    model.posterior = posterior
    return model.eval()


def test_importance_sampled_nll_of_the_linear_gaussian_toy_is_within_its_error(tmp_path: Path) -> None:
    context = make_context(linear_gaussian_model(), x := TOY.sample(100), tmp_path)
    truth = -float(TOY.log_px(x).mean())
    numbers = measure(ImportanceSampledNLL(num_samples=2000, num_data=None, subset="first"), context)
    assert abs(numbers["nll_nats"].value - truth) < 3 * numbers["nll_mc_error"].value
    assert numbers["nll_mc_error"].value < 0.02
    assert numbers["ess_median"].value < 1900
    elbo = measure(EvidenceLowerBound(num_samples=50), context)["elbo"].value
    assert -elbo > truth + 0.1  # it is not the exact posterior


def test_the_kl_has_no_closed_form_and_pair_densities_are_not_applicable(tmp_path: Path) -> None:
    model, x = linear_gaussian_model(), TOY.sample(10)
    terms = model.terms(x, 2)
    assert kl_divergence(terms.q, terms.p) is None
    assert not model.has_gaussian_posterior
    torch.testing.assert_close(terms.kl_per_datum, (terms.log_qz_x - terms.log_pz).mean(0))
    with pytest.raises(NotApplicableError, match="no closed form"):
        measure(MutualInformation(num_data=None), make_context(model, x, tmp_path))


def test_training_moves_every_weight_of_the_posterior() -> None:
    model = linear_gaussian_model()
    model.terms(TOY.sample(10), 2).log_w.mean().backward()
    silent = [name for name, p in model.posterior.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch hides it, but not from pytest
def test_a_compiled_step_remembers_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = linear_gaussian_model(), TOY.sample(4)
    monkeypatch.setattr(Flow, "inverse", lambda *_: pytest.fail("inverted its own draw"))

    def loss(x: Tensor) -> Tensor:
        return model.terms(x, 2).kl_per_datum.mean()

    numbers = []
    for function in (loss, torch.compile(loss, backend="eager")):
        torch.manual_seed(0)
        numbers.append(function(x))
    torch.testing.assert_close(*numbers)


@pytest.mark.slow
def test_the_family_trains_and_is_measured(tmp_path: Path) -> None:
    results = small_run(
        tmp_path, "model=iaf_vae", "training.steps=5", "model.posterior.width=16",
        "model.objective.free_bits=0.5", "evaluation=quick", "~evaluation.svm_probe",
        "~evaluation.mlp_probe", "~evaluation.curves", "~evaluation.reconstructions",
    )  # fmt: skip
    states = {entry["name"]: entry["status"] for entry in results["evaluations"]}
    assert states.pop("mutual_information") == "not_applicable"
    assert {*states} == {"bound", "nll", "active_units"}
    assert {*states.values()} == {"complete"}
