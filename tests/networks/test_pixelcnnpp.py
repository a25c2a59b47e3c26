"""Tests of PixelCNN++: dependence on pixels and on z, sampling with and without a cache."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks.sampling import assert_samples_agree
from vaebench.distributions import bernoulli_log_prob
from vaebench.errors import UserError
from vaebench.likelihoods.logistic_mixture import LogisticMixture
from vaebench.networks.pixelcnnpp import PixelCNNPPDecoder
from vaebench.networks.pixelcnnpp_layers import FirstLayer, GatedResNet
from vaebench.networks.raster import generate_naively

LATENT_DIM = 3
SIZES = [(6, 7), (4, 4), (9, 5), (3, 8), (1, 4), (2, 2)]
Shape = tuple[int, int, int]


def noisy(decoder: nn.Module) -> Any:
    """Return the decoder with random parameters that are not small."""
    torch.manual_seed(0)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter)
    return decoder.eval()


def plusplus(shape: Shape = (1, 6, 7), num_parameters: int | None = None, **options: Any) -> Any:
    known: dict[str, Any] = {"channels": 4, "resnets": 1, "resolutions": 3, "dropout": 0.5}
    output_shape = (num_parameters or shape[0], *shape[1:])
    return noisy(PixelCNNPPDecoder(LATENT_DIM, output_shape, shape, **(known | options)))


def earlier_pixels(outputs: Tensor, x: Tensor) -> Tensor:
    """Return whether each output depends on each number of x, by the gradient, `[outputs, *x.shape[1:]]`."""
    gradients = [torch.autograd.grad(output, x, retain_graph=True)[0][0] for output in outputs.flatten()]
    return torch.stack(gradients) != 0


@pytest.mark.slow
@pytest.mark.parametrize("resolutions", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_pixel_sees_all_pixels_before_it_and_no_other(size: tuple[int, int], resolutions: int) -> None:
    """With one resolution, fewer layers would see only a part of the earlier pixels."""
    shape = (2, *size)
    x = torch.rand(1, *shape, requires_grad=True)
    decoder = plusplus(shape, resnets=4 if resolutions == 1 else 2, resolutions=resolutions)
    outputs = decoder(torch.randn(1, LATENT_DIM), x).sum(1)
    seen = earlier_pixels(outputs, x).any(1).flatten(1)
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_in_images_of_real_sizes_a_change_moves_later_pixels_alone(side: int) -> None:
    shape = (3, side, side)
    decoder, z = plusplus(shape, resnets=1), torch.randn(1, LATENT_DIM)
    x = torch.rand(1, *shape)
    with torch.no_grad():
        before = decoder(z, x)
        assert before.shape == (1, *shape)
        for i, j in ((0, 0), (1, side - 1), (side // 2 - 1, side // 2), (side - 2, 3), (side - 1, side - 2)):
            changed = x.clone()
            changed[:, :, i, j] += 1
            moved = (decoder(z, changed) != before).any(1).flatten()
            place = i * side + j
            assert not moved[: place + 1].any()
            assert moved.any()
            assert moved[place + 1] or j == side - 1  # whose successor is far away


def test_with_its_likelihood_a_channel_sees_those_before_it_in_its_pixel() -> None:
    shape = (3, 3, 4)
    likelihood = LogisticMixture(shape, num_components=2, log_scale_range=(-7, 7))
    decoder = plusplus(shape, likelihood.parameter_shape[0], resnets=2)
    x = torch.rand(1, *shape, requires_grad=True)
    components = likelihood._components(decoder(torch.randn(1, LATENT_DIM), x))
    for channel in range(3):
        means = components.channel_mean(channel, x.unsqueeze(1).unbind(2)[:channel]).sum(1)
        seen = earlier_pixels(means, x).flatten(2)  # [pixel, channel of x, pixel of x]
        earlier = torch.ones(12, 12, dtype=torch.bool).tril(-1)
        own = torch.eye(12, dtype=torch.bool)
        for other in range(3):
            assert torch.equal(seen[:, other], earlier | own if other < channel else earlier)


def test_probabilities_of_all_images_sum_to_one() -> None:
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).view(-1, 1, 2, 4)
    z = torch.randn(1, LATENT_DIM).expand(len(images), -1)
    log_px = bernoulli_log_prob(images, plusplus((1, 2, 4))(z, images).detach()).sum((1, 2, 3))
    assert float(log_px.double().exp().sum()) == pytest.approx(1, abs=1e-5)
    assert log_px.std() > 0.5


@pytest.mark.parametrize("resolutions", [1, 3])
def test_z_enters_every_gated_residual_network_of_both_streams(resolutions: int) -> None:
    decoder = plusplus(resnets=2, resolutions=resolutions)
    heard: dict[str, bool] = {}

    def listen(name: str, net: GatedResNet, given: tuple[Any, ...]) -> None:
        x, beside, z = given
        same, maps = x[:1].expand_as(x), [m[:1].expand_as(m) for m in beside]
        with torch.no_grad():
            one, other = net.forward(same, maps, z)
        heard[name] = bool((one - other).abs().amax((1, 2)).min() > 1e-4)  # in each of its channels

    nets = {name: net for name, net in decoder.named_modules() if isinstance(net, GatedResNet)}
    for name, net in nets.items():
        net.register_forward_pre_hook(partial(lambda name, net, given: listen(name, net, given), name))
    decoder(torch.randn(2, LATENT_DIM), torch.rand(1, 1, 6, 7).expand(2, -1, -1, -1))
    # Both paths at each resolution, one more on the decoder path at all but the lowest; two streams.
    assert len(nets) == 2 * (2 * 2 * resolutions + resolutions - 1)
    assert set(heard) == set(nets)
    assert all(heard.values())


def test_the_first_layer_by_hand() -> None:
    """The input is x in [-1, 1] and a map of ones; the padding is zero in both."""
    first: FirstLayer = noisy(FirstLayer(1, 2))
    x = torch.rand(1, 1, 3, 4)
    framed = F.pad(torch.cat([2 * x - 1, torch.ones_like(x)], 1), (1, 1, 2, 0))[0]  # two rows, one column
    above, row_above, left = (layer.conv.layer for layer in (first.above, first.row_above, first.left))

    def at(conv: Any, i: int, j: int) -> Tensor:
        height, width = conv.weight.shape[2:]
        seen = framed[:, i + 3 - height : i + 3, j + 2 - width : j + 2]
        return conv.bias + torch.einsum("oikl,ikl->o", conv.weight, seen)

    down, down_right = (maps[0] for maps in first(x))
    for i, j in itertools.product(range(3), range(4)):
        nothing = torch.zeros(2)
        from_above = at(above, i - 1, j + 1) if i > 0 else nothing
        from_row = at(row_above, i - 1, j + 1) if i > 0 else nothing
        torch.testing.assert_close(down[:, i, j], from_above)
        torch.testing.assert_close(down_right[:, i, j], from_row + (at(left, i, j - 1) if j > 0 else nothing))


def test_a_gated_residual_network_by_hand() -> None:
    """Computes the pixel (2, 3) from the weights, without a convolution; z adds a bias."""
    net: GatedResNet = noisy(GatedResNet(2, 1, LATENT_DIM, dropout=0.5, stream="down_right"))
    assert net.beside is not None
    x, beside, z = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 4, 5), torch.randn(1, LATENT_DIM)
    first, second, shortcut = net.first.conv.layer, net.second.conv.layer, net.beside.layer

    def both(maps: Tensor) -> Tensor:
        return torch.cat([F.elu(maps), F.elu(-maps)])

    def c(i: int, j: int) -> Tensor:
        seen = torch.einsum("oikl,ikl->o", first.weight, both(x[0])[:, i - 1 : i + 1, j - 1 : j + 1])
        return seen + first.bias + shortcut.weight[:, :, 0, 0] @ both(beside[0])[:, i, j] + shortcut.bias

    signal = second.bias + net.code.weight @ z[0]
    for k, m in itertools.product(range(2), repeat=2):
        signal = signal + second.weight[:, :, k, m] @ both(c(1 + k, 2 + m))
    expected = x[0, :, 2, 3] + signal[:2] * torch.sigmoid(signal[2:])
    torch.testing.assert_close(net(x, [beside], z)[0, :, 2, 3], expected)


@pytest.mark.slow
def test_parameters_of_the_decoder_of_the_authors() -> None:
    decoder = PixelCNNPPDecoder(
        20, (80, 32, 32), (3, 32, 32), channels=120, resnets=5, resolutions=3, dropout=0.5
    )

    def conv(i: int, o: int, k: int) -> int:
        return i * o * k + 2 * o  # a gain and a bias for each map

    def net(k: int, beside: int) -> int:
        pointwise = conv(240 * beside, 120, 1) if beside else 0
        return conv(240, 120, k) + conv(240, 240, k) + pointwise + 20 * 240

    first = conv(4, 120, 6) + conv(4, 120, 3) + conv(4, 120, 2)
    there, back = net(6, 0) + net(4, 1), net(6, 1) + net(4, 2)
    between = 4 * (conv(120, 120, 6) + conv(120, 120, 4))
    expected = first + 15 * there + 17 * back + between + conv(120, 80, 1)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == expected


VARIANTS = {
    f"{shape} {resnets} x {resolutions}": (shape, resnets, resolutions)
    for shape, sizes in {  # each shape with two sizes, and each size with two shapes
        (1, 5, 6): ((1, 3), (2, 4)),
        (3, 4, 4): ((1, 1), (1, 3)),
        (2, 9, 7): ((2, 2), (2, 4)),
        (1, 1, 3): ((1, 1), (2, 2)),
    }.items()
    for resnets, resolutions in sizes
}


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "resnets", "resolutions"), VARIANTS.values(), ids=VARIANTS)
def test_cached_sampling_draws_what_the_naive_sampler_draws(
    shape: Shape, resnets: int, resolutions: int
) -> None:
    decoder, z = plusplus(shape, resnets=resnets, resolutions=resolutions), torch.randn(3, LATENT_DIM)
    _, logits = assert_samples_agree(decoder, z, shape)
    assert logits.std() > 0.3


def test_cached_sampling_of_a_mixture_of_logistics() -> None:
    shape = (3, 4, 6)
    likelihood = LogisticMixture(shape, num_components=3, log_scale_range=(-7, 7))
    decoder = plusplus(shape, likelihood.parameter_shape[0])
    z = torch.randn(2, LATENT_DIM)
    draws = [
        draw(partial(likelihood.sample, generator=torch.Generator().manual_seed(1)))
        for draw in (partial(decoder.sample, z), partial(generate_naively, decoder, z, shape))
    ]
    assert torch.equal(*draws)
    assert len(draws[0].unique()) > 20


def test_dropout_is_off_in_evaluation_and_in_sampling() -> None:
    decoder, x, z = plusplus(), torch.rand(1, 1, 6, 7), torch.randn(1, LATENT_DIM)
    assert torch.equal(decoder(z, x), decoder(z, x))

    def drawn() -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return decoder.sample(z, lambda p: torch.bernoulli(torch.sigmoid(p), generator=generator))

    expected = drawn()
    decoder.train()
    assert (decoder(z, x) - decoder(z, x)).abs().max() > 0.01
    assert torch.equal(drawn(), expected)
    assert not torch.equal(plusplus(dropout=0.0).train()(z, x), decoder(z, x))


def test_data_that_are_no_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"works on images.*\[12\]"):
        PixelCNNPPDecoder(2, (12,), (12,), channels=2, resnets=1, resolutions=1, dropout=0.0)
