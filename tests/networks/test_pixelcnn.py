"""Tests of the PixelCNN decoders: dependence on pixels and on z, sampling with and without a cache."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.networks.sampling import assert_samples_agree
from tests.pairwise import pairwise
from vaebench.distributions import bernoulli_log_prob
from vaebench.errors import UserError
from vaebench.networks.gated_pixelcnn import GatedPixelCNNDecoder
from vaebench.networks.mlp import MLPDecoder
from vaebench.networks.pixel_head import MaskedConv2d, PixelHeadDecoder

LATENT_DIM = 3
MLP: dict[str, Any] = {
    "depth": 1, "width": 6, "activation": "tanh", "skip": "none", "bridge": "identity", "init": "default",
}  # fmt: skip


def noisy(decoder: Any) -> Any:
    """Return the decoder with random parameters, biases and running statistics that are not small."""
    torch.manual_seed(0)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.4)
    for module in decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return decoder.eval()


def gated(shape: tuple[int, int, int] = (1, 6, 7), **options: Any) -> GatedPixelCNNDecoder:
    known: dict[str, Any] = {
        "depth": 3, "channels": 4, "kernel_size": 3, "first_kernel_size": 3, "z_enters": "first",
        "code_maps": 1, "v_shift": "accumulate", "init": "default", "init_from_data": False,
    }  # fmt: skip
    return noisy(GatedPixelCNNDecoder(LATENT_DIM, shape, shape, **(known | options)))


def headed(shape: tuple[int, int, int] = (1, 6, 7), **options: Any) -> PixelHeadDecoder:
    known: dict[str, Any] = {"maps": 2, "depth": 3, "channels": 4, "kernel_size": 3}
    return noisy(
        PixelHeadDecoder(LATENT_DIM, shape, shape, base=partial(MLPDecoder, **MLP), **(known | options))
    )


GRID = [
    (gated, case)
    for case in pairwise(
        z_enters=("first", "every", "gates"),
        v_shift=("accumulate", "correct"),
        kernels=((3, 3), (7, 3), (7, 7)),
        depth=(1, 2, 5),
        channels=(1, 3),
        num=(1, 3),
    )
] + [
    (headed, case) for case in pairwise(kernel_size=(3, 5, 7), depth=(1, 4), channels=(1, 3), num=(1, 3))
]  # every two settings meet; `num` codes are drawn at once, one of them in NumPy and more in torch


def on_grid(
    make: Any, case: dict[str, Any], height: int, width: int
) -> tuple[Any, tuple[int, int, int], int]:
    """The decoder of a case, the shape of its images and the number of its codes."""
    options = dict(case)
    num, shape = options.pop("num"), (options.pop("channels"), height, width)
    if "kernels" in options:
        options["first_kernel_size"], options["kernel_size"] = options.pop("kernels")
    return make(shape, **options), shape, num


def name_of(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else value.__name__


def seen_by(decoder: Any, shape: tuple[int, int, int]) -> Tensor:
    """Return whether each output pixel depends on each input pixel, `[HW, HW]`, by the gradient."""
    x = torch.rand(1, *shape, requires_grad=True)
    output = decoder(torch.randn(1, LATENT_DIM), x).sum(1).flatten()
    rows = [
        torch.autograd.grad(pixel, x, retain_graph=True)[0].abs().sum((0, 1)).flatten() for pixel in output
    ]
    return torch.stack(rows) > 0


@pytest.mark.parametrize(("make", "case"), GRID, ids=name_of)
def test_no_pixel_sees_itself_or_a_later_one(make: Any, case: dict[str, Any]) -> None:
    decoder, shape, _ = on_grid(make, case, 6, 7)
    seen = seen_by(decoder, shape)
    assert not seen.triu().any()
    assert seen[1:].any(1).double().mean() > 0.3  # some of ReLU's pixels are dead


@pytest.mark.parametrize("stack", ["vertical", "horizontal"])
@pytest.mark.parametrize("shift", ["accumulate", "correct"])
def test_each_stack_sees_its_own_part(stack: str, shift: str) -> None:
    """The vertical stack sees the full rows above, the horizontal stack its own row to the left."""
    depth, (height, width) = 4, (6, 7)
    decoder = gated(depth=depth, v_shift=shift)
    with torch.no_grad():
        for layer in decoder.layers:
            if stack == "vertical":
                layer.horizontal.weight.zero_()
                if layer.residual is not None:
                    layer.residual.weight.zero_()
            else:
                layer.downward.weight.zero_()
    seen = seen_by(decoder, (1, height, width)).view(height, width, height, width)
    rows = seen.any(1).any(-1)  # [row, row it sees]
    if stack == "horizontal":
        assert torch.equal(rows[1:, 1:], torch.eye(height, dtype=torch.bool)[1:, 1:])
        # To the left it sees four layers of reach one; the first layer starts one pixel further to the left.
        assert seen[2, width - 1, 2].tolist() == [
            width - 1 - depth - 1 <= j < width - 1 for j in range(width)
        ]
        return
    # Without horizontal paths only the last layer reaches the output. If shifts accumulate, its vertical
    # input has passed depth - 1 shifts by one row, and does not see as many of the nearest rows.
    nearest = depth if shift == "accumulate" else 1
    for i in range(height):
        expected = [nearest <= i - other <= 2 * depth for other in range(height)]
        assert rows[i].tolist() == expected
    if shift == "correct":
        assert seen[4, 3, 3].sum() == width  # the row above, 2 * depth + 1 = 9 columns wide


def test_accumulated_shifts_leave_a_blind_spot_and_the_correct_one_none() -> None:
    seen = seen_by(gated((1, 5, 5), depth=8, v_shift="correct"), (1, 5, 5))
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))
    # Only the first layer sees the row above, and from it one column further to the right.
    seen = seen_by(gated((1, 5, 5), depth=8, v_shift="accumulate"), (1, 5, 5)).view(5, 5, 5, 5)
    assert seen[3, 1, 2].tolist() == [True, True, True, False, False]
    assert seen[3, 1, 1].tolist() == [True, True, True, True, False]


def layers_that_hear_z(decoder: GatedPixelCNNDecoder) -> list[bool]:
    """Return whether z changes the output of each layer, other inputs fixed, and of the output layer."""
    z = torch.randn(2, LATENT_DIM)
    maps = decoder.maps_of(z)
    heard = []
    for number, layer in enumerate(decoder.layers):
        fixed = torch.rand(1, layer.horizontal.in_channels - maps[number].shape[1], *decoder.size)
        inputs = torch.cat([fixed.expand(2, -1, -1, -1), maps[number]], 1)
        v, h = layer(inputs, inputs, z)
        heard.append(bool((h[0] - h[1]).abs().max() > 1e-3) and bool((v[0] - v[1]).abs().max() > 1e-3))
    return [*heard, maps[-1].shape[1] > 0]


def test_z_enters_every_layer_with_skips_and_only_the_first_without() -> None:
    assert layers_that_hear_z(gated(z_enters="first")) == [True, False, False, False]
    assert layers_that_hear_z(gated(z_enters="every")) == [True, True, True, True]
    assert layers_that_hear_z(gated(z_enters="gates")) == [True, True, True, False]


def test_each_layer_of_a_skip_model_has_a_map_of_its_own() -> None:
    maps = gated(z_enters="every", code_maps=2).maps_of(torch.randn(1, LATENT_DIM))
    assert [tuple(m.shape) for m in maps] == [(1, 2, 6, 7)] * 4
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(maps, 2))


def test_parameters_of_the_nine_layer_decoder_of_skip_vae() -> None:
    paper = {"depth": 9, "channels": 32, "code_maps": 1}
    conv = lambda i, o, k: i * o * k + o  # noqa: E731
    linear = 20 * 784 + 784

    def count(z_enters: str) -> int:
        decoder = GatedPixelCNNDecoder(
            20, (1, 28, 28), (1, 28, 28), kernel_size=3, first_kernel_size=3, v_shift="accumulate",
            z_enters=z_enters, init="default", init_from_data=False, **paper,  # type: ignore[arg-type]
        )  # fmt: skip
        return sum(parameter.numel() for parameter in decoder.parameters())

    def layer(i: int) -> int:
        return conv(i, 64, 6) + conv(i, 64, 2) + conv(64, 64, 1) + conv(32, 32, 1)

    assert count("first") == linear + layer(2) + 8 * (layer(32) + conv(32, 32, 1)) + conv(32, 1, 1)
    assert count("every") == 10 * linear + layer(2) + 8 * (layer(33) + conv(33, 32, 1)) + conv(33, 1, 1)


def test_a_gated_layer_by_hand() -> None:
    """Computes one layer at the pixel (2, 3) from its weights, without a convolution."""
    decoder = gated(depth=1)
    layer, x, z = decoder.layers[0], torch.rand(1, 1, 6, 7), torch.randn(1, LATENT_DIM)
    inputs = torch.cat([x, decoder.maps_of(z)[0]], 1)[0]
    above = layer.vertical.bias + torch.einsum("oikl,ikl->o", layer.vertical.weight, inputs[:, 0:2, 2:5])
    left = layer.horizontal.bias + torch.einsum(
        "oil,il->o", layer.horizontal.weight[:, :, 0], inputs[:, 2, 1:3]
    )
    signal = left + layer.downward.weight[:, :, 0, 0] @ above + layer.downward.bias
    gate = torch.tanh(signal[:4]) * torch.sigmoid(signal[4:])
    h = layer.output.weight[:, :, 0, 0] @ gate + layer.output.bias
    expected = decoder.output.weight[:, :, 0, 0] @ h + decoder.output.bias
    torch.testing.assert_close(decoder(z, x)[0, :, 2, 3], expected)


@pytest.mark.parametrize("decoder", [gated((1, 2, 4)), headed((1, 2, 4))], ids=["gated", "head"])
def test_probabilities_of_all_images_sum_to_one(decoder: Any) -> None:
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).view(-1, 1, 2, 4)
    z = torch.randn(1, LATENT_DIM).expand(len(images), -1)
    log_px = bernoulli_log_prob(images, decoder(z, images).detach()).sum((1, 2, 3))
    assert float(log_px.double().exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("make", "case"), GRID, ids=name_of)
def test_cached_sampling_draws_what_the_naive_sampler_draws(make: Any, case: dict[str, Any]) -> None:
    decoder, shape, num = on_grid(make, case, 5, 6)
    images, _ = assert_samples_agree(decoder, torch.randn(num, LATENT_DIM), shape)
    assert 0.1 < images.mean() < 0.9


def test_masks_by_hand() -> None:
    a, b = MaskedConv2d(1, 1, 3, "A"), MaskedConv2d(1, 1, 3, "B")
    assert a.mask[0, 0].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert b.mask[0, 0].tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    x = torch.rand(1, 1, 3, 3)
    expected = (x[0, 0] * a.weight[0, 0] * a.mask[0, 0]).sum()
    torch.testing.assert_close(a(x)[0, 0, 1, 1], expected)
    assert "mask" not in a.state_dict()


def test_the_head_passes_the_gradient_on_to_its_base() -> None:
    decoder = headed()
    decoder(torch.randn(2, LATENT_DIM), torch.rand(2, 1, 6, 7)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in decoder.base.parameters())


@pytest.mark.parametrize("make", [gated, headed])
def test_data_that_are_no_images_are_refused(make: Any) -> None:
    with pytest.raises(UserError, match=r"works on images.*\[12\]"):
        make((12,))


def test_an_output_that_starts_from_data_has_their_log_odds_and_may_not_be_infinite() -> None:
    decoder = gated((2, 6, 7), init_from_data=True)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    x = torch.zeros(5, 2, 6, 7)
    x[:, 0, :3] = 1
    decoder.init_from_data(x)
    torch.testing.assert_close(decoder.output.bias[0], torch.tensor(0.0))
    assert torch.sigmoid(decoder.output.bias[1]).item() == pytest.approx(0.5 / 211)
    changed = {name for name, value in decoder.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"output.bias"}
    decoder = gated((2, 6, 7))
    decoder.init_from_data(x)
    assert torch.equal(decoder.output.bias, before["output.bias"])


@pytest.mark.parametrize("z_enters", ["first", "every", "gates"])
def test_he_initialisation_is_of_what_is_linear_in_the_code(z_enters: str) -> None:
    def start(init: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        decoder = GatedPixelCNNDecoder(
            20, (1, 6, 7), (1, 6, 7), depth=2, channels=16, kernel_size=3, first_kernel_size=3,
            z_enters=z_enters, code_maps=1, v_shift="correct", init=init, init_from_data=False,  # type: ignore[arg-type]
        )  # fmt: skip
        return {name: weight.detach() for name, weight in decoder.named_parameters() if "code" in name}

    he, default = start("he"), start("default")
    for name, weight in he.items():
        if name.endswith("bias"):
            assert 0 < weight.abs().max() <= 20**-0.5  # PyTorch's
        else:
            torch.testing.assert_close(weight.std().item(), (2 / 20) ** 0.5, rtol=0.1, atol=0)
            assert weight.std() > 2 * default[name].std()
