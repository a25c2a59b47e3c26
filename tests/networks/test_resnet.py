"""Tests that the residual encoder is the network of Skip-VAE's code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import composed, config_of
from vaebench.config.build import factory
from vaebench.errors import UserError
from vaebench.networks.resnet import ResidualBlock, ResNetEncoder
from vaebench.runner.prepare import build_model, make_training, prepare


def encoder_of(shape: tuple[int, ...], *overrides: str) -> ResNetEncoder:
    return factory(config_of("model/encoder=resnet", *overrides)["model"]["encoder"])(shape)


def conv3(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Compute sum_{u,v} W[:, :, u, v] x[i + u - 1, j + v - 1] + b, with zero padding."""
    height, width = x.shape[2:]
    framed = x.new_zeros(*x.shape[:2], height + 2, width + 2)
    framed[:, :, 1:-1, 1:-1] = x
    shifted = [
        torch.einsum("oc,bchw->bohw", conv.weight[:, :, u, v], framed[:, :, u : u + height, v : v + width])
        for u in range(3)
        for v in range(3)
    ]
    return torch.stack(shifted).sum(0) + conv.bias[:, None, None]


def normalised(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Normalise with the mean and the biased variance of the batch."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return norm.weight[:, None, None] * (x - mean) / (var + norm.eps).sqrt() + norm.bias[:, None, None]


@torch.no_grad()
def scatter_(network: nn.Module) -> None:
    """Set weights and biases of batch norms to other values than 1 and 0, to detect a missing one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 2)
            module.bias.uniform_(-1, 1)


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((1, 28, 28), 64 * 3 * 3),
        ((3, 28, 28), 64 * 3 * 3),
        ((1, 32, 32), 64 * 4 * 4),
        ((3, 64, 64), 64 * 8 * 8),
        ((1, 8, 8), 64),
        ((1, 9, 20), 64 * 1 * 2),
    ],
    ids=str,
)
def test_three_blocks_halve_the_image_three_times(shape: tuple[int, ...], features: int) -> None:
    encoder = encoder_of(shape)
    assert encoder.out_features == features
    assert encoder(torch.randn(2, *shape)).shape == (2, features)


def test_the_published_network_has_its_number_of_parameters() -> None:
    c = 64
    conv, norm, halving = 9 * c * c + c, 2 * c, 4 * c * c + c
    first = (9 * c + c) + conv + 2 * norm + (c + c) + halving
    later = 2 * conv + 2 * norm + halving
    assert first + 2 * later == 235_520
    for channels, more in ((1, 0), (3, 2 * 9 * c + 2 * c)):  # two planes more: 3x3 and 1x1 kernels on each
        count = sum(parameter.numel() for parameter in encoder_of((channels, 28, 28)).parameters())
        assert count == 235_520 + more


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 3)])
def test_a_block_is_the_formula_of_its_docstring(before: int, after: int) -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(before, after), torch.randn(4, before, 5, 6)
    scatter_(block)
    first, first_norm, _, second, second_norm = block.body
    h = normalised(conv3(x, first), first_norm).clamp(min=0)
    h = normalised(conv3(h, second), second_norm)
    if before != after:
        weight, bias = block.shortcut.weight[:, :, 0, 0], block.shortcut.bias
        x_there = torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None]
    else:
        x_there = x
        assert not list(block.shortcut.parameters())
    torch.testing.assert_close(block(x), (h + x_there).clamp(min=0))


def test_a_halving_reads_patches_that_do_not_overlap_and_leaves_out_an_odd_row() -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder((2, 4, 7), blocks=1, channels=3).eval()
    x = torch.randn(2, 2, 4, 7)
    block, halving = encoder.blocks
    h = block(x)[..., :6].unflatten(3, (3, 2)).unflatten(2, (2, 2))  # [B, C, i, u, j, v]
    expected = torch.einsum("ocuv,bciujv->boij", halving.weight, h) + halving.bias[:, None, None]
    torch.testing.assert_close(encoder(x), expected.flatten(1))


def test_as_many_blocks_as_the_image_allows() -> None:
    assert encoder_of((1, 8, 8), "model.encoder.blocks=2", "model.encoder.channels=5").out_features == 5 * 4
    for shape, most in (((1, 7, 28), 2), ((1, 28, 4), 2), ((3, 1, 1), 0)):
        message = (
            rf"^model\.encoder\.blocks = 3: .* {shape[1]} x {shape[2]} pixels allow {most} times; "
            rf"expected {most} or less, or model/encoder=mlp\.$"
        )
        with pytest.raises(UserError, match=message):
            encoder_of(shape)


def test_a_vamp_prior_trains_through_it(tmp_path: Path) -> None:
    words = ["training.batch_size=8", "runtime.device=cpu", "runtime.threads=1", f"paths.outputs={tmp_path}"]
    small = ["model.prior.num_components=4", "model.encoder.channels=4", "model.decoder.width=8"]
    experiment = prepare(composed("model=vamp_vae", "model/encoder=resnet", *words, *small))
    torch.manual_seed(0)
    model = build_model(experiment.config, experiment.dataset)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    training = make_training(experiment, model)
    logged = training.step(training.batches(0, 0), torch.tensor(0))
    assert logged["loss"].isfinite()
    moved = {name for name, parameter in model.named_parameters() if not parameter.equal(before[name])}
    assert {"prior.pseudo_inputs", "encoder.blocks.0.shortcut.weight", "encoder.blocks.5.weight"} <= moved
    # Both the data and the pseudo-inputs went through as a batch.
    assert model.encoder.blocks[0].body[1].num_batches_tracked == 2
    assert training.validate()["elbo"] > -float("inf")
    assert model.encoder.blocks[0].body[1].num_batches_tracked == 2
