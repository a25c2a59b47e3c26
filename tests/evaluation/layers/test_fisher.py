"""The Fisher information of layers against closed forms, enumeration and loops."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.layers.fisher import LayerFisher
from vaebench.models.latent import LatentModel
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.testing import LinearEncoder, latent_model, make_context, measure, saved, set_affine, toy_spec

KINDS = ("true_fisher", "empirical_fisher", "kfac")


def binary(num: int, dim: int, seed: int = 0) -> Tensor:
    return torch.rand(num, dim, generator=torch.Generator().manual_seed(seed)).lt(0.4).float()


def sharp_model(depth: int, latent_dim: int = 2, x_dim: int = 3) -> LatentModel:
    """A model whose draws of z are its posterior means, all but: q(z|x) has standard deviation e^-15."""
    torch.manual_seed(1)
    model = latent_model(toy_spec((x_dim,)), latent_dim, depth=depth)
    set_affine(model.posterior.logvar, 0.0, -30.0)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2)
    return model


@pytest.mark.parametrize("variance_moves", [False, True], ids=["mean", "mean and variance"])
def test_encoder_under_gaussian_draws_has_the_closed_form(variance_moves, tmp_path):
    """E||delta||^2 = sum_d ||M_d||^2 / s2_d + ||V_d||^2 / 2 for heads M = I and V; D / s2 where V = 0."""
    torch.manual_seed(0)
    model = latent_model(toy_spec((4,)), 3)
    model.encoder = LinearEncoder(4, 3)
    model.posterior = DiagonalPosterior(3, 3, logvar_range=None)
    set_affine(model.posterior.mean, torch.eye(3), 0.0)
    set_affine(model.posterior.logvar, 0.5 * torch.randn(3, 3) if variance_moves else 0.0, -1.0)
    x = 2 * nn.functional.normalize(torch.randn(150, 4), dim=1)
    context = make_context(model, x, tmp_path)
    logvar, head = model.encode(x).logvar.double().detach(), model.posterior.logvar.weight.double().detach()
    signals = torch.exp(-logvar).sum(1) + 0.5 * head.square().sum()
    exact = float((signals * (x.double().square().sum(1) + 1)).mean())
    if not variance_moves:
        assert exact == pytest.approx(3 * np.e * 5, rel=1e-5)
    numbers = measure(LayerFisher(kind="true_fisher", num_data=None, num_samples=60), context)
    assert numbers["fisher_encoder_trace"].value == pytest.approx(exact, rel=0.03)
    assert numbers["fisher_encoder_per_parameter"].value == pytest.approx(
        numbers["fisher_encoder_trace"].value / 15
    )
    assert numbers["fisher_encoder_trace"].unit == "nats^2"


def test_output_of_bernoullis_has_the_closed_form(tmp_path):
    """E sum_d p_d (1 - p_d) (||z||^2 + 1), and factored E sum_d p_d (1 - p_d) E (||z||^2 + 1).

    The decoder's only layer is a head, and counts all the same.
    """
    model = sharp_model(depth=0)
    model.posterior.mean.weight.data.mul_(8)
    x = binary(100, 3)
    context = make_context(model, x, tmp_path)
    z = model.encode(x).mean.detach()
    p = torch.sigmoid(model.decoder.output(z)).double().detach()
    energy, size = (p * (1 - p)).sum(1), z.double().square().sum(1) + 1
    exact = {"true_fisher": (energy * size).mean(), "kfac": energy.mean() * size.mean()}
    assert exact["kfac"] > 1.2 * exact["true_fisher"]
    for kind, value in exact.items():
        numbers = measure(LayerFisher(kind=kind, num_data=None, num_samples=40), context)
        assert set(numbers) == {
            f"fisher_{s}_{n}" for s in ("decoder", "all") for n in ("trace", "per_parameter")
        }
        assert numbers["fisher_decoder_trace"].value == pytest.approx(float(value), rel=0.05)


def gradient_norms(density: Tensor, layers: dict[str, nn.Module]) -> Tensor:
    """||grad||^2 of a scalar density, `[L]`, float64."""
    norms = []
    for layer in layers.values():
        gradients = torch.autograd.grad(density, list(layer.parameters()), retain_graph=True)
        norms.append(sum(g.double().square().sum() for g in gradients))
    return torch.stack(norms)


def test_decoder_of_three_units_is_the_sum_over_all_its_data(tmp_path):
    """sum_x p(x|z) ||grad log p(x|z)||^2 over the eight x, by autograd, layer by layer."""
    model = sharp_model(depth=2)
    x = binary(40, 3)
    context = make_context(model, x, tmp_path)
    layers = {name: layer for name, layer in model.named_layers() if name.startswith("decoder")}
    every = torch.tensor([[a, b, c] for a in (0.0, 1.0) for b in (0.0, 1.0) for c in (0.0, 1.0)])
    exact = torch.zeros(3, dtype=torch.float64)
    distinct, counts = x.unique(dim=0, return_counts=True)
    for one, count in zip(distinct, counts, strict=True):
        z = model.encode(one.unsqueeze(0)).mean.detach()
        for drawn in every:
            log_px = model.likelihood.log_prob(drawn, model.decoder(z))[0]
            exact += count / len(x) * float(log_px.detach().exp()) * gradient_norms(log_px, layers)
    numbers = measure(LayerFisher(kind="true_fisher", num_data=None, num_samples=100), context)
    stored = saved(context, "layers_true_fisher")
    rows = [list(stored["layers"]).index(name) for name in layers]
    np.testing.assert_allclose(stored["traces"][rows], exact.numpy(), rtol=0.06)
    assert numbers["fisher_decoder_trace"].value == pytest.approx(float(exact[:2].mean()), rel=0.06)


def test_empirical_information_is_that_of_each_datums_own_elbo(tmp_path):
    model = sharp_model(depth=2)
    x = binary(12, 3)
    context = make_context(model, x, tmp_path)
    layers = dict(model.named_layers())
    one_by_one = []
    for one in x.split(1):
        terms = model.terms(one)
        one_by_one.append(gradient_norms(terms.log_px_z.sum() - terms.kl.sum(), layers))
    exact = torch.stack(one_by_one).numpy()
    numbers = measure(LayerFisher(kind="empirical_fisher", num_data=None, num_samples=1), context)
    stored = saved(context, "layers_empirical_fisher")
    assert list(stored["layers"]) == list(layers)
    np.testing.assert_allclose(stored["traces"], exact.mean(0), rtol=1e-4)
    np.testing.assert_allclose(stored["standard_errors"], exact.std(0, ddof=1) / 12**0.5, rtol=1e-4)
    sizes = np.array([sum(p.numel() for p in layer.parameters()) for layer in layers.values()])
    np.testing.assert_array_equal(stored["num_weights"], sizes)
    assert list(stored["counted"]) == [name != "decoder.output" for name in layers]
    encoder, decoder = slice(0, 2), slice(2, 4)
    for side, rows in ("encoder", encoder), ("decoder", decoder), ("all", slice(0, 4)):
        for name, values in ("trace", exact[:, rows]), ("per_parameter", (exact / sizes)[:, rows]):
            number = numbers[f"fisher_{side}_{name}"]
            assert number.value == pytest.approx(values.mean(), rel=1e-4)
            assert number.standard_error == pytest.approx(values.mean(1).std(ddof=1) / 12**0.5, rel=1e-4)
            assert number.n == 12


def test_the_authors_number_is_that_of_four_loops(tmp_path):
    model = sharp_model(depth=2)
    x = binary(10, 3)
    context = make_context(model, x, tmp_path)
    layers = dict(model.named_layers())
    terms = model.terms(x)
    loss = -(terms.log_px_z.sum() - terms.kl.sum()) / 10
    exact = {}
    for name, layer in layers.items():
        (g,) = torch.autograd.grad(loss, layer.weight, retain_graph=True)
        w, rows = layer.weight.tolist(), len(layer.weight)
        a = [
            [sum(p * q for p, q in zip(g[i].tolist(), w[j], strict=True)) for j in range(rows)]
            for i in range(rows)
        ]
        pairs = [(i, j) for i in range(rows) for j in range(rows)]
        exact[name] = sum(abs(sum(a[i][k] * a[j][k] for k in range(rows))) for i, j in pairs)
    numbers = measure(LayerFisher(kind="authors_surrogate", num_data=None, num_samples=1), context)
    stored = saved(context, "layers_authors_surrogate")
    np.testing.assert_allclose(stored["surrogates"], list(exact.values()), rtol=1e-4)
    encoder, decoder = (exact[f"{side}.hidden.layers.1"] for side in ("encoder", "decoder"))
    expected = {"encoder": encoder, "decoder": decoder, "all": (encoder + decoder) / 2}
    assert set(numbers) == {f"surrogate_{side}" for side in expected}
    for side, value in expected.items():
        assert numbers[f"surrogate_{side}"].value == pytest.approx(value, rel=1e-4)


def test_the_authors_number_leaves_nothing_of_shallow_networks(tmp_path):
    context = make_context(sharp_model(depth=1), binary(10, 3), tmp_path)
    with pytest.raises(NotApplicableError, match="second hidden layer"):
        measure(LayerFisher(kind="authors_surrogate", num_data=None, num_samples=1), context)


@pytest.mark.parametrize("kind", [*KINDS, "authors_surrogate"])
def test_the_model_is_left_as_it_was(kind, tmp_path):
    model = sharp_model(depth=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    next(model.parameters()).grad = mark = torch.ones_like(next(model.parameters()))
    context = make_context(model, binary(130, 3), tmp_path)
    numbers = measure(LayerFisher(kind=kind, num_data=110, num_samples=2), context)
    assert {number.n for number in numbers.values()} == {110}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    first, *others = model.parameters()
    assert torch.equal(first.grad, mark)
    assert all(parameter.grad is None for parameter in others)
    assert not model.training


class PixelByPixel(nn.Module):
    """A decoder that sees the data: logit_d = a z + b x_{d-1}."""

    is_autoregressive = True

    def __init__(self, latent_dim: int, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.code = nn.Linear(latent_dim, 3)
        self.before = nn.Linear(2, 3, bias=False)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None
        chain = torch.tril(torch.ones(3, 2), diagonal=-1)
        return self.code(z) + nn.functional.linear(x[:, :2], chain) * self.before(torch.ones_like(x[:, :2]))

    def sample(self, z: Tensor, pick) -> Tensor:
        x = torch.zeros(len(z), 3)
        for pixel in range(3):
            x[:, pixel] = pick(self(z, x))[:, pixel]
        return x


def test_decoders_that_see_the_data_see_their_own_draws(tmp_path):
    """By enumeration of the eight x, of which each is its own context."""
    torch.manual_seed(0)
    model = sharp_model(depth=0)
    model.decoder = PixelByPixel(2)
    with torch.no_grad():
        model.decoder.before.weight.fill_(1.5)
    x = torch.tensor([[1.0, 0.0, 1.0]]).repeat(100, 1)
    z = model.encode(x[:1]).mean.detach()
    exact = torch.zeros(2, dtype=torch.float64)
    for number in range(8):
        drawn = torch.tensor([[float(number >> bit & 1) for bit in range(3)]])
        log_px = model.likelihood.log_prob(drawn, model.decoder(z, drawn))[0]
        exact += float(log_px.detach().exp()) * gradient_norms(
            log_px, {"code": model.decoder.code, "b": model.decoder.before}
        )
    context = make_context(model, x, tmp_path)
    measure(LayerFisher(kind="true_fisher", num_data=None, num_samples=20), context)
    np.testing.assert_allclose(saved(context, "layers_true_fisher")["traces"], exact.numpy(), rtol=0.08)


class WithoutDensity(LatentModel):
    has_density = False


def test_without_a_likelihood_the_encoder_is_left(tmp_path):
    torch.manual_seed(0)
    model = latent_model(toy_spec((3,)), 2, depth=1, family=WithoutDensity)
    context = make_context(model, binary(10, 3), tmp_path)
    numbers = measure(LayerFisher(kind="true_fisher", num_data=None, num_samples=1), context)
    assert not any("decoder" in name for name in numbers)
    assert numbers["fisher_encoder_trace"].value == numbers["fisher_all_trace"].value > 0
    with pytest.raises(NotApplicableError, match="no likelihood"):
        measure(LayerFisher(kind="empirical_fisher", num_data=None, num_samples=1), context)
    model = latent_model(toy_spec((3,)), 2, depth=0, family=WithoutDensity)
    with pytest.raises(NotApplicableError, match="no layers"):
        measure(
            LayerFisher(kind="kfac", num_data=None, num_samples=1),
            make_context(model, binary(9, 3), tmp_path),
        )
