"""The ELBO and its knobs."""

import pytest
import torch
from torch import Tensor, nn

from tests.counting import count_draws
from vaebench.distributions import Gaussian, StandardNormal
from vaebench.objectives.elbo import ELBO
from vaebench.parts import Loss
from vaebench.runner.step import make_step
from vaebench.terms import Terms
from vaebench.testing import LinearGaussian, Opaque, OpaquePosterior

MODEL = nn.Identity()  # the ELBO asks nothing of the model


def elbo(**knobs: float) -> ELBO:
    known = {"beta": 1.0, "warmup_epochs": 0, "free_bits": 0, "num_samples": 1}
    return ELBO(10, MODEL, **(known | knobs))  # type: ignore[arg-type]


def make_terms(q: Gaussian | None = None, num_samples: int = 3, opaque: bool = False) -> Terms:
    """Terms with a made-up reconstruction, in float64."""
    generator = torch.Generator().manual_seed(0)
    if q is None:
        q = Gaussian(*torch.randn(2, 5, 4, generator=generator, dtype=torch.float64))
    log_px_z = torch.randn(num_samples, len(q), generator=generator, dtype=torch.float64)
    p = StandardNormal(q.mean.shape[1], like=q.mean)
    z = q.rsample(num_samples, generator)
    return Terms(log_px_z=log_px_z, z=z, q=Opaque(q) if opaque else q, p=p)


def evaluate(objective: ELBO, terms: Terms, step: int = 0) -> Loss:
    return objective(terms, torch.tensor(step), MODEL)


def kl_of(q: Gaussian) -> Tensor:
    """KL(q || N(0, I)) per unit, from torch."""
    normal = torch.distributions.Normal
    prior = normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
    return torch.distributions.kl_divergence(normal(q.mean, q.std), prior)


@pytest.mark.parametrize("opaque", [False, True], ids=["closed form", "Monte Carlo"])
def test_loss_is_minus_elbo_at_beta_one(opaque):
    loss = evaluate(elbo(), make_terms(opaque=opaque))
    torch.testing.assert_close(loss.total, -loss.parts["elbo"])


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_beta_weighs_the_kl_in_the_loss_but_not_in_the_elbo(beta):
    terms = make_terms()
    loss = evaluate(elbo(beta=beta), terms)
    kl, reconstruction = kl_of(terms.q).sum(1).mean(), terms.log_px_z.mean()
    torch.testing.assert_close(loss.total, beta * kl - reconstruction)
    torch.testing.assert_close(
        loss.parts, {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    )


def test_warmup_rises_linearly_by_the_step_and_stays_at_one():
    objective = elbo(beta=2.0, warmup_epochs=2)
    assert objective.warmup_steps == 20
    terms = make_terms()
    kl, reconstruction = kl_of(terms.q).sum(1).mean(), terms.log_px_z.mean()
    for step, factor in ((0, 0.0), (5, 0.25), (10, 0.5), (20, 1.0), (10_000, 1.0)):
        torch.testing.assert_close(evaluate(objective, terms, step).total, 2 * factor * kl - reconstruction)


def test_warmup_never_leaves_the_device():
    """Under vmap, as on a device, reading the step on the host would be an error."""
    steps = torch.arange(0, 41, 10)
    assert torch.vmap(elbo(warmup_epochs=2).warmup)(steps).tolist() == [0, 0.5, 1, 1, 1]


def two_units() -> Gaussian:
    """Unit 0 has a batch-mean KL of 1/2 * mean(mean^2) = 0.025, unit 1 of 1.25."""
    mean = torch.tensor([[0.1, 1.0], [0.3, 2.0]], dtype=torch.float64, requires_grad=True)
    return Gaussian(mean, torch.zeros(2, 2, dtype=torch.float64))


def test_free_bits_push_only_the_units_above_the_threshold():
    q = two_units()
    loss = evaluate(elbo(free_bits=0.5), make_terms(q))
    (gradient,) = torch.autograd.grad(loss.total, q.mean)
    torch.testing.assert_close(gradient[:, 1], q.mean[:, 1] / 2)  # of the batch mean
    assert gradient[:, 0].tolist() == [0, 0]
    torch.testing.assert_close(loss.total + loss.parts["reconstruction"], torch.tensor(0.5 + 1.25).double())
    torch.testing.assert_close(loss.parts["kl"], torch.tensor(0.025 + 1.25).double())
    torch.testing.assert_close(loss.parts["elbo"], loss.parts["reconstruction"] - loss.parts["kl"])


def test_free_bits_are_of_the_batch_mean_not_of_each_datum():
    """The data's KLs of unit 1 are 0.5 and 2: with 1 nat free, a threshold by datum would spare the first."""
    q = two_units()
    (gradient,) = torch.autograd.grad(evaluate(elbo(free_bits=1.0), make_terms(q)).total, q.mean)
    assert (gradient[:, 1] != 0).all()


def test_free_bits_without_closed_form_are_of_the_whole_code():
    terms = make_terms(opaque=True)
    kl = (terms.log_qz_x - terms.log_pz).mean()
    for threshold, penalty in ((float(kl) + 1, kl + 1), (float(kl) - 0.1, kl)):
        loss = evaluate(elbo(free_bits=threshold), terms)
        torch.testing.assert_close(loss.total + loss.parts["reconstruction"], penalty)


def test_monte_carlo_kl_agrees_with_the_closed_form_within_its_error():
    terms = make_terms(num_samples=20_000, opaque=True)
    draws = (terms.log_qz_x - terms.log_pz).mean(1)
    closed = kl_of(terms.q.inner).sum(1).mean()
    assert (evaluate(elbo(), terms).parts["kl"] - closed).abs() < 4 * draws.std() / len(draws) ** 0.5


@pytest.mark.parametrize("posterior", [None, OpaquePosterior], ids=["closed form", "Monte Carlo"])
def test_elbo_of_the_exact_posterior_is_log_px(posterior):
    toy = LinearGaussian.make(gains=(1.5, 0.8))
    x = toy.sample(50)
    model = toy.model(**({"posterior": posterior} if posterior else {}))
    torch.manual_seed(0)
    value = evaluate(elbo(), model.terms(x, 5000)).parts["elbo"]
    tolerance = 1e-4 if posterior else 0.01  # with the same draws in both halves nothing is left to chance
    assert float(value.detach()) == pytest.approx(float(toy.log_px(x).mean()), abs=tolerance)


@pytest.mark.parametrize("num_samples", [1, 4])
def test_a_step_decodes_as_many_draws_as_the_objective_wants(num_samples, monkeypatch):
    toy = LinearGaussian.make(gains=(1.0, 0.5))
    model = toy.model()
    counts = count_draws(model, monkeypatch)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = make_step(
        model,
        elbo(num_samples=num_samples),
        optimizer,
        auxiliary_optimizer=None,
        schedule=torch.optim.lr_scheduler.ConstantLR(optimizer),
        clip_grad_norm=None,
        compiled=False,
    )
    step(toy.sample(7), torch.tensor(0))
    assert counts == [7 * num_samples]
