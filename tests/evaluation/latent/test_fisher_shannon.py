"""The Fisher-Shannon plane: closed forms of Gaussians, and maps of noise whose densities are known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from vaebench.data.spec import Split
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.latent import fisher_shannon
from vaebench.evaluation.latent.fisher_shannon import FisherShannon
from vaebench.evaluation.layers.fisher import LayerFisher
from vaebench.evaluation.posterior_score import log_density_of_draw, push_with_score
from vaebench.evaluation.validation import validate
from vaebench.likelihoods.gaussian import Gaussian as GaussianLikelihood
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.testing import (
    LinearEncoder,
    OpaquePosterior,
    identity_model,
    latent_model,
    make_context,
    measure,
    saved,
    toy_spec,
)

ALL = FisherShannon(num_flow_data=1000)


def test_units_that_differ_lie_above_the_curve(tmp_path):
    """25 of 40 units at variance 0.05, the others at the prior's: tr J = 515, N = 0.154, N tr J = 79."""
    model = identity_model((40,))
    variance = torch.ones(40)
    variance[:25] = 0.05
    model.posterior.logvar.bias.data.copy_(variance.log())
    context = make_context(model, torch.randn(20, 40), tmp_path)
    numbers = {name: number.value for name, number in measure(ALL, context).items()}
    assert numbers["posterior_fisher"] == pytest.approx(515, rel=1e-6)
    assert numbers["entropy_power"] == pytest.approx(0.05 ** (25 / 40), rel=1e-6)
    assert numbers["posterior_entropy"] == pytest.approx(
        40 / 2 * math.log(2 * math.pi * math.e) + 25 / 2 * math.log(0.05), rel=1e-6
    )
    assert numbers["isotropic_entropy_power"] == pytest.approx(40 / 515, rel=1e-6)
    assert numbers["fisher_shannon_product"] == pytest.approx(79.2 / 40, rel=1e-3)
    stored = saved(context, "fisher_shannon")
    np.testing.assert_allclose(stored["point"], [515, 0.05 ** (25 / 40)], rtol=1e-6)
    assert stored["prior"].tolist() == [40, 1]
    np.testing.assert_allclose(stored["unit_fisher"], 1 / variance.numpy(), rtol=1e-6)
    np.testing.assert_allclose(stored["unit_entropy_power"], variance.numpy(), rtol=1e-6)
    assert (context.directory / "figures/fisher_shannon.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("std", [0.2, 1.0])
def test_isotropic_posteriors_lie_on_the_curve_without_error(std, tmp_path):
    numbers = measure(ALL, make_context(identity_model((3,), std), torch.randn(20, 3), tmp_path))
    assert numbers["fisher_shannon_product"].value == pytest.approx(1, abs=1e-6)
    assert numbers["entropy_power"].value == pytest.approx(std**2, rel=1e-6)
    assert numbers["entropy_power"].value == pytest.approx(numbers["isotropic_entropy_power"].value, rel=1e-6)
    assert all(number.standard_error < 1e-6 for number in numbers.values())


def plane_of(variances: np.ndarray) -> dict[str, float]:
    """The same from the definitions: `[N, D]` variances."""
    n = variances.shape[1]
    trace = (1 / variances).sum(1).mean()
    entropy = 0.5 * np.log(2 * np.pi * np.e * variances).sum(1).mean()
    power = np.exp(2 * entropy / n) / (2 * np.pi * np.e)
    return {
        "posterior_fisher": trace,
        "posterior_entropy": entropy,
        "entropy_power": power,
        "isotropic_entropy_power": n / trace,
        "fisher_shannon_product": power * trace / n,
    }


def test_posteriors_that_move_with_the_data_and_their_errors(tmp_path):
    """Values from the definitions, and errors from leaving out one datum after the other."""
    model = identity_model((3,))
    model.posterior.logvar.weight.data.copy_(torch.tensor([[0.5, 0, 0], [0.2, -0.4, 0], [0, 0, 0.1]]))
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    context = make_context(model, x, tmp_path)
    variances = model.encode(x).logvar.detach().double().exp().numpy()
    left_out = [plane_of(np.delete(variances, number, 0)) for number in range(len(x))]
    numbers = measure(ALL, context)
    for name, value in plane_of(variances).items():
        assert numbers[name].value == pytest.approx(value, rel=1e-6)
        jackknife = np.std([numbers_[name] for numbers_ in left_out]) * (len(x) - 1) ** 0.5
        assert numbers[name].standard_error == pytest.approx(jackknife, rel=0.05)
        assert numbers[name].n == 300
    stored = saved(context, "fisher_shannon")
    np.testing.assert_allclose(stored["unit_fisher"], (1 / variances).mean(0), rtol=1e-5)
    np.testing.assert_allclose(stored["unit_entropy_power"], np.exp(np.log(variances).mean(0)), rtol=1e-5)


@dataclass(frozen=True)
class Pushed:
    """q(z|x) as the law of `to_z(mean + std noise)`, whose density nobody but `push` says."""

    mean: Tensor
    logvar: Tensor
    to_z: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Also gives log |det|."""

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        base = self.mean + torch.exp(0.5 * self.logvar) * noise
        z, log_det = self.to_z(base)
        log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)
        return z, log_noise - 0.5 * self.logvar.sum(-1) - log_det

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        return self.push(torch.randn(num_samples, *self.mean.shape, generator=generator))[0]

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index) -> "Pushed":
        return Pushed(self.mean[index], self.logvar[index], self.to_z)

    @staticmethod
    def cat(parts: Sequence["Pushed"]) -> "Pushed":
        mean, logvar = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "logvar"))
        return Pushed(mean, logvar, parts[0].to_z)


class PushedPosterior(DiagonalPosterior):
    is_gaussian = False

    def forward(self, features: Tensor, bound) -> Pushed:
        gaussian = super().forward(features, bound)
        return Pushed(gaussian.mean, gaussian.logvar, self.to_z)


def pushed_model(to_z, dim: int):
    """q(z|x) is the law of to_z(x + noise / 2)."""
    model = latent_model(toy_spec((dim,)), dim, posterior=PushedPosterior)
    model.posterior.mean.weight.data.copy_(torch.eye(dim))
    model.posterior.mean.bias.data.zero_()
    model.posterior.logvar.weight.data.zero_()
    model.posterior.logvar.bias.data.fill_(2 * math.log(0.5))
    model.posterior.to_z = to_z
    return model


MATRIX = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.5, 0.3], [-1.0, 0.4, 2.0]])


def linear(base: Tensor) -> tuple[Tensor, Tensor]:
    return base @ MATRIX.T, torch.linalg.slogdet(MATRIX).logabsdet


def wavy(base: Tensor) -> tuple[Tensor, Tensor]:
    """z_0 = sinh b_0, z_1 = sinh b_1 + z_0^2: with a dense Jacobian and a density that is known."""
    first, second = torch.sinh(base).unbind(-1)
    log_det = torch.log(torch.cosh(base)).sum(-1)
    return torch.stack([first, second + first.square()], -1), log_det


def wavy_log_prob(q: Pushed, z: Tensor) -> Tensor:
    first, second = z.unbind(-1)
    base = torch.asinh(torch.stack([first, second - first.square()], -1))
    normal = torch.distributions.Normal(q.mean, torch.exp(0.5 * q.logvar))
    return (normal.log_prob(base) - torch.log(torch.cosh(base))).sum(-1)


def test_score_of_a_linear_map_is_that_of_its_gaussian():
    """grad log N(z; A m, A S A^T) = -(A S A^T)^-1 (z - A m)."""
    torch.manual_seed(0)
    q = Pushed(torch.randn(5, 3), torch.randn(5, 3), linear)
    z, log_q, score = push_with_score(q, torch.randn(4, 5, 3))
    covariance = MATRIX @ torch.diag_embed(torch.exp(q.logvar)) @ MATRIX.T
    exact = torch.distributions.MultivariateNormal(q.mean @ MATRIX.T, covariance)
    torch.testing.assert_close(log_q, exact.log_prob(z), rtol=1e-4, atol=1e-4)
    difference = (z - exact.mean).unsqueeze(-1)
    torch.testing.assert_close(
        score, -torch.linalg.solve(covariance, difference)[..., 0], rtol=1e-3, atol=1e-3
    )
    assert not score.requires_grad


def test_score_of_a_nonlinear_map_is_the_gradient_of_its_density():
    torch.manual_seed(0)
    q = Pushed(torch.randn(6, 2), -1 + 0.3 * torch.randn(6, 2), wavy)
    z, log_q, score = push_with_score(q, torch.randn(3, 6, 2))
    z = z.detach().requires_grad_()
    exact = wavy_log_prob(q, z)
    torch.testing.assert_close(log_q, exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score, torch.autograd.grad(exact.sum(), z)[0], rtol=1e-3, atol=1e-3)


def test_gradient_of_a_pushed_density_is_taken_at_a_fixed_draw():
    """Without the inverse of the map, and as if the draw had come from elsewhere."""
    torch.manual_seed(0)
    mean, logvar = torch.randn(6, 2).requires_grad_(), (0.3 * torch.randn(6, 2) - 1).requires_grad_()
    q = Pushed(mean, logvar, wavy)
    torch.manual_seed(1)
    found = torch.autograd.grad(log_density_of_draw(q, mean).sum(), (mean, logvar))
    torch.manual_seed(1)
    z = q.push(torch.randn(1, 6, 2))[0].detach()
    exact = torch.autograd.grad(wavy_log_prob(q, z).sum(), (mean, logvar))
    moving = torch.autograd.grad(q.push(torch.randn(1, 6, 2))[1].sum(), (mean, logvar))
    for one, other, wrong in zip(found, exact, moving, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(one, wrong, rtol=0.1)


def test_linear_flows_have_the_numbers_of_their_gaussian(tmp_path, monkeypatch):
    """J = tr (A A^T)^-1 / s2, H = 1/2 log |2 pi e s2 A A^T|, s2 = 1/4."""
    monkeypatch.setattr(fisher_shannon, "BATCH", 300)
    context = make_context(pushed_model(linear, 3), torch.randn(1300, 3), tmp_path)
    numbers = measure(ALL, context)
    covariance = (MATRIX @ MATRIX.T).double() / 4
    precision = torch.linalg.inv(covariance)
    entropy = 0.5 * float(torch.logdet(2 * math.pi * math.e * covariance))
    exact = {"posterior_fisher": float(precision.trace()), "posterior_entropy": entropy}
    exact["entropy_power"] = math.exp(2 * entropy / 3) / (2 * math.pi * math.e)
    for name, value in exact.items():
        assert abs(numbers[name].value - value) < 4 * numbers[name].standard_error < 0.25 * abs(value)
        assert numbers[name].n == 1000
    stored = saved(context, "fisher_shannon")
    np.testing.assert_allclose(stored["unit_fisher"], precision.diagonal(), rtol=0.2)
    assert "unit_entropy_power" not in stored


def test_nonlinear_flows_have_the_numbers_of_numeric_integration(tmp_path):
    """Sums over a grid of z of q (log q)'^2 and -q log q, by finite differences; the data are all one."""
    x = torch.tensor([[0.3, -0.4]])
    context = make_context(pushed_model(wavy, 2), x.repeat(4000, 1), tmp_path)
    q = Pushed(x.double(), torch.full((1, 2), 2 * math.log(0.5), dtype=torch.float64), wavy)
    # Along z_1 - z_0^2 the density is a product: one axis of the grid moves with the other.
    axis = torch.sinh(torch.linspace(-3.5, 3.5, 351, dtype=torch.float64))
    first, second = torch.meshgrid(axis, axis, indexing="ij")
    z = torch.stack([first, second + first.square()], -1)
    area = torch.gradient(axis)[0][:, None] * torch.gradient(axis)[0]
    step, weight = 1e-4, area * wavy_log_prob(q, z).exp()
    assert float(weight.sum()) == pytest.approx(1, abs=1e-3)
    fisher = 0.0
    for unit in torch.eye(2, dtype=torch.float64) * step:
        slope = (wavy_log_prob(q, z + unit) - wavy_log_prob(q, z - unit)) / (2 * step)
        fisher += float((weight * slope.square()).sum())
    entropy = -float((weight * wavy_log_prob(q, z)).sum())
    numbers = measure(FisherShannon(num_flow_data=4000), context)
    for name, value in ("posterior_fisher", fisher), ("posterior_entropy", entropy):
        assert abs(numbers[name].value - value) < 4 * numbers[name].standard_error < 0.25 * abs(value)
    assert numbers["fisher_shannon_product"].value > 1


def test_a_posterior_of_which_nothing_is_known_is_not_applicable(tmp_path):
    class Unknown(OpaquePosterior):
        is_gaussian = False

    model = latent_model(toy_spec((4,)), 2, posterior=Unknown)
    with pytest.raises(NotApplicableError, match="needs a Gaussian or a flow posterior"):
        measure(ALL, make_context(model, torch.randn(10, 4), tmp_path))


def test_information_of_encoder_layers_is_that_before_the_flow(tmp_path):
    """A fixed map leaves that of N(Wx, s2 I), D / s2 E(||x||^2 + 1); its inverse is never asked for."""
    torch.manual_seed(0)
    model = pushed_model(wavy, 2)
    model.encoder = LinearEncoder(2, 2)
    x = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    context = make_context(model, x, tmp_path)
    numbers = measure(LayerFisher(kind="true_fisher", num_data=None, num_samples=40), context)
    exact = 2 / 0.25 * float(x.double().square().sum(1).mean() + 1)
    assert numbers["fisher_encoder_trace"].value == pytest.approx(exact, rel=0.05)


def test_validation_records_the_same_point_and_the_plane_keeps_its_trajectory(tmp_path):
    model = latent_model(
        toy_spec((6,)), 3, partial(GaussianLikelihood, std=1.0, learn_std=False, mean="linear"), depth=1
    )
    data = Split(torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), None)
    line = {"epoch": 1, "valid": validate(model, data, seed=0)}
    numbers = measure(ALL, make_context(model, data, tmp_path, history=[line, line]))
    for name in ("posterior_fisher", "entropy_power"):
        assert line["valid"][name] == pytest.approx(numbers[name].value, rel=1e-6)
    path = saved(make_context(model, data, tmp_path), "fisher_shannon")["trajectory"]
    assert path.tolist() == [[line["valid"]["posterior_fisher"], line["valid"]["entropy_power"]]] * 2


def test_a_posterior_without_a_closed_form_has_no_trajectory(tmp_path):
    model = latent_model(
        toy_spec((6,)),
        3,
        partial(GaussianLikelihood, std=1.0, learn_std=False, mean="linear"),
        OpaquePosterior,
    )
    model.posterior.is_gaussian = False
    assert set(validate(model, Split(torch.randn(5, 6), None), 0)) == {
        "elbo", "reconstruction", "kl", "active_units",
    }  # fmt: skip
