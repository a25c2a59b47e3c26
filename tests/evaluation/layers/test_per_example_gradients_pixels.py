"""Squared gradients of single data in decoders that see the data, against torch.func."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from vaebench.distributions import Gaussian
from vaebench.evaluation.layers.fisher import LayerFisher
from vaebench.evaluation.layers.per_example_gradients import recorded
from vaebench.models.latent import LatentModel
from vaebench.networks.gated_pixelcnn import GatedPixelCNNDecoder
from vaebench.networks.mlp import MLPDecoder
from vaebench.networks.pixel_head import PixelHeadDecoder
from vaebench.networks.pixelcnnpp import PixelCNNPPDecoder
from vaebench.testing import PLAIN, latent_model, make_context, measure, saved, toy_spec

B, LATENT_DIM, SHAPE = 6, 2, (1, 4, 5)
SHARP = -40.0  # log variance: draws of z are the posterior mean
MLP: dict[str, Any] = {"depth": 1, "width": 5, "activation": "tanh", **PLAIN}
GATED: dict[str, Any] = {
    "depth": 3, "channels": 4, "kernel_size": 3, "first_kernel_size": 3, "code_maps": 1,
    "init": "default", "init_from_data": False,
}  # fmt: skip
DECODERS = {
    f"gated, {entry}, {shift}": partial(GatedPixelCNNDecoder, z_enters=entry, v_shift=shift, **GATED)
    for entry in ("first", "every", "gates")
    for shift in ("accumulate", "correct")
} | {
    "head": partial(
        PixelHeadDecoder, base=partial(MLPDecoder, **MLP), maps=2, depth=3, channels=4, kernel_size=3
    )
}


def pixel_model(name: str) -> LatentModel:
    """With parameters and running statistics that are all different and not small."""
    torch.manual_seed(0)
    model = latent_model(toy_spec(SHAPE), LATENT_DIM, depth=1)
    model.decoder = DECODERS[name](LATENT_DIM, SHAPE, SHAPE)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    for module in model.decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    model.posterior.logvar.weight.data.zero_()
    model.posterior.logvar.bias.data.fill_(SHARP)
    return model.eval()


def binary(seed: int = 0) -> Tensor:
    return torch.rand(B, *SHAPE, generator=torch.Generator().manual_seed(seed)).lt(0.4).float()


def by_vmap(model: LatentModel, z: Tensor, x: Tensor) -> dict[str, Tensor]:
    """||grad log p(x|z)||^2 of each datum and decoder layer, `[B]`."""
    parameters = {name: value.detach() for name, value in model.decoder.named_parameters()}

    def log_px_z(weights: dict[str, Tensor], code: Tensor, image: Tensor) -> Tensor:
        logits = functional_call(model.decoder, weights, (code.unsqueeze(0), image.unsqueeze(0)))
        return model.likelihood.log_prob(image.unsqueeze(0), logits)[0]

    gradients = vmap(grad(log_px_z), in_dims=(None, 0, 0))(parameters, z, x)
    norms: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        layer = f"decoder.{name.rpartition('.')[0]}"
        norms[layer] = norms.get(layer, 0) + gradient.double().flatten(1).square().sum(1)
    return norms


@pytest.mark.parametrize("name", DECODERS)
def test_each_datums_squared_gradients_are_those_of_torch_func(name: str) -> None:
    model, x = pixel_model(name), binary()
    z = torch.randn(B, LATENT_DIM, generator=torch.Generator().manual_seed(1))
    layers = {key: layer for key, layer in model.named_layers() if key.startswith("decoder.")}
    with recorded(layers, B) as recording:
        log_px_z = model.terms(x, 1, q=Gaussian(z, torch.full_like(z, -torch.inf))).log_px_z[0]
    expected = by_vmap(model, z, x)
    found = {signals.name: signals for signals in recording.signals(log_px_z)}
    assert found.keys() == layers.keys()
    for key, signals in found.items():
        assert signals.made_of_products  # by the fast path, not one datum after the other
        assert expected[key].min() > 0
        torch.testing.assert_close(signals.squared_gradients().double(), expected[key], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["gated, every, correct", "head"])
def test_empirical_information_of_layers_is_that_of_torch_func(name: str, tmp_path) -> None:
    model, x = pixel_model(name), binary()
    context = make_context(model, x, tmp_path)
    measure(LayerFisher(kind="empirical_fisher", num_data=None, num_samples=1), context)
    stored = saved(context, "layers_empirical_fisher")
    traces = dict(zip(stored["layers"], stored["traces"], strict=True))
    expected = by_vmap(model, model.encode(x).mean.detach(), x)
    for key, trace in traces.items():
        if key.startswith("decoder."):
            assert trace == pytest.approx(float(expected[key].mean()), rel=1e-5)


def test_strided_and_weight_normed_layers_are_measured_too() -> None:
    """Transposed convolutions, and gains and directions as parameters of their own, one datum at a time."""
    torch.manual_seed(0)
    shape = (1, 4, 4)
    model = latent_model(toy_spec(shape), LATENT_DIM, depth=1)
    model.decoder = PixelCNNPPDecoder(
        LATENT_DIM, shape, shape, channels=3, resnets=1, resolutions=2, dropout=0.0
    )
    model.eval()
    x = torch.rand(3, *shape).round()
    z = torch.randn(3, LATENT_DIM)
    layers = {key: layer for key, layer in model.named_layers() if key.startswith("decoder.")}
    assert any(isinstance(layer, nn.ConvTranspose2d) for layer in layers.values())
    with recorded(layers, 3) as recording:
        log_px_z = model.terms(x, 1, q=Gaussian(z, torch.full_like(z, -torch.inf))).log_px_z[0]
    found = {signals.name: signals.squared_gradients() for signals in recording.signals(log_px_z)}
    for number in range(3):
        model.zero_grad()
        own = Gaussian(z[number : number + 1], torch.full((1, LATENT_DIM), -torch.inf))
        model.terms(x[number : number + 1], 1, q=own).log_px_z.sum().backward()
        for key, layer in layers.items():
            expected = sum(p.grad.square().sum() for p in layer.parameters() if p.grad is not None)
            torch.testing.assert_close(found[key][number], torch.as_tensor(expected), rtol=1e-4, atol=1e-8)
