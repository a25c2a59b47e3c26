"""The sequential VAE: its terms by hand, what its gradients reach, its samples, and its noise."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import CONF, config_of
from tests.networks.test_ladder import lively
from vaebench.config.build import build
from vaebench.config.errors import ConfigError
from vaebench.config.fit import check_fit
from vaebench.data.spec import DataSpec
from vaebench.distributions import Gaussian
from vaebench.errors import UserError
from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.likelihoods.gaussian import Gaussian as GaussianLikelihood
from vaebench.models.sequential_vae import SequentialVAE, corrupted

SHAPE = (3, 6, 8)
NUM_PIXELS = math.prod(SHAPE)
STD = math.sqrt(1 / 32)


def spec_of(kind: Any = "uint8", shape: tuple[int, ...] = SHAPE) -> DataSpec:
    return DataSpec(name="toy", shape=shape, kind=kind, num_classes=None)


def model_of(steps: int = 3, kind: str = "uint8", **options: Any) -> SequentialVAE:
    """In evaluation, where one datum's numbers do not depend on the others'."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "name": "toy", "channels": [4, 6], "width": 8, "codes": [2, 3], "batch_norm": True,
        "denoising": False,
        "likelihood": partial(GaussianLikelihood, std=STD, learn_std=False, mean="linear"),
    }  # fmt: skip
    return lively(SequentialVAE(spec_of(kind), steps=steps, **defaults | options))


def images(num: int, seed: int = 1) -> Tensor:
    return torch.rand(num, *SHAPE, generator=torch.Generator().manual_seed(seed))


def by_hand(model: SequentialVAE, z: Tensor) -> list[Tensor]:
    """x_1, ..., x_T in [-1, 1] at codes `[N, D]`."""
    columns: list[Tensor] = []
    for step, generator in enumerate(model.decoder):
        code = z[:, 5 * step : 5 * step + 5]
        columns.append(generator(code) if step == 0 else generator(code, columns[-1]))
    return columns


@pytest.mark.parametrize("training", [False, True])
def test_one_step_is_the_plain_network(training: bool) -> None:
    """q, z, KL and log p(x|z) of a VAE with that encoder and generator, written out.

    In training with the statistics of the batch, of all draws at once in the generator, and noise on what is
    encoded.
    """
    model, x = model_of(steps=1, denoising=True).train(training), images(4)
    torch.manual_seed(5)
    terms = model.terms(x, num_samples=2)
    torch.manual_seed(5)
    mean, log_std = model.encoder[0](corrupted(2 * x - 1) if training else 2 * x - 1)
    z = mean + log_std.exp() * torch.randn(2, 4, 5)
    torch.testing.assert_close(terms.z, z)
    y = model.decoder[0](z.flatten(0, 1)).unflatten(0, (2, 4))
    squared = (2 * x - 1 - y).square().sum((2, 3, 4))
    constant = 0.5 * NUM_PIXELS * math.log(2 * math.pi / 32)
    torch.testing.assert_close(terms.log_px_z, -16 * squared - constant)
    kl = (-log_std + 0.5 * (2 * log_std).exp() + 0.5 * mean.square()).sum(1) - 2.5
    torch.testing.assert_close(terms.kl_per_datum, kl)


def test_the_configured_weight_is_16_of_data_from_minus_one_to_one_and_64_of_data_from_zero() -> None:
    node = config_of("model=sequential_vae", "model.steps=1", "model.channels=[4]", "model.codes=[2]")[
        "model"
    ]
    model = build({key: part for key, part in node.items() if key != "objective"}, spec=spec_of()).eval()
    x, z = images(4), torch.zeros(4, 2)
    at_z = Gaussian(z, torch.full_like(z, -torch.inf))
    shown = model.decode_mean(z[None])[0]
    first, second = (model.terms(part, q=at_z).log_px_z[0] for part in (x, 1 - x))
    errors = [(part - shown).square().sum((1, 2, 3)) for part in (x, 1 - x)]
    torch.testing.assert_close(first - second, -64 * (errors[0] - errors[1]), rtol=1e-4, atol=1e-3)


def test_terms_are_sums_over_steps_and_the_codes_of_all() -> None:
    model, x = model_of(), images(4)
    torch.manual_seed(5)
    terms = model.terms(x, num_samples=2)
    q = model.encode(x)
    assert terms.z.shape == (2, 4, model.latent_dim) == (2, 4, 15)
    total = torch.zeros(2, 4)
    for sample in range(2):
        for y in by_hand(model, terms.z[sample]):
            total[sample] -= 16 * (2 * x - 1 - y).square().sum((1, 2, 3))
            total[sample] -= 0.5 * NUM_PIXELS * math.log(2 * math.pi / 32)
    torch.testing.assert_close(terms.log_px_z, total)
    parts = [encoder(2 * x - 1) for encoder in model.encoder]
    torch.testing.assert_close(q.mean, torch.cat([mean for mean, _ in parts], 1))
    torch.testing.assert_close(q.std, torch.cat([log_std.exp() for _, log_std in parts], 1))
    assert terms.kl is not None
    assert terms.kl.shape == (4, 15)


def test_the_annealed_elbo_of_its_terms_is_the_authors_loss() -> None:
    """sum_t 16 ||x - x_t||^2 + (1 - exp(-iteration / 10000)) KL_t, up to a constant."""
    words = ["model=sequential_vae", "model.objective.warmup_epochs=10"]
    objective = build(config_of(*words)["model"]["objective"], steps_per_epoch=1000, model=None)
    model, x = model_of(), images(4)
    terms = model.terms(x)
    loss = objective(terms, torch.tensor(7000), model)
    reconstruction = sum(16 * (2 * x - 1 - y).square().sum((1, 2, 3)) for y in by_hand(model, terms.z[0]))
    expected = (reconstruction + (1 - math.exp(-0.7)) * terms.kl_per_datum).mean()
    constant = 3 * 0.5 * NUM_PIXELS * math.log(2 * math.pi / 32)
    torch.testing.assert_close(loss.total, expected + constant)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_gradients_do_not_cross_steps(step: int, training: bool) -> None:
    """Of the loss of one step, in the parameters of all: zero before it and after it."""
    model, x = model_of(denoising=True).train(training), images(4)
    real = model.likelihood.log_prob
    calls: list[Tensor] = []
    model.likelihood.log_prob = lambda *a: calls.append(real(*a)) or calls[-1]
    terms = model.terms(x)
    assert len(calls) == 3
    assert terms.kl is not None
    (calls[step].sum() - terms.kl[:, 5 * step : 5 * step + 5].sum()).backward()
    for other in range(3):
        for side in (model.encoder, model.decoder):
            for name, parameter in side[other].named_parameters():
                reached = parameter.grad is not None and bool(parameter.grad.any())
                assert reached == (other == step), f"{other}.{name}"


def test_each_step_depends_on_the_image_before() -> None:
    """Gradients stop, values do not: and outside of training, gradients go all the way."""
    model = model_of()
    z = torch.randn(1, 2, 15, generator=torch.Generator().manual_seed(3)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.decode_mean(z).sum(), z)
    assert (gradient.unflatten(2, (3, 5)).abs().sum((0, 1, 3)) > 0).all()


def test_samples_are_the_means_of_the_last_step_and_follow_their_generator() -> None:
    model = model_of()
    state = torch.get_rng_state()
    sample = model.sample(4, torch.Generator().manual_seed(9))
    assert torch.equal(sample, model.sample(4, torch.Generator().manual_seed(9)))
    assert torch.equal(torch.get_rng_state(), state)
    z = torch.randn(4, 15, generator=torch.Generator().manual_seed(9))
    columns = model.images_by_step(z)
    assert columns.shape == (3, 4, *SHAPE)
    torch.testing.assert_close(columns, torch.stack([(y + 1) / 2 for y in by_hand(model, z)]))
    assert torch.equal(sample, columns[-1])
    assert columns.min() >= 0
    assert columns.max() <= 1
    torch.testing.assert_close(model.decode_mean(z[None])[0], columns[-1])
    x = images(4)
    assert torch.equal(model.reconstruct(x), model.images_by_step(model.encode(x).mean)[-1])


@pytest.mark.parametrize(("kind", "last"), [("binary", 1), ("uint8", 255), ("unit", None)])
def test_draws_have_the_levels_of_the_data(kind: str, last: int | None) -> None:
    model = model_of(kind=kind)
    z = torch.randn(4, 15, generator=torch.Generator().manual_seed(9))
    drawn, mean = model.sample_x(z), model.decode_image(z)
    if last is None:
        assert torch.equal(drawn, mean)
    else:
        assert (drawn - mean).abs().max() <= 0.5 / last + 1e-6
        torch.testing.assert_close(drawn * last, (drawn * last).round())


def test_noise_is_salt_over_pepper_and_normal_in_between() -> None:
    torch.manual_seed(0)
    y = corrupted(torch.full((100_000,), 0.2))
    low, high = (y < -0.5).double().mean(), (y > 0.7).double().mean()
    assert low == pytest.approx(0.9 * 0.1, abs=4e-3)
    assert high == pytest.approx(0.1, abs=4e-3)
    kept = y[(y > -0.5) & (y < 0.7)]
    assert kept.mean() == pytest.approx(0.2, abs=2e-3)
    assert kept.std() == pytest.approx(0.1, abs=2e-3)
    assert y.min() == -1
    assert y.max() == 1


def test_denoising_is_in_front_of_the_encoders_in_training_and_nowhere_else() -> None:
    model, x = model_of(steps=1, batch_norm=False, denoising=True), images(4)
    assert torch.equal(model.encode(x).mean, model.encode(x).mean)
    torch.testing.assert_close(model.encode(x).mean, model.encoder[0](2 * x - 1)[0])
    model.train()
    torch.manual_seed(5)
    terms = model.terms(x)
    torch.manual_seed(5)
    noisy = corrupted(2 * x - 1)
    mean, log_std = model.encoder[0](noisy)
    torch.testing.assert_close(terms.z[0], mean + log_std.exp() * torch.randn(4, 5))
    squared = (2 * x - 1 - model.decoder[0](terms.z[0])).square().sum((1, 2, 3))  # of clean targets
    torch.testing.assert_close(
        terms.log_px_z[0], -16 * squared - 0.5 * NUM_PIXELS * math.log(2 * math.pi / 32)
    )
    assert not torch.equal(model.terms(x).q.mean, terms.q.mean)


def test_batch_norm_takes_the_batchs_statistics_in_training_and_running_ones_after() -> None:
    model, x = model_of(), images(6)
    torch.testing.assert_close(model.encode(x[:2]).mean, model.encode(x).mean[:2])
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.testing.assert_close(
        model.images_by_step(torch.ones(2, 15)), model.images_by_step(torch.ones(4, 15))[:, :2]
    )
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    model.train()
    assert not torch.allclose(model.encode(x[:2]).mean, model.encode(x).mean[:2], atol=1e-3)
    model.terms(x[:1])  # the last batch of an epoch may be of one


def test_bfloat16_is_for_the_generators_in_training() -> None:
    model, z = model_of(), torch.ones(1, 2, 15)
    full = model.decode(z)
    model.convolution_dtype = torch.bfloat16
    assert torch.equal(model.decode(z), full)
    model.train()
    assert model.decode(z).dtype == torch.float32
    model.convolution_dtype = torch.float32
    exact = model.decode(z)
    model.convolution_dtype = torch.bfloat16
    assert 0 < (model.decode(z) - exact).abs().max() < 0.2


def test_layers_are_named_in_the_order_of_their_steps() -> None:
    model, order = model_of(steps=2), []
    layers = dict(model.named_layers())
    weights = [name for name, p in model.named_parameters() if p.dim() > 1]
    assert len(layers) == len(weights)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda *_, name=name: order.append(".".join(name.split(".")[:2])))
    model.terms(images(2))
    assert list(dict.fromkeys(order)) == ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
    assert len(order) == len(layers)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"codes": [2]}, r"model\.codes = \[2\]: expected as many entries as model\.channels = \[4, 6\]"),
        ({"channels": [], "codes": []}, "at least one"),
        ({"likelihood": Bernoulli}, r"model/likelihood=gaussian with model\.likelihood\.mean=linear"),
        (
            {"likelihood": partial(GaussianLikelihood, std=1.0, learn_std=False, mean="sigmoid")},
            r"model/likelihood=gaussian with model\.likelihood\.mean=linear",
        ),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        model_of(**options)


def test_data_that_are_no_images_of_levels_are_refused() -> None:
    config = config_of("model=sequential_vae", "evaluation=none")
    for kind in ("binary", "unit", "uint8"):
        check_fit(config, spec_of(kind), CONF)
    with pytest.raises(ConfigError) as caught:
        check_fit(config, spec_of("real", (2,)), CONF)
    assert caught.value.problems == (
        "model: SequentialVAE does not fit toy, whose data are real; use data that are binary, uint8, unit.",
    )
    with pytest.raises(UserError, match=r"^model=sequential_vae works on images .* use model=vae\.$"):
        SequentialVAE(
            spec_of("unit", (5,)), name="toy", steps=1, channels=[4], width=4, codes=[1], batch_norm=True,
            denoising=False,
            likelihood=partial(GaussianLikelihood, std=STD, learn_std=False, mean="linear"),
        )  # fmt: skip


def test_it_says_what_it_can_do() -> None:
    model = model_of()
    assert (model.has_latent, model.has_density, model.has_gaussian_posterior) == (True, False, True)
    assert model.num_steps == 3
    assert isinstance(model.encoder[0], nn.Module)
