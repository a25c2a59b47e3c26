"""The mutual autoencoder: its bound where the mutual information is known, and who learns from what."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaebench.distributions import LOG_2PI
from vaebench.errors import UserError
from vaebench.models.latent import LatentModel
from vaebench.networks.mlp import MLPEncoder
from vaebench.objectives.elbo import ELBO
from vaebench.objectives.mae import MAE
from vaebench.parts import Loss
from vaebench.priors.vamp import VampPrior
from vaebench.runner.step import make_step
from vaebench.testing import PLAIN, LinearGaussian, latent_model, set_affine, toy_spec

STEP = torch.zeros((), dtype=torch.int64)
TOY = LinearGaussian.make(gains=(1.5, 0.8))
BITS = 6
ELBO_KNOBS = {"beta": 1.0, "warmup_epochs": 0.0, "free_bits": 0.0, "num_samples": 1}
SGD = partial(torch.optim.SGD, lr=0.1)


def mae(model: nn.Module, depth: int = 0, **options: Any) -> MAE:
    """With an r that is affine in x, unless it has hidden layers."""
    network = partial(MLPEncoder, depth=depth, width=16, activation="tanh", **PLAIN)
    known = {"information": 10.0, "weight": 1.0, "estimator": "straight_through", "logvar_range": None}
    return MAE(10, model, network=network, optimizer=SGD, **(ELBO_KNOBS | known | options))  # type: ignore[arg-type]


def with_posterior(toy: LinearGaussian, shift: float = 0.0, log_ratio: float = 0.0, **options: Any) -> MAE:
    """Whose r is the exact posterior, moved as LinearGaussian.posterior moves it."""
    model = toy.model(shift, log_ratio)
    objective = mae(model, **options)
    objective.inverse.mean.load_state_dict(model.posterior.mean.state_dict())
    objective.inverse.logvar.load_state_dict(model.posterior.logvar.state_dict())
    return objective


def bound(objective: MAE, model: LatentModel, num: int = 20_000) -> float:
    """Ihat from `num` draws; which data the ELBO is of does not matter to it."""
    torch.manual_seed(0)
    with torch.no_grad():
        return float(
            objective(model.terms(torch.zeros(num, *model.spec.shape)), STEP, model).parts["mi_bound"]
        )


def error(toy: LinearGaussian, num: int = 20_000) -> float:
    """Four standard errors of Ihat at r = p(z|x): log r - log p(z) has the variance sum_d (1 - v_d)."""
    return 4 * math.sqrt(float((1 - toy.variance).sum()) / num)


@pytest.mark.parametrize("gains", [(1.5, 0.8), (0.3, 0.2, 0.1), (3.0,)])
def test_bound_of_the_exact_posterior_is_the_mutual_information(gains: tuple[float, ...]) -> None:
    toy = LinearGaussian.make(gains=gains)
    found = bound(with_posterior(toy), toy.model())
    assert found == pytest.approx(toy.mutual_information, abs=error(toy))


@pytest.mark.parametrize(("shift", "log_ratio"), [(0.7, 0.0), (0.0, 0.6), (0.0, -0.6), (-0.4, 0.3)])
def test_any_other_r_gives_less_by_its_divergence_from_the_posterior(shift: float, log_ratio: float) -> None:
    """The gap is E KL(p(z|x) || r) = 1/2 sum_d (exp(-l) (1 + s^2) - 1 + l), s in posterior deviations."""
    gap = 0.5 * len(TOY.variance) * (math.exp(-log_ratio) * (1 + shift**2) - 1 + log_ratio)
    found = bound(with_posterior(TOY, shift, log_ratio), TOY.model())
    assert found == pytest.approx(TOY.mutual_information - gap, abs=3 * error(TOY))
    assert found < TOY.mutual_information


def test_at_the_means_the_bound_is_not_one_on_the_mutual_information() -> None:
    """The exact posterior's mean at x = Wz + b is (1 - v) z: its residuals have the variance v^2, not v."""
    found = bound(with_posterior(TOY, estimator="mean"), TOY.model())
    expected = TOY.mutual_information + 0.5 * float((1 - TOY.variance).sum())
    assert found == pytest.approx(expected, abs=2 * error(TOY))
    assert found > TOY.mutual_information + 0.5


def test_entropy_by_monte_carlo_agrees_with_the_closed_form() -> None:
    """D/2 log(2 pi e) + E log r, from the same draws."""
    objective, model = with_posterior(TOY, 0.4), TOY.model()
    found = bound(objective, model)
    torch.manual_seed(1)
    z = torch.randn(20_000, 2)
    with torch.no_grad():
        log_r = objective.inverse(objective.read(z, model)).log_prob(z)
    assert found == pytest.approx(
        0.5 * 2 * (LOG_2PI + 1) + float(log_r.mean()), abs=4 * (2 / 20_000) ** 0.5 + error(TOY)
    )


def test_an_r_that_is_the_prior_has_no_information_and_no_noise() -> None:
    objective = mae(TOY.model())
    set_affine(objective.inverse.mean, 0.0, 0.0)
    set_affine(objective.inverse.logvar, 0.0, 0.0)
    assert bound(objective, TOY.model(), num=10) == pytest.approx(0, abs=1e-6)


def test_with_a_mixture_prior_the_entropy_is_the_mixtures() -> None:
    """Against quadrature, in one dimension: two components far apart, and r of standard deviation 2."""
    torch.manual_seed(0)
    model = latent_model(toy_spec((3,)), 1)
    model.prior = VampPrior(1, (3,), num_components=2, init_mean=0.5, init_std=0.3)
    set_affine(model.posterior.mean, 5.0, 0.0)
    objective = mae(model)
    set_affine(objective.inverse.mean, 0.0, 1.0)
    set_affine(objective.inverse.logvar, 0.0, math.log(4))
    z = torch.linspace(-60, 60, 200_001, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        log_p = model.prior_distribution().log_prob(z)
    log_r = torch.distributions.Normal(1, 2).log_prob(z.double()).squeeze(1)
    expected = float((log_p.exp() * (log_r - log_p)).sum() * 120 / 200_000)
    assert expected < -1
    assert bound(objective, model) == pytest.approx(expected, rel=0.02)


class Binary:
    """A Bernoulli decoder of BITS pixels over two units, whose mutual information is known by quadrature."""

    def __init__(self, gain: float) -> None:
        torch.manual_seed(0)
        self.model = latent_model(toy_spec((BITS,)), 2)
        set_affine(self.model.decoder.output, gain * torch.randn(BITS, 2), 0.3 * torch.randn(BITS))

    @property
    def mutual_information(self) -> float:
        """sum_x sum_z p(z) p(x|z) log p(x|z) / p(x), on a grid of z and for every x."""
        axis = torch.linspace(-6, 6, 61, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        weight = torch.exp(-0.5 * z.square().sum(1))
        weight = weight / weight.sum()
        x = torch.tensor(list(product([0.0, 1.0], repeat=BITS)), dtype=torch.float64)
        with torch.no_grad():
            logits = self.model.decode(z.float().unsqueeze(0)).squeeze(0).double()
        log_px_z = torch.distributions.Bernoulli(logits=logits.unsqueeze(1)).log_prob(x).sum(-1)  # [z, x]
        log_px = torch.log(weight @ log_px_z.exp())
        return float(weight @ (log_px_z.exp() * (log_px_z - log_px)).sum(1))

    def learn(self, objective: MAE, steps: int = 150) -> None:
        """Train r alone."""
        optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
        torch.manual_seed(0)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = objective(self.model.terms(torch.zeros(300, BITS)), STEP, self.model)
            assert loss.auxiliary is not None
            loss.auxiliary.backward()
            optimizer.step()


def test_on_binary_data_a_learned_r_comes_near_the_information_from_below() -> None:
    """I <= H(x) <= 6 log 2 nats, which H(z) = log(2 pi) + 1 nats does not reach: the issue's order holds."""
    binary = Binary(gain=4.0)
    objective = mae(binary.model, depth=1)
    start = bound(objective, binary.model)
    binary.learn(objective)
    found, truth = bound(objective, binary.model), binary.mutual_information
    assert start < 0.5 * truth
    assert 0.7 * truth < found < truth


@pytest.mark.parametrize("lowest", [-LOG_2PI, -6.0])
def test_bound_is_below_the_priors_entropy_where_rs_density_is_below_one(lowest: float) -> None:
    """With variances of at least 1/(2 pi), log r <= 0; a sharper r may exceed a differential entropy."""
    toy = LinearGaussian.make(gains=(20.0, 20.0))
    entropy = 0.5 * 2 * (LOG_2PI + 1)
    assert toy.mutual_information > entropy + 3
    found = bound(with_posterior(toy, logvar_range=(lowest, 2.0)), toy.model())
    assert (found < entropy) == (lowest == -LOG_2PI)
    assert found < toy.mutual_information


def evaluate(objective: MAE, model: LatentModel, num: int = 50) -> Loss:
    torch.manual_seed(0)
    return objective(model.terms(torch.zeros(num, *model.spec.shape)), STEP, model)


@pytest.mark.parametrize(("information", "weight"), [(10.0, 1.0), (0.0, 0.3)])
def test_loss_is_the_elbos_and_the_weighted_distance_from_the_wanted_value(
    information: float, weight: float
) -> None:
    model = TOY.model()
    loss = evaluate(with_posterior(TOY, information=information, weight=weight), model)
    torch.manual_seed(0)
    elbo = ELBO(10, model, **ELBO_KNOBS)(model.terms(torch.zeros(50, 6)), STEP, model)  # type: ignore[arg-type]
    distance = (loss.parts["mi_bound"] - information).abs()
    torch.testing.assert_close(loss.parts["penalty"], distance)
    torch.testing.assert_close(loss.total, elbo.total + weight * distance)
    assert {name: loss.parts[name] for name in elbo.parts} == elbo.parts
    assert loss.parts.keys() == elbo.parts.keys() | {"mi_bound", "penalty"}


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    parameters = list(module.parameters())
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


@pytest.mark.parametrize("estimator", ["straight_through", "mean"])
def test_the_model_learns_from_the_total_and_r_from_its_own_loss_alone(estimator: str) -> None:
    model = Binary(gain=1.0).model
    objective = mae(model, depth=1, estimator=estimator)
    loss = evaluate(objective, model)
    assert loss.auxiliary is not None
    assert all(gradient is None for gradient in gradients(loss.total, objective))
    assert all(gradient is None for gradient in gradients(loss.auxiliary, model))
    assert all(gradient is not None and gradient.any() for gradient in gradients(loss.auxiliary, objective))
    penalty = loss.parts["penalty"]
    assert all(gradient is not None and gradient.any() for gradient in gradients(penalty, model.decoder))
    assert all(gradient is None for gradient in gradients(penalty, model.posterior))


def test_penalty_pushes_the_decoder_towards_the_wanted_information() -> None:
    """dI/dgain > 0: below M a descent step raises the gains, above M it lowers them."""
    for information, sign in ((10.0, 1), (0.0, -1)):
        model = TOY.model()
        loss = evaluate(with_posterior(TOY, information=information), model, num=5000)
        (gradient,) = torch.autograd.grad(loss.parts["penalty"], model.decoder.output.weight)
        along = (gradient * model.decoder.output.weight.detach()).sum()
        assert float(along) * sign < -0.1


def test_straight_through_reads_draws_and_has_the_means_gradient() -> None:
    model = Binary(gain=1.0).model
    z = torch.randn(200, 2)
    drawn, mean = (mae(model, estimator=name).read(z, model) for name in ("straight_through", "mean"))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert float((drawn - mean).mean(0).abs().max().detach()) < 4 * 0.5 / 200**0.5
    for a, b in zip(gradients(drawn.sum(), model.decoder), gradients(mean.sum(), model.decoder), strict=True):
        assert a is not None
        assert b is not None
        torch.testing.assert_close(a, b)


def test_a_step_moves_each_along_its_own_gradient() -> None:
    model = Binary(gain=1.0).model
    x = torch.rand(20, BITS).round()
    objective = mae(model, depth=1)
    torch.manual_seed(0)
    loss = objective(model.terms(x), STEP, model)
    assert loss.auxiliary is not None
    before = [
        parameter.detach().clone() for module in (model, objective) for parameter in module.parameters()
    ]
    descents = [0.5 * gradient for gradient in gradients(loss.total, model) if gradient is not None]
    descents += [0.1 * gradient for gradient in gradients(loss.auxiliary, objective) if gradient is not None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    step = make_step(
        model, objective, optimizer, objective.auxiliary_optimizer(), schedule, None, compiled=False
    )
    torch.manual_seed(0)
    step(x, STEP)
    after = [parameter.detach() for module in (model, objective) for parameter in module.parameters()]
    for was, descent, now in zip(before, descents, after, strict=True):
        torch.testing.assert_close(now, was - descent)


class OneByOne(LatentModel):
    """As if its decoder read the data."""

    @property
    def decodes_in_parallel(self) -> bool:
        return False


class WithoutDensity(LatentModel):
    has_density = False


@pytest.mark.parametrize("family", [OneByOne, WithoutDensity])
def test_models_that_cannot_be_drawn_from_at_once_are_refused(family: type[LatentModel]) -> None:
    with pytest.raises(UserError, match=r"model\.objective: MAE samples x .* use model/decoder=mlp"):
        mae(latent_model(toy_spec((BITS,)), 2, family=family))


def test_whether_a_model_decodes_in_parallel_is_its_decoders_to_say() -> None:
    model = TOY.model()
    assert model.decodes_in_parallel
    model.decoder.is_autoregressive = True
    assert not model.decodes_in_parallel


def test_r_shares_no_weights_with_the_model() -> None:
    model = TOY.model()
    ids = {id(parameter) for parameter in mae(model, depth=1).parameters()}
    assert ids
    assert not ids & {id(parameter) for parameter in model.parameters()}
