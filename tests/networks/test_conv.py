"""Tests that the convolutional networks compute the published functions and have the published sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import config_of, problems_of
from vaebench.config.build import factory
from vaebench.networks.conv import ConvEncoder, Gated, GatedConvDecoder

SMALL = {"width": 5, "depth": 2, "channels": 3, "kernel": 3, "batch_norm": True, "init": "default"}


def network_of(word: str, *sizes: Any) -> Any:
    """Build the network of `encoder=conv` or `decoder=gated_conv`, as configured."""
    return factory(config_of(f"model/{word}")["model"][word.split("=")[0]])(*sizes)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def convolved(x: Tensor, conv: nn.Module, stride: int) -> Tensor:
    """Compute the convolution: the kernel's centre, rounded down, is at (i, j) * stride for output (i, j)."""
    assert isinstance(conv, nn.Conv2d)
    kernel, (height, width) = conv.weight.shape[-1], x.shape[2:]
    reach = (kernel - 1) // 2
    output = x.new_zeros(len(x), len(conv.weight), math.ceil(height / stride), math.ceil(width / stride))
    for i in range(output.shape[2]):
        for j in range(output.shape[3]):
            for u in range(kernel):
                for v in range(kernel):
                    row, column = i * stride + u - reach, j * stride + v - reach
                    if 0 <= row < height and 0 <= column < width:
                        output[:, :, i, j] += x[:, :, row, column] @ conv.weight[:, :, u, v].T
    return output + conv.bias[:, None, None]


def normalised(x: Tensor) -> Tensor:
    """Compute an untrained batch norm in training mode."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["encoder=conv", "encoder=gated_conv"])
@pytest.mark.parametrize(
    ("shape", "side"), [((1, 28, 28), 7), ((3, 32, 32), 8), ((3, 64, 64), 16), ((1, 8, 8), 2)], ids=str
)
def test_two_strides_leave_six_maps_of_a_quarter_of_the_side(
    word: str, shape: tuple[int, ...], side: int
) -> None:
    encoder = network_of(word, shape)
    assert encoder.out_features == 6 * side * side
    assert encoder(torch.randn(2, *shape)).shape == (2, encoder.out_features)


def test_the_published_encoders_have_their_numbers_of_parameters() -> None:
    weights = 49 * 32 + 9 * 32 * 32 + 25 * 32 * 64 + 9 * 64 * 64 + 9 * 64 * 6
    biases = 32 + 32 + 64 + 64 + 6
    assert count(network_of("encoder=conv", (1, 28, 28))) == weights + biases + 2 * (biases - 6) == 102_886
    gated = 2 * (weights + biases) + 2 * biases
    assert count(network_of("encoder=gated_conv", (1, 28, 28))) == gated == 205_400
    convolutions = (16 * 3 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 256 + 256)
    dense = 256 * 4 * 4 * 512 + 512
    assert count(network_of("encoder=conv4", (3, 32, 32))) == convolutions + dense == 2_756_544


def test_the_published_decoder_has_its_number_of_parameters() -> None:
    dense = 2 * (40 * 300 + 300) + 2 * (300 * 784 + 784)
    convolutions = 2 * (9 * 64 + 64) + 3 * 2 * (9 * 64 * 64 + 64) + 4 * 2 * 64
    decoder = network_of("decoder=gated_conv", 40, (1, 28, 28), (1, 28, 28))
    assert count(decoder) == dense + convolutions + 64 + 1 == 719_993


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (7, 1), (3, 2), (5, 3), (4, 2), (4, 1), (2, 2)])
def test_a_convolution_lies_where_it_should(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    for height, width in ((6, 7), (1, 4)):
        encoder = ConvEncoder(
            (2, height, width),
            layers=[(3, kernel, stride)],
            activation="softplus",
            batch_norm="none",
            width=None,
        )
        (conv,) = (module for module in encoder.modules() if isinstance(module, nn.Conv2d))
        x = torch.randn(2, 2, height, width)
        expected = torch.log1p(torch.exp(convolved(x, conv, stride)))
        torch.testing.assert_close(encoder(x), expected.flatten(1))
        assert encoder.out_features == expected[0].numel()


@pytest.mark.parametrize(("batch_norm", "normed"), [("none", (0, 0)), ("hidden", (1, 0)), ("all", (1, 1))])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gate"])
def test_batch_norm_comes_behind_the_nonlinearity(
    activation: str, batch_norm: str, normed: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder(
        (1, 5, 5), layers=[(3, 3, 2), (2, 3, 1)], activation=activation, batch_norm=batch_norm, width=None
    )  # type: ignore[arg-type]
    convs = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    x = expected = torch.randn(4, 1, 5, 5)
    for stride, has_norm in zip((2, 1), normed, strict=True):
        h = convolved(expected, convs.pop(0), stride)
        if activation == "gate":
            expected = h * sigmoid(convolved(expected, convs.pop(0), stride))
        else:
            expected = torch.where(h > 0, h, {"relu": 0.0, "leaky_relu": 0.1}[activation] * h)
        expected = normalised(expected) if has_norm else expected
    torch.testing.assert_close(encoder(x), expected.flatten(1))


@pytest.mark.parametrize("activation", ["relu", "gate"])
def test_a_dense_layer_comes_last_with_the_same_nonlinearity(activation: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"layers": [(2, 3, 1)], "activation": activation, "batch_norm": "none"}
    encoder, x = ConvEncoder((1, 4, 4), width=6, **options), torch.randn(3, 1, 4, 4)
    flat = ConvEncoder((1, 4, 4), width=None, **options)
    flat.load_state_dict(encoder.state_dict(), strict=False)
    first, *second = (module for module in encoder.modules() if isinstance(module, nn.Linear))
    h = flat(x) @ first.weight.T + first.bias
    expected = (
        h * sigmoid(flat(x) @ second[0].weight.T + second[0].bias) if activation == "gate" else h.clamp(min=0)
    )
    torch.testing.assert_close(encoder(x), expected)
    assert encoder.out_features == 6


def test_gate_is_one_layer_times_the_sigmoid_of_another() -> None:
    gated = Gated(lambda: nn.Linear(1, 1))
    with torch.no_grad():
        for layer, weight, bias in ((gated.value, 2.0, 1.0), (gated.gate, 1.0, -3.0)):
            layer.weight.fill_(weight)  # type: ignore[operator, union-attr]
            layer.bias.fill_(bias)  # type: ignore[operator, union-attr]
    x = torch.tensor([[3.0], [-0.5]])
    expected = [7 / 2, 0.0]  # sigmoid(0) is a half; 2 x + 1 is zero at -0.5
    assert gated(x).flatten().tolist() == pytest.approx(expected)


def test_decoder_is_dense_layers_an_image_convolutions_and_a_mix_of_their_maps() -> None:
    torch.manual_seed(0)
    decoder = GatedConvDecoder(4, (1, 3, 5), (1, 3, 5), **SMALL)  # type: ignore[arg-type]
    value, gate, to_image, image_gate = (
        module for module in decoder.modules() if isinstance(module, nn.Linear)
    )
    *convs, last = (module for module in decoder.modules() if isinstance(module, nn.Conv2d))
    z = torch.randn(4, 4)
    h = (z @ value.weight.T + value.bias) * sigmoid(z @ gate.weight.T + gate.bias)
    h = (h @ to_image.weight.T + to_image.bias) * sigmoid(h @ image_gate.weight.T + image_gate.bias)
    h = h.reshape(4, 1, 3, 5)
    for conv, conv_gate in zip(convs[::2], convs[1::2], strict=True):
        h = normalised(convolved(h, conv, 1) * sigmoid(convolved(h, conv_gate, 1)))
    torch.testing.assert_close(decoder(z), convolved(h, last, 1))


def test_decoder_gives_every_parameter_of_the_likelihood_from_as_many_maps_as_the_data_have() -> None:
    torch.manual_seed(0)
    for output_shape in ((7, 4, 6), (2, 3, 4, 6)):
        decoder = GatedConvDecoder(2, output_shape, (3, 4, 6), **SMALL)  # type: ignore[arg-type]
        assert decoder(torch.randn(5, 2)).shape == (5, *output_shape)
        assert decoder.output.out_channels == math.prod(output_shape[:-2])
        assert decoder.convolutions[0].value.in_channels == 3


def test_he_initialisation_is_the_dense_layers_alone() -> None:
    made = {}
    for init in ("default", "he"):
        torch.manual_seed(0)
        made[init] = GatedConvDecoder(50, (1, 20, 20), (1, 20, 20), **{**SMALL, "width": 200, "init": init})  # type: ignore[arg-type]
    for gated, fan_in in zip(made["he"].dense, (50, 200), strict=True):
        for layer in (gated.value, gated.gate):
            assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
            assert 0 < layer.bias.abs().max() <= fan_in**-0.5  # PyTorch's
    for part in ("convolutions", "output"):
        for he, default in zip(
            *(getattr(made[i], part).parameters() for i in ("he", "default")), strict=True
        ):
            assert he.equal(default)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("[[32,7]]", "more values in the list"),
        ("[[32,0,1]]", "1 or more"),
        ("[32,7,1]", "a list"),
        ("[[32,7.5,1]]", "an integer"),
    ],
)
def test_a_list_of_layers_that_is_none_is_refused(layers: str, expected: str) -> None:
    (problem,) = problems_of("model/encoder=conv", f"model.encoder.layers={layers}")
    assert problem.startswith("model.encoder.layers = ")
    assert problem.endswith(f": expected {expected}")


def test_the_convolutional_family_is_the_fisher_auto_encoder_with_both_networks() -> None:
    dense, convolutional = (config_of(f"model={name}")["model"] for name in ("fae", "fae_conv"))
    for part in ("objective", "posterior", "prior", "likelihood", "latent_dim"):
        assert convolutional[part] == dense[part]
    assert convolutional["encoder"]["activation"] == "gate"
    assert convolutional["decoder"]["init"] == "he"
