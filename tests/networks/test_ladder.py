"""Tests of the ladder encoder and the U-shaped generator against compositions by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaebench.networks.ladder import BatchNorm, LadderEncoder, UpConvolution, convolution, level_shapes
from vaebench.networks.ladder_generator import LadderGenerator

SIZES: dict[str, Any] = {"channels": [4, 6, 8], "width": 10, "codes": [2, 3, 1], "batch_norm": True}
SHAPES = [
    (1, 8, 8),
    (1, 28, 28),
    (3, 28, 28),
    (1, 32, 32),
    (3, 32, 32),
    (1, 64, 64),
    (3, 64, 64),
    (1, 11, 17),
]


def encoder(shape: tuple[int, int, int], **options: Any) -> LadderEncoder:
    torch.manual_seed(0)
    return LadderEncoder(shape, **SIZES | options)


def generator(shape: tuple[int, int, int], sees_image: bool = True, **options: Any) -> LadderGenerator:
    torch.manual_seed(0)
    return LadderGenerator(shape, **SIZES | options, sees_image=sees_image)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def lively(network: nn.Module) -> Any:
    """Return the network in evaluation mode, with random statistics and parameters of the batch norms."""
    torch.manual_seed(2)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            for tensor in (module.running_mean, module.bias):
                tensor.normal_(std=0.3)
            for tensor in (module.running_var, module.weight):
                tensor.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, int, int]) -> None:
    x, z = normal(2, *shape).tanh(), normal(2, 6)
    assert [part.shape for part in encoder(shape)(x)] == [(2, 6), (2, 6)]
    for image in (x, generator(shape, sees_image=False)(z), generator(shape)(z, x)):
        assert image.shape == x.shape
        assert image.abs().max() <= 1


def test_levels_have_half_the_size_rounded_up() -> None:
    assert level_shapes((3, 28, 64), [5, 6, 7, 8]) == [(5, 14, 32), (6, 7, 16), (7, 4, 8), (8, 2, 4)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 8), (8, 7), (1, 2), (28, 5)], ids=str)
def test_the_way_up_is_the_transpose_of_the_way_down(size: tuple[int, int], stride: int) -> None:
    """<down(x), y> = <x, up(y)> for equal weights: padding and crop agree."""
    down = nn.Sequential(*convolution(3, 5, stride, bias=False)).double()
    up = UpConvolution(5, 3, stride, size, bias=False).double()
    up.transposed.weight = down[1].weight
    x = normal(2, 3, *size).double()
    y = down(x)
    assert y.shape[2:] == tuple(-(-pixels // stride) for pixels in size)
    other = normal(*y.shape, seed=3).double()
    assert up(other).shape == x.shape
    torch.testing.assert_close((y * other).sum(), (x * up(other)).sum())


def test_a_batch_with_one_number_a_channel_takes_running_statistics() -> None:
    norm = lively(BatchNorm(3)).train()
    x = normal(1, 3)
    expected = (x - norm.running_mean) / (norm.running_var + 1e-3).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), expected)
    before = norm.running_mean.clone()
    assert norm(x.view(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    assert torch.equal(norm.running_mean, before)
    normalised = x / (x.square() + 1e-3).sqrt()  # of the pair x and -x
    pair = torch.cat([normalised, -normalised]) * norm.weight + norm.bias
    torch.testing.assert_close(norm(torch.cat([x, -x])), pair)
    assert not torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_encoder_composed_by_hand(batch_norm: bool) -> None:
    network, x = lively(encoder((3, 9, 12), batch_norm=batch_norm)), normal(2, 3, 9, 12)

    def unit(block: nn.Sequential, h: Tensor) -> Tensor:
        h = block[1](F.pad(h, (0, 1, 0, 1))) if isinstance(block[1], nn.Conv2d) else block[0](h)
        norms = [module for module in block if isinstance(module, BatchNorm)]
        assert len(norms) == batch_norm
        for norm in norms:
            h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3)
        return torch.maximum(h, 0.1 * h)

    levels, h = [], x
    for number, level in enumerate(network.trunk.levels):
        assert [block[1].stride[0] for block in level] == ([2, 1] if number < 2 else [2])
        for block in level:
            h = unit(block, h)
        levels.append(h.flatten(1))
    levels[-1] = unit(network.top, levels[-1])
    for found, heads in zip(network(x), (network.means, network.stds), strict=True):
        parts = [F.linear(h, head.weight, head.bias) for h, head in zip(levels, heads, strict=True)]
        expected = torch.cat(parts, 1)
        torch.testing.assert_close(found, expected if heads is network.means else expected.sigmoid().log())


@pytest.mark.parametrize("sees_image", [True, False])
def test_the_generator_composed_by_hand(sees_image: bool) -> None:
    network = lively(generator((3, 9, 12), sees_image, batch_norm=True))
    z, image = normal(2, 6), normal(2, 3, 9, 12).tanh()

    def norm(block: nn.Sequential, h: Tensor) -> Tensor:
        module = block[1]
        return F.batch_norm(h, module.running_mean, module.running_var, module.weight, module.bias, eps=1e-3)

    def dense(block: nn.Sequential, h: Tensor, slope: float) -> Tensor:
        return F.leaky_relu(norm(block, F.linear(h, block[0].weight)), slope)

    def up(block: nn.Module, h: Tensor, size: tuple[int, int], stride: int) -> Tensor:
        bias = block.transposed.bias
        return F.conv_transpose2d(h, block.transposed.weight, bias, stride, 1)[..., : size[0], : size[1]]

    rungs = [dense(rung, code, 0.1) for rung, code in zip(network.rungs, z.split([2, 3, 1], 1), strict=True)]
    top = rungs[2]
    if sees_image:
        maps = network.trunk(image)
        below = dense(network.bottom[1], dense(network.bottom[0], maps[2].flatten(1), 0.1), 0.1)
        top = torch.cat([below, top], 1)
    h = dense(network.top[1], dense(network.top[0], top, 0.0), 0.0).view(2, 8, 2, 2)
    for number, (channels, size) in enumerate([(6, (3, 3)), (4, (5, 6))]):
        h = norm(network.ups[number], up(network.ups[number][0], h, size, 2))
        h = (h + maps[1 - number]).relu() if sees_image else F.leaky_relu(h, 0.1)
        h = torch.cat([h, rungs[1 - number].view(2, channels, *size)], 1)
        h = F.leaky_relu(norm(network.merges[number], up(network.merges[number][0], h, size, 1)), 0.1)
    expected = torch.tanh(up(network.output, h, (9, 12), 2) / 2)  # 2 sigmoid(v) - 1
    if sees_image:
        a = torch.sigmoid(up(network.gate, h, (9, 12), 2))
        assert a.shape == (2, 1, 9, 12)
        expected = a * expected + (1 - a) * image
    torch.testing.assert_close(network(z, image if sees_image else None), expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28)], ids=str)
@pytest.mark.parametrize("sees_image", [True, False])
def test_every_unit_of_the_code_reaches_the_output(shape: tuple[int, int, int], sees_image: bool) -> None:
    network, z = lively(generator(shape, sees_image)), normal(2, 6).requires_grad_()
    image = normal(2, *shape).tanh() if sees_image else None
    network(z, image).square().sum().backward()
    assert z.grad is not None
    assert (z.grad != 0).all()


def set_gate(network: LadderGenerator, bias: float) -> None:
    assert network.gate is not None
    nn.init.zeros_(network.gate.transposed.weight)
    nn.init.constant_(network.gate.transposed.bias, bias)


def test_a_closed_gate_keeps_the_image_and_an_open_one_forgets_it() -> None:
    network = lively(generator((1, 8, 8)))
    z, image = normal(2, 6), normal(2, 1, 8, 8).tanh()
    set_gate(network, -200.0)
    assert torch.equal(network(z, image), image)
    set_gate(network, 200.0)
    network.trunk.forward = lambda image: [torch.zeros(2, *maps) for maps in network.shapes]  # the gate alone
    assert torch.equal(network(z, image), network(z, -image))
    set_gate(network, 0.0)
    torch.testing.assert_close(network(z, image) - network(z, -image), image)  # a = 1/2


@pytest.mark.parametrize("level", [0, 1, 2])
def test_each_level_of_the_trunk_reaches_the_output(level: int) -> None:
    """The first two levels see x' by shortcuts, the last one by dense layers; the gate is open."""
    network = lively(generator((1, 8, 8)))
    set_gate(network, 200.0)
    z, image = normal(2, 6), normal(2, 1, 8, 8).tanh()
    maps = [part.detach() for part in network.trunk(image)]
    maps[level].requires_grad_()
    network.trunk.forward = lambda image: maps
    network(z, image).square().sum().backward()
    assert maps[level].grad is not None
    assert (maps[level].grad != 0).float().mean() > 0.1
    assert [part.grad is None for part in maps].count(True) == 2


def test_weights_start_small_in_front_of_a_batch_norm_alone() -> None:
    stds = {name: p.std().item() for name, p in generator((3, 32, 32)).named_parameters() if p.dim() > 1}
    for name, std in stds.items():
        if "output" not in name and "gate" not in name:
            assert std == pytest.approx(0.02, rel=0.4), name
    plain = generator((3, 32, 32), batch_norm=False)
    assert plain.top[0][0].weight.std() > 0.08
    assert not any(isinstance(module, BatchNorm) for module in plain.modules())
    assert all(module.bias is not None for module in plain.modules() if isinstance(module, nn.Linear))
