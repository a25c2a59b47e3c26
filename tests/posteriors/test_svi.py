"""The refined posterior: its steps, its limit, its gradients, and who sees it."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.runs import small_run
from tests.sentences import lstm_vae, sentences, spec_of
from vaebench.distributions import Gaussian, kl_divergence, log_mean_exp
from vaebench.errors import UserError
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.latent.active_units import ActiveUnits
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.evaluation.likelihood.posterior_gaps import PosteriorGaps
from vaebench.models.latent import REFINED_AT_ONCE, BatchELBO, LatentModel
from vaebench.objectives.elbo import ELBO
from vaebench.posteriors.svi import SVIPosterior, repeatable, twice_differentiable
from vaebench.runner.step import make_step
from vaebench.seeding import derive_seed, seeded
from vaebench.testing import LinearGaussian, latent_model, make_context, measure, set_affine, toy_spec

TOY = LinearGaussian.make(gains=(1.5, 0.8))
OPTIONS: dict[str, Any] = {
    "num_steps": 10,
    "lr": 1.0,
    "momentum": 0.5,
    "divisor": 50,
    "clip_norm": 5.0,
    "clip_over": "datum",
    "clip_back": False,
    "gradient": "unrolled",
    "epsilon": 1e-5,
}
MODES = ("unrolled", "finite_difference", "first_order")


def svi(**options: Any) -> Any:
    return partial(SVIPosterior, **(OPTIONS | options))


def refining(shift: float = 0.9, log_ratio: float = 0.7, **options: Any) -> LatentModel:
    """The toy's decoder, and an encoder that is wrong by that much."""
    torch.manual_seed(0)
    return TOY.model(shift, log_ratio, posterior=svi(**options)).double()


def data(num: int, seed: int = 0) -> Tensor:
    return TOY.sample(num, seed).double()


def loss_of(model: LatentModel, x: Tensor, seed: int = 1) -> Tensor:
    with repeatable(seed, x.device):
        terms = model.terms(x, 2)
    return (terms.kl_per_datum - terms.log_px_z.mean(0)).mean()


def gradients_of(model: LatentModel, x: Tensor, seed: int = 1) -> dict[str, Tensor]:
    model.zero_grad()
    loss_of(model, x, seed).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


SENTENCES = sentences(spec_of(), "a b c", "c", "b f a d e", "e e")


def recurrent_model(dropout: float = 0.3, skip: bool = False, **options: Any) -> LatentModel:
    """Of sentences, with the LSTM decoder and the categorical likelihood of the families."""
    posterior = svi(**({"divisor": 2} | options))
    return lstm_vae(spec_of(), latent_dim=2, dropout=dropout, skip=skip, posterior=posterior).train()


def assert_gradient_is_the_slope(model: LatentModel, x: Tensor) -> None:
    """Of the whole loss, by its differences along a random direction in each weight."""
    gradients = gradients_of(model, x)
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if name not in gradients:
            continue
        direction, losses = torch.randn_like(weight), []
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            with torch.no_grad():
                moved.get_parameter(name).add_(sign * 1e-5 * direction)
            losses.append(float(loss_of(moved, x).detach()))
        slope = (losses[0] - losses[1]) / 2e-5
        assert slope == pytest.approx(float((gradients[name] * direction).sum()), rel=1e-5, abs=1e-8), name


# Its steps


@pytest.mark.parametrize("mode", MODES)
def test_without_steps_it_is_the_amortised_posterior(mode: str) -> None:
    amortised = TOY.model(0.9, 0.7).double().train()
    refined = refining(num_steps=0, gradient=mode).train()
    x = data(8)
    assert torch.equal(loss_of(refined, x), loss_of(amortised, x))
    expected, found = gradients_of(amortised, x), gradients_of(refined, x)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_first_two_steps_are_those_of_the_closed_form_slope(
    kl_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d log p / dz = W'(x - Wz - b) / std^2 at z = m + s e, d KL / dm = m, d KL / dlogvar = (s^2 - 1) / 2."""
    x, lr, momentum, divisor = data(6), 0.7, 0.4, 5
    amortised = TOY.posterior(x, 0.9, 0.7)
    mean, logvar = amortised.mean, amortised.logvar
    velocity = [torch.zeros_like(mean), torch.zeros_like(mean)]
    for num_steps in (1, 2):
        model = refining(num_steps=num_steps, lr=lr, momentum=momentum, divisor=divisor, clip_norm=None)
        noise = model.posterior.noise[num_steps - 1] if kl_weight == 1 else torch.full_like(mean, 0.8)
        z = mean + (0.5 * logvar).exp() * noise
        slope = (x - z @ TOY.weight.T - TOY.bias) @ TOY.weight / TOY.std**2
        of_mean = slope - kl_weight * mean
        of_logvar = 0.5 * slope * (0.5 * logvar).exp() * noise - 0.5 * kl_weight * (logvar.exp() - 1)
        velocity = [momentum * v + g / divisor for v, g in zip(velocity, (of_mean, of_logvar), strict=True)]
        mean, logvar = mean + lr * velocity[0], logvar + lr * velocity[1]
        if kl_weight != 1:  # as in training alone
            monkeypatch.setattr(torch, "randn_like", lambda like: torch.full_like(like, 0.8))
            model.train()
        with torch.no_grad():
            q = model.encode(x, kl_weight)
        torch.testing.assert_close(q.mean, mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(q.logvar, logvar, rtol=1e-5, atol=1e-6)


def test_more_steps_raise_the_bound_that_they_ascend() -> None:
    """ELBO = log p(x) - KL(q || exact), in mean over data that have noise of their own."""
    x, gaps = data(400), []
    for num_steps in (0, 1, 2, 5, 10, 20, 40):
        with torch.no_grad(), repeatable(0, x.device):
            q = refining(num_steps=num_steps, divisor=150).train().encode(x)
        gaps.append(float(kl_divergence(q, TOY.posterior(x)).sum(1).mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == pytest.approx(TOY.gap(0.9, 0.7), rel=1e-5)
    assert gaps[-1] < 0.2 * gaps[0]


@pytest.mark.slow
def test_many_steps_end_at_the_exact_posterior() -> None:
    """Noise that goes round the corners of a square has the moments of the normal, without its chance."""
    x, model = data(30), refining(-2.0, -1.5, num_steps=1600, divisor=200)
    corners = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    model.posterior.noise.copy_(corners.repeat(400, 1))
    with torch.no_grad():
        q = model.encode(x)
    exact = TOY.posterior(x)
    torch.testing.assert_close(q.mean, exact.mean, rtol=0, atol=0.05 * float(exact.std.min()))
    torch.testing.assert_close(q.logvar, exact.logvar, rtol=0, atol=0.05)


def test_the_clip_is_over_a_datum_or_over_the_batch_and_over_the_batch_only_in_training() -> None:
    slope = torch.stack([torch.tensor([[3.0, 4.0], [0.3, 0.4]]), torch.tensor([[0.0, 0.0], [0.6, 0.8]])])
    by_datum = SVIPosterior(3, 2, logvar_range=None, **(OPTIONS | {"clip_norm": 1.0, "divisor": 4}))
    expected = slope / torch.tensor([[10.0, 1.0], [1.0, 2.0]]).unsqueeze(-1)  # norm 1/2 at most
    torch.testing.assert_close(by_datum.clip(slope), expected, rtol=1e-5, atol=1e-6)
    options = OPTIONS | {"clip_norm": 1.0, "divisor": 4, "clip_over": "batch"}
    whole = SVIPosterior(3, 2, logvar_range=None, **options)
    expected = slope / torch.tensor([25.25**0.5, 1.0]).view(2, 1, 1)
    torch.testing.assert_close(whole.clip(slope), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole.eval().clip(slope), by_datum.clip(slope))
    alike = torch.tensor([3.0, 4.0]).expand(2, 4, 2)  # as many as the divisor
    torch.testing.assert_close(whole.train().clip(alike), by_datum.clip(alike))


def test_the_range_of_the_log_variance_holds_at_the_end() -> None:
    x, range_ = data(5), (-1.0, -0.9)
    model = refining(num_steps=5)
    model.posterior.logvar_range = range_
    logvar = model.encode(x).logvar.detach()
    assert range_[0] <= float(logvar.min()) <= float(logvar.max()) <= range_[1]


# What it draws


def test_in_evaluation_a_datums_posterior_is_its_own_and_always_the_same() -> None:
    model, x = refining(clip_over="batch", clip_norm=0.5), data(2 * REFINED_AT_ONCE + 7)
    with torch.no_grad():
        whole = model.encode(x)
        torch.manual_seed(99)
        state = torch.get_rng_state()
        few = model.encode(x[3:5])
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(few.mean, whole.mean[3:5])
    torch.testing.assert_close(few.logvar, whole.logvar[3:5])
    assert len(whole) == len(x)
    copied = refining(clip_over="batch", clip_norm=0.5)
    copied.posterior.noise.zero_()
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied.encode(x).mean, whole.mean)


def test_in_training_every_datum_step_and_call_has_noise_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = refining(num_steps=1).train(), data(1).expand(4, -1)
    first, again = model.encode(x).mean, model.encode(x).mean
    assert len(torch.unique(torch.cat([first, again]), dim=0)) == 8
    drawn: list[Tensor] = []
    model = refining(num_steps=3).train()
    sampled = torch.addcmul
    monkeypatch.setattr(torch, "addcmul", lambda a, b, noise: (drawn.append(noise), sampled(a, b, noise))[1])
    model.encode(x)
    assert len(torch.unique(torch.cat(drawn).detach(), dim=0)) == 3 * 4


def test_weights_start_as_they_do_without_refinement() -> None:
    torch.manual_seed(3)
    plain = latent_model(toy_spec((4,)), 2, depth=1)
    torch.manual_seed(3)
    refined = latent_model(toy_spec((4,)), 2, posterior=svi(), depth=1)
    found = dict(refined.named_parameters())
    assert all(torch.equal(found[name], weight) for name, weight in plain.named_parameters())
    torch.manual_seed(4)
    other = latent_model(toy_spec((4,)), 2, posterior=svi(), depth=1)
    assert not torch.equal(other.posterior.noise, refined.posterior.noise)


# Its gradients


@pytest.mark.parametrize("clip_over", ["datum", "batch"])
def test_unrolled_gradient_is_the_slope_of_the_whole_loss(clip_over: str) -> None:
    """The clip is at work."""
    model, x = refining(num_steps=4, clip_norm=0.5, clip_over=clip_over, divisor=4).train(), data(5)
    assert {name.split(".")[0] for name in gradients_of(model, x)} == {"posterior", "decoder"}
    assert_gradient_is_the_slope(model, x)


@pytest.mark.slow
@pytest.mark.parametrize(("dropout", "skip"), [(0.0, False), (0.5, True)])
def test_unrolled_gradient_of_sentences_is_the_slope_of_the_whole_loss(dropout: float, skip: bool) -> None:
    """Through steps that drop words and states: those of a step are the same for any weights."""
    model = recurrent_model(dropout, skip, num_steps=4).double()
    assert {name.split(".")[0] for name in gradients_of(model, SENTENCES)} == {
        "encoder", "posterior", "decoder"
    }  # fmt: skip
    assert_gradient_is_the_slope(model, SENTENCES)


def test_differences_agree_with_unrolling_through_an_lstm() -> None:
    """Dropout drops the same at a point and beside it, or the difference would be nothing but dropout."""
    x, dropout = SENTENCES, 0.5
    exact = gradients_of(recurrent_model(dropout).double(), x)
    found = gradients_of(recurrent_model(dropout, gradient="finite_difference").double(), x)
    direct = gradients_of(recurrent_model(dropout, gradient="first_order").double(), x)
    assert found.keys() == exact.keys()
    for name, gradient in exact.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4 * scale)
    assert max(float((direct[name] - exact[name]).norm() / exact[name].norm()) for name in exact) > 0.1


def test_an_lstm_of_single_precision_has_the_second_derivatives_of_double(monkeypatch: Any) -> None:
    """It may run in other kernels, whose second derivatives are theirs to have."""
    monkeypatch.setattr(torch, "randn_like", lambda like: torch.full_like(like, 0.8))
    found = []
    for dtype in (torch.float32, torch.float64):
        model = recurrent_model(0.0).to(dtype)
        model.encode(SENTENCES).mean.sum().backward()
        found.append(torch.cat([weight.grad.flatten() for weight in model.decoder.lstm.parameters()]))
    torch.testing.assert_close(found[0].double(), found[1], rtol=1e-3, atol=1e-6)
    assert float(found[1].norm()) > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_have_the_same_refined_posterior(mode: str) -> None:
    x = data(4)
    losses = [loss_of(refining(gradient=name).train(), x) for name in ("unrolled", mode)]
    torch.testing.assert_close(*losses)
    torch.manual_seed(1)
    states = []
    for name in ("unrolled", mode):
        with repeatable(3, x.device):
            loss_of(refining(gradient=name).train(), x).backward()
            states.append(torch.get_rng_state())
    assert torch.equal(*states)  # the way back draws nothing from the run's random numbers


def test_first_order_hands_the_slope_at_the_end_to_the_start_and_nothing_more_to_the_decoder() -> None:
    model, x = refining(gradient="first_order").train(), data(5)
    found = gradients_of(model, x)
    model.zero_grad()
    with repeatable(1, x.device):
        with torch.no_grad():
            q = model.encode(x)
        leaf = Gaussian(q.mean.requires_grad_(), q.logvar.requires_grad_())
        terms = model.terms(x, 2, q=leaf)
    (terms.kl_per_datum - terms.log_px_z.mean(0)).mean().backward()
    torch.testing.assert_close(found["decoder.output.weight"], model.decoder.output.weight.grad)
    torch.testing.assert_close(found["posterior.mean.bias"], leaf.mean.grad.sum(0))
    torch.testing.assert_close(found["posterior.logvar.weight"], leaf.logvar.grad.T @ x)


def test_single_precision_differences_are_those_of_a_longer_reach() -> None:
    """The weights of a smooth decoder in float32: at the authors' epsilon rounding is what is seen."""
    x = (torch.rand(20, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def found(**options: Any) -> Tensor:
        torch.manual_seed(0)
        model = latent_model(toy_spec((8,)), 2, posterior=svi(**options), depth=1).train()
        return torch.cat([g.flatten() for g in gradients_of(model, x).values()])

    exact, direct = found(), found(gradient="first_order")
    errors = [
        float((found(gradient="finite_difference", epsilon=epsilon) - exact).norm())
        for epsilon in (1e-5, 1e-1)
    ]
    assert errors[1] < 0.01 * float((direct - exact).norm())
    assert errors[1] < 0.1 * errors[0]


def test_cudnn_is_left_out_for_recurrent_decoders_alone() -> None:
    x = SENTENCES
    assert BatchELBO(recurrent_model(), x).is_recurrent
    assert not BatchELBO(refining(), data(2)).is_recurrent
    before = torch.backends.cudnn.enabled
    for model, enabled in ((recurrent_model(), False), (refining(), before)):
        with twice_differentiable(BatchELBO(model, x)):
            assert torch.backends.cudnn.enabled == enabled
    assert torch.backends.cudnn.enabled == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_lstm_is_differentiated_twice_on_cuda() -> None:
    x = SENTENCES.cuda()
    exact = gradients_of(recurrent_model(0.0).cuda(), x)
    found = gradients_of(recurrent_model(0.0, gradient="finite_difference", epsilon=1e-1).cuda(), x)
    for name, gradient in exact.items():
        torch.testing.assert_close(found[name], gradient, rtol=0.05, atol=0.05 * float(gradient.abs().max()))


# Who sees it


def collapsed_encoder(**options: Any) -> LatentModel:
    """A decoder that knows its code, and N(0, I) for every datum to start from; in float32."""
    model = refining(**options).float()
    set_affine(model.posterior.mean, 0.0, 0.0)
    set_affine(model.posterior.logvar, 0.0, 0.0)
    return model


@pytest.mark.slow
def test_evaluators_measure_the_refined_posterior(tmp_path: Path) -> None:
    x = TOY.sample(300)
    evaluators = [
        EvidenceLowerBound(num_samples=10),
        ActiveUnits(thresholds=[0.01]),
        MutualInformation(num_data=None),
    ]
    found = {}
    for num_steps in (0, 400):
        context = make_context(collapsed_encoder(num_steps=num_steps), x, tmp_path)
        numbers = {name: m.value for e in evaluators for name, m in measure(e, context).items()}
        found[num_steps] = numbers
    before, after = found.values()
    exact = TOY.posterior(x)
    kl = 0.5 * (exact.mean.square() + exact.logvar.exp() - exact.logvar - 1).sum(1).mean()
    for name in ("kl", "active_units_0.01", "mi_lower"):
        assert before[name] == pytest.approx(0, abs=1e-6)
    assert after["active_units_0.01"] == 2
    assert after["kl"] == pytest.approx(float(kl), rel=0.1)
    assert after["mi_lower"] == pytest.approx(TOY.mutual_information, rel=0.15)
    assert after["elbo"] == pytest.approx(float(TOY.log_px(x).mean()), abs=0.15)
    q = collapsed_encoder(num_steps=400).encode(x)
    by_hand = 0.5 * (q.mean.square() + q.logvar.exp() - q.logvar - 1).sum(1).mean()
    assert after["kl"] == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_importance_sampling_proposes_from_the_refined_posterior(tmp_path: Path) -> None:
    """At few draws it matters much: from N(0, I) they hardly ever meet the data."""
    x, num = TOY.sample(40), 5
    evaluator = ImportanceSampledNLL(num_samples=num, num_data=None, subset="first")
    nll = {}
    for num_steps in (0, 10, 400):
        model = collapsed_encoder(num_steps=num_steps)
        context = make_context(model, x, tmp_path / str(num_steps))
        nll[num_steps] = measure(evaluator, context)["nll_nats"].value
        energy = model.posterior.energy(BatchELBO(model, x))
        end = model.posterior.descent.end(energy, torch.zeros(2, len(x), 2))  # from N(0, I)
        with torch.no_grad(), seeded(derive_seed(context.seed, "nll", 0)):
            log_w = model.terms(x, num, q=Gaussian(*end)).log_w.double()
        direct = -float(log_mean_exp(log_w, 0).mean())
        assert nll[num_steps] == pytest.approx(direct, rel=1e-6)
    assert nll[0] > nll[10] + 0.3
    assert nll[10] > nll[400]
    assert nll[400] == pytest.approx(-float(TOY.log_px(x).mean()), abs=0.1)


@pytest.mark.slow
def test_the_amortisation_gap_is_what_the_refinement_leaves(tmp_path: Path) -> None:
    search = PosteriorGaps(
        num_data=None, subset="first", num_steps=150, lr=0.1, num_samples=16, num_importance=1000
    )
    x, gaps = TOY.sample(30), []
    for num_steps in (0, 10, 400):
        context = make_context(refining(num_steps=num_steps).float(), x, tmp_path / str(num_steps))
        gaps.append(measure(search, context)["amortisation_gap_nats"].value)
    assert gaps[0] == pytest.approx(TOY.gap(0.9, 0.7), abs=0.03)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.1


def test_a_step_refines_by_the_bound_that_its_objective_weighs() -> None:
    model, x, seen = refining().float().train(), TOY.sample(4), []
    encode = model.encode
    model.encode = lambda x, kl_weight: (seen.append(float(kl_weight)), encode(x, kl_weight))[1]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    objective = ELBO(4, model, beta=0.5, warmup_epochs=2, free_bits=0, num_samples=1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    step = make_step(model, objective, optimizer, None, schedule, None, compiled=False)
    for finished in (0, 4, 9):
        step(x, torch.tensor(finished))
    assert seen == [0.0, 0.25, 0.5]


SMALL_RUN = ["model/posterior=svi", "model.posterior.num_steps=3", "training.epochs=2", "tier=full"]


def test_a_model_that_differentiates_for_itself_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refining().has_iterative_posterior
    assert not TOY.model().has_iterative_posterior
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    small_run(tmp_path, *SMALL_RUN, "training.steps=2", "runtime.compile=always")


@pytest.mark.parametrize("options", [{"clip_norm": None, "clip_back": True}, {"clip_back": False}])
def test_the_published_gradient_without_its_clips_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="requires clip_norm and clip_back=true"):
        refining(gradient="as_published", **options)


def test_the_published_gradient_is_not_the_exact_one() -> None:
    model, x = refining(gradient="as_published", clip_back=True, clip_norm=0.5).train(), data(5)
    published = gradients_of(model, x)
    exact = gradients_of(refining(clip_back=True, clip_norm=0.5).train(), x)
    assert published.keys() == exact.keys()
    assert any(not torch.allclose(published[name], exact[name], rtol=1e-2) for name in exact)
