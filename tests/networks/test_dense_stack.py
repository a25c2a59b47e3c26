"""Tests of skip connections: their places and their numbers of parameters are those of the paper."""

from __future__ import annotations

import torch
from torch import nn

from vaebench.networks.dense_stack import Resample, Stack
from vaebench.networks.mlp import MLPDecoder, MLPEncoder
from vaebench.networks.skip_mlp import SkipMLPDecoder
from vaebench.testing import PLAIN

SIZES = [6, 5, 5, 5]


def stack(**options: str) -> Stack:
    torch.manual_seed(0)
    return Stack(SIZES, **{"activation": "tanh", **PLAIN, **options})  # type: ignore[arg-type]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def by_hand(stack: Stack, h: torch.Tensor) -> list[torch.Tensor]:
    """Compute f_1(h), f_2(f_1(h)), ... without skip connections."""
    outputs = [h]
    for layer in stack.layers:
        outputs.append(torch.tanh(layer(outputs[-1])))
    return outputs


def test_plain_stack_is_the_composition_of_its_layers() -> None:
    plain, h = stack(), torch.randn(4, 6)
    torch.testing.assert_close(plain(h), by_hand(plain, h)[-1])


def test_residual_stack_adds_the_former_output_after_the_activation() -> None:
    residual, h = stack(skip="residual"), torch.randn(4, 6)
    expected = torch.tanh(residual.layers[0](h))  # other widths, and no bridge: no skip
    for layer in list(residual.layers)[1:]:
        expected = torch.tanh(layer(expected)) + expected
    torch.testing.assert_close(residual(h), expected)


def test_long_skip_adds_the_first_layers_output_to_the_last_alone() -> None:
    long, h = stack(skip="long"), torch.randn(4, 6)
    outputs = by_hand(long, h)
    torch.testing.assert_close(long(h), outputs[-1] + outputs[1])


def test_bridges_span_other_widths_with_and_without_parameters() -> None:
    h = torch.randn(4, 6)
    for bridge, extra in (("identity", 0), ("interp", 0), ("linear", 6 * 5)):
        bridged = stack(skip="residual", bridge=bridge)
        assert count(bridged) == count(stack()) + extra
        assert bridged(h).shape == (4, 5)
    first = stack(skip="residual", bridge="interp")
    expected = torch.tanh(first.layers[0](h)) + Resample(5)(h)
    for layer in list(first.layers)[1:]:
        expected = torch.tanh(layer(expected)) + expected
    torch.testing.assert_close(first(h), expected)


def test_resampling_is_linear_interpolation_upwards_and_averaging_downwards() -> None:
    ramp = torch.tensor([[0.0, 1.0, 2.0]])
    torch.testing.assert_close(Resample(5)(ramp), torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0]]))
    torch.testing.assert_close(Resample(2)(torch.tensor([[0.0, 2.0, 4.0, 6.0]])), torch.tensor([[1.0, 5.0]]))


def test_scvae_has_as_many_parameters_as_the_plain_vae_of_its_depth() -> None:
    for network, sizes in ((MLPEncoder, [(1, 8, 8)]), (MLPDecoder, [10, (1, 8, 8), (1, 8, 8)])):
        options = {"depth": 11, "width": 20, "activation": "relu", **PLAIN}
        plain, residual = network(*sizes, **options), network(*sizes, **{**options, "skip": "residual"})
        assert count(plain) == count(residual)


def test_he_initialisation_keeps_the_scale_that_the_default_loses() -> None:
    h = torch.randn(200, 300)
    scale = {}
    for init in ("default", "he"):
        torch.manual_seed(0)
        deep = Stack([300] * 12, activation="relu", skip="none", bridge="identity", init=init)  # type: ignore[arg-type]
        scale[init] = deep(h).square().mean().sqrt()
    assert scale["he"] > 0.3
    assert scale["default"] < 0.1 * scale["he"]


def test_code_reaches_every_layer_of_the_skip_decoder_and_only_the_first_of_its_baseline() -> None:
    options = {"depth": 3, "width": 7, "activation": "relu", "init": "default"}
    z = torch.randn(5, 4)
    for skip in (True, False):
        torch.manual_seed(0)
        decoder = SkipMLPDecoder(4, (1, 2, 2), (1, 2, 2), **options, skip=skip)  # type: ignore[arg-type]
        nn.init.zeros_(decoder.first.weight)  # what is left of z came in later
        for cut in range(3):
            for layer in list(decoder.layers)[: cut + 1]:
                nn.init.zeros_(layer.weight)
            output = decoder(z)
            depends = not torch.allclose(output, output[:1].expand_as(output))
            assert depends == skip
