"""What is read off decoders, new ones in their place, and the exact KL behind an affine layer."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_kl
from torch.nn import functional as F

from vaebench.distributions import Gaussian, kl_divergence
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.information.decoder_layers import (
    affine_kl,
    decoder_layers,
    exact_kl,
    is_chain,
    layer_outputs,
    with_new_decoder,
)
from vaebench.models.latent import LatentModel
from vaebench.networks.mlp import MLPDecoder
from vaebench.networks.skip_mlp import SkipMLPDecoder
from vaebench.testing import PLAIN, OpaquePosterior, latent_model, toy_spec


class Convolutional(nn.Module):
    """A linear layer to maps, and a convolution of them."""

    is_autoregressive = False

    def __init__(self, latent_dim: int, output_shape: tuple[int, ...], data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)
        self.first = nn.Linear(latent_dim, 18)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        return self.conv(torch.relu(self.first(z)).view(-1, 2, 3, 3))


def model_with(decoder, shape: tuple[int, ...] = (2,), latent_dim: int = 3) -> LatentModel:
    model = latent_model(toy_spec(shape), latent_dim)
    model.decoder = decoder(latent_dim, shape, shape)
    return model.eval()


def mlp(**options):
    return partial(MLPDecoder, **({"depth": 2, "width": 4, "activation": "gelu", **PLAIN} | options))


def codes(num: int = 6, dim: int = 3) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(0))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_of_a_gelu_decoder_are_its_preactivations():
    model, z = model_with(mlp()), codes()
    (first, second), last = model.decoder.hidden.layers, model.decoder.output
    outputs = layer_outputs(model, z)
    assert [*outputs] == ["decoder.hidden.layers.0", "decoder.hidden.layers.1", "decoder.output"]
    expected = [first(z)]
    expected.append(second(F.gelu(expected[0])))
    expected.append(last(F.gelu(expected[1])))
    for output, z_k in zip(outputs.values(), expected, strict=True):
        torch.testing.assert_close(output, z_k)
        assert not output.requires_grad
    torch.testing.assert_close(outputs["decoder.output"], model.decode(z.unsqueeze(0))[0])
    assert hooks(model) == 0


def test_maps_are_flattened_and_layers_come_in_the_order_of_their_work():
    model, z = model_with(Convolutional, (1, 3, 3)), codes()
    outputs = layer_outputs(model, z)
    assert {name: output.shape for name, output in outputs.items()} == {
        "decoder.first": (6, 18),
        "decoder.conv": (6, 9),
    }
    assert [*outputs] == ["decoder.first", "decoder.conv"]
    assert is_chain(model, z)


def test_hooks_are_removed_when_the_decoder_fails():
    model = model_with(mlp())
    with pytest.raises(RuntimeError):
        layer_outputs(model, codes(dim=5))
    assert hooks(model) == 0


@pytest.mark.parametrize(
    ("decoder", "chain"),
    [
        (mlp(), True),
        (mlp(depth=0), True),
        (mlp(skip="residual"), False),
        (mlp(depth=3, skip="long"), False),
        (mlp(skip="residual", bridge="linear"), False),
        (partial(SkipMLPDecoder, depth=2, width=4, activation="relu", skip=True, init="he"), False),
        (partial(SkipMLPDecoder, depth=2, width=4, activation="relu", skip=False, init="he"), True),
    ],
)
def test_skips_break_the_chain(decoder, chain):
    model = model_with(decoder)
    assert is_chain(model, codes()) == chain
    assert hooks(model) == 0


def test_a_decoder_that_sees_the_data_has_no_layers_of_the_code_alone():
    model = model_with(mlp())
    model.decoder.is_autoregressive = True
    with pytest.raises(NotApplicableError, match="autoregressive"):
        decoder_layers(model)


def test_a_decoder_without_layers_is_not_applicable():
    model = model_with(mlp())
    model.decoder = nn.Module()
    model.decoder.is_autoregressive = False
    with pytest.raises(NotApplicableError, match="no layer"):
        decoder_layers(model)


def test_a_new_decoder_leaves_the_encoder_and_the_model():
    model = model_with(mlp())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10)  # no start of PyTorch's
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    copies = [with_new_decoder(model, seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        first, again, other = (copy[name] for copy in copies)
        assert torch.equal(first, again)
        changes = name.startswith("decoder.")
        assert torch.equal(first, value) != changes
        assert torch.equal(first, other) != changes
        if changes:
            assert first.abs().max() <= 3**-0.5  # nn.Linear's start at three inputs or more


def test_a_decoder_with_parameters_of_its_own_cannot_be_drawn_anew():
    model = model_with(mlp())
    model.decoder.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(NotApplicableError, match="MLPDecoder has no reset_parameters"):
        with_new_decoder(model, 0)


def posterior(dim: int, num: int = 5) -> Gaussian:
    noise = torch.randn(2, num, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Gaussian(noise[0], noise[1] - 1)


def code_kl(q: Gaussian) -> Tensor:
    return 0.5 * (q.mean.square() + q.logvar.exp() - q.logvar - 1).sum(-1)


@pytest.mark.parametrize("outputs", [4, 7])
def test_a_layer_of_full_column_rank_loses_nothing(outputs):
    q, weight = posterior(4), torch.randn(outputs, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(affine_kl(q.mean, q.logvar, weight), code_kl(q), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("outputs", [1, 3])
def test_behind_fewer_outputs_the_kl_is_that_of_the_full_covariances(outputs):
    q = posterior(4)
    weight = torch.randn(outputs, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = MultivariateNormal(q.mean @ weight.T, weight @ torch.diag_embed(q.logvar.exp()) @ weight.T)
    of_prior = MultivariateNormal(torch.zeros(outputs, dtype=torch.float64), weight @ weight.T)
    found = affine_kl(q.mean, q.logvar, weight)
    torch.testing.assert_close(found, torch_kl(images, of_prior), rtol=1e-8, atol=1e-8)
    assert (found < code_kl(q)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_that_repeat_others_add_nothing(dtype):
    q = posterior(4)
    rows = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -2.0], [0.3, 0.1]], dtype=dtype) @ rows
    expected = affine_kl(q.mean, q.logvar, rows)
    torch.testing.assert_close(affine_kl(q.mean, q.logvar, mixed), expected, rtol=1e-5, atol=1e-5)


def exact_of(model: LatentModel) -> list[Tensor]:
    q, p = model.encode(codes(dim=2)), model.prior_distribution()
    return exact_kl(model, q, p, codes())


def test_the_code_and_an_affine_first_layer_have_an_exact_kl():
    model = model_with(mlp())
    with torch.no_grad():
        code, first = exact_of(model)
        q, p = model.encode(codes(dim=2)), model.prior_distribution()
    torch.testing.assert_close(code, kl_divergence(q, p).double().sum(-1))
    weight = model.decoder.hidden.layers[0].weight
    torch.testing.assert_close(first, affine_kl(q.mean.detach(), q.logvar.detach(), weight))
    torch.testing.assert_close(first, code, rtol=1e-5, atol=1e-6)  # four outputs of three units


def test_a_first_layer_that_does_not_read_the_code_has_none():
    class Bent(MLPDecoder):
        def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
            return super().forward(z.tanh())

    bent = partial(Bent, depth=1, width=4, activation="gelu", **PLAIN)
    with torch.no_grad():
        assert len(exact_of(model_with(bent))) == 1
        assert exact_of(latent_model(toy_spec((2,)), 3, posterior=OpaquePosterior)) == []
