"""Tests of weight normalisation and its data-dependent initialisation."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.models.latent import LatentModel
from vaebench.networks.mlp import MLPEncoder
from vaebench.networks.pixelcnnpp import PixelCNNPPDecoder
from vaebench.networks.weight_norm import WeightNorm, starting
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.priors.standard import StandardPrior
from vaebench.testing import PLAIN, latent_model, toy_spec

LAYERS = [partial(nn.Conv2d, 3, 4, (2, 3)), partial(nn.ConvTranspose2d, 3, 4, (2, 3), stride=2)]


def seeded_layer(make: Any, **options: Any) -> WeightNorm:
    torch.manual_seed(0)
    return WeightNorm(make(), **options)


@pytest.mark.parametrize("make", LAYERS)
def test_the_length_of_v_is_of_no_account_and_the_gain_scales_its_map(make: Any) -> None:
    layer, x = seeded_layer(make), torch.randn(5, 3, 6, 7)
    nn.init.zeros_(layer.layer.bias)
    gain, v = layer.layer.parametrizations.weight.original0, layer.layer.parametrizations.weight.original1
    before = layer(x)
    with torch.no_grad():
        v.mul_(7)
        torch.testing.assert_close(layer(x), before)
        gain.mul_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view_as(gain))
        torch.testing.assert_close(layer(x), before * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None])


@pytest.mark.parametrize("make", LAYERS)
def test_after_the_start_each_map_has_mean_zero_and_the_standard_deviation_asked_for(make: Any) -> None:
    layer, x = seeded_layer(make, start_std=0.1), 3 + 5 * torch.randn(5, 3, 6, 7)
    direction = layer.layer.parametrizations.weight.original1.clone()
    with starting([layer]):
        first = layer(x)
    output = layer(x)
    torch.testing.assert_close(output, first, atol=1e-5, rtol=1e-4)
    std, mean = torch.std_mean(output, (0, 2, 3), correction=0)
    torch.testing.assert_close(std, torch.full((4,), 0.1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mean, torch.zeros(4), atol=1e-5, rtol=0)
    assert torch.equal(layer.layer.parametrizations.weight.original1, direction)


def test_a_map_that_is_constant_is_only_shifted() -> None:
    layer = seeded_layer(LAYERS[0])
    weight = layer.layer.weight.detach().clone()
    with starting([layer]):
        output = layer(torch.full((5, 3, 6, 7), 0.3))
    assert output.abs().max() < 1e-5
    torch.testing.assert_close(layer.layer.weight, weight)


def pixel_model() -> LatentModel:
    torch.manual_seed(0)
    mlp: dict[str, Any] = {"depth": 1, "width": 8, "activation": "tanh", **PLAIN}
    decoder = partial(PixelCNNPPDecoder, channels=4, resnets=2, resolutions=3, dropout=0.5)
    return LatentModel(
        toy_spec((1, 8, 8)),
        name="toy",
        latent_dim=2,
        encoder=partial(MLPEncoder, **mlp),
        posterior=partial(DiagonalPosterior, logvar_range=None),
        prior=StandardPrior,
        decoder=decoder,
        likelihood=Bernoulli,
    )


def test_a_model_starts_so_that_every_normalised_layer_has_its_variance_on_the_first_batch() -> None:
    model, x = pixel_model(), torch.rand(50, 1, 8, 8).round()
    outputs: dict[str, Tensor] = {}
    layers = {name: m for name, m in model.named_modules() if isinstance(m, WeightNorm)}
    for name, layer in layers.items():
        layer.register_forward_hook(partial(lambda name, _, __, out: outputs.update({name: out}), name))

    def spread() -> Tensor:
        """Return the standard deviation of each map of each layer, divided by `start_std`."""
        torch.manual_seed(1)  # the same draws of z and the same dropout
        with torch.no_grad():
            model.terms(x)
        return torch.cat([outputs[n].std((0, 2, 3), correction=0) / layers[n].start_std for n in layers])

    assert (spread() - 1).abs().max() > 0.5
    for name, layer in layers.items():  # networks begin near the identity
        assert layer.start_std == (0.1 if name.endswith("second.conv") else 1.0)
    torch.manual_seed(1)
    model.init_from_data(x)
    assert not any(layer.starting for layer in layers.values())
    torch.testing.assert_close(spread(), torch.ones_like(spread()), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        torch.cat([outputs[n].mean((0, 2, 3)) for n in layers]), torch.zeros(len(spread())), atol=1e-4, rtol=0
    )


def test_a_model_without_normalised_layers_is_left_as_it_is() -> None:
    model = latent_model(toy_spec((6,)), 2, depth=1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, state = torch.rand(10, 6), torch.get_rng_state()
    model.init_from_data(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
