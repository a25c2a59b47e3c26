"""Tests of the interface of encoders and decoders of images, as configured in conf/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.config.helpers import composed, config_of
from vaebench.config.build import build, factory
from vaebench.errors import UserError
from vaebench.runner.prepare import build_model, prepare
from vaebench.testing import toy_spec

ENCODERS = ["resnet", "conv", "gated_conv", "conv4"]
DECODERS = ["gated_conv"]
NETWORKS = [f"model/encoder={name}" for name in ENCODERS] + [f"model/decoder={name}" for name in DECODERS]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 11, 17)]


def encoder_of(option: str, shape: tuple[int, ...]) -> Any:
    torch.manual_seed(0)
    return factory(config_of(f"model/encoder={option}")["model"]["encoder"])(shape)


def images(num: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(num, *shape, generator=torch.Generator().manual_seed(1)).round()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("option", ENCODERS)
def test_an_encoder_gives_as_many_features_as_it_says(option: str, shape: tuple[int, ...]) -> None:
    encoder = encoder_of(option, shape)
    assert encoder(images(2, shape)).shape == (2, encoder.out_features)


@pytest.mark.parametrize("option", ENCODERS)
def test_every_pixel_is_seen(option: str) -> None:
    encoder, x = encoder_of(option, (1, 28, 28)).eval(), torch.rand(2, 1, 28, 28, requires_grad=True)
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


@pytest.mark.parametrize("option", ENCODERS)
def test_in_evaluation_features_are_a_datums_own(option: str) -> None:
    encoder, x = encoder_of(option, (1, 8, 8)), images(6, (1, 8, 8))
    encoder(x)  # moves running statistics
    encoder.eval()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    with torch.no_grad():
        torch.testing.assert_close(encoder(x[:2]), encoder(x)[:2])
    for name, buffer in encoder.named_buffers():
        torch.testing.assert_close(buffer, before[name], atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["resnet", "conv", "gated_conv"])
def test_batch_norm_takes_the_batchs_statistics_in_training_and_running_ones_after(option: str) -> None:
    encoder, x = encoder_of(option, (1, 8, 8)), images(6, (1, 8, 8))
    with torch.no_grad():
        assert not torch.allclose(encoder(x[:2]), encoder(x)[:2], atol=1e-3)
        early = encoder.eval()(x)
        encoder.train()
        for _ in range(200):  # 0.9 ** 200 of the start is left
            trained = encoder(x)
        late = encoder.eval()(x)
    assert not torch.allclose(early, late, atol=1e-2)
    # The running variance is the unbiased one: n / (n - 1) of 24 numbers a map at the smallest layer.
    torch.testing.assert_close(late, trained, atol=0.1, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("dataset", "side"), [("digits", 8), ("mnist", 28)])
def test_it_works_in_a_model_of_images(network: str, dataset: str, side: int, tmp_path: Path) -> None:
    words = [f"dataset={dataset}", "model.latent_dim=3", "runtime.device=cpu", "runtime.threads=1"]
    experiment = prepare(composed(network, f"paths.outputs={tmp_path}", *words))
    model = build_model(experiment.config, experiment.dataset).eval()
    with torch.no_grad():
        terms = model.terms(images(2, (1, side, side)), num_samples=4)
        assert terms.log_px_z.shape == (4, 2)
        assert terms.log_px_z.isfinite().all()
        assert model.sample(2).shape == (2, 1, side, side)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_layers_are_named_in_the_order_of_their_work(network: str) -> None:
    config = config_of(network, "model.latent_dim=3")["model"]
    model = build({key: part for key, part in config.items() if key != "objective"}, spec=toy_spec((1, 8, 8)))
    at_work: list[nn.Module] = []
    named = [layer for _, layer in model.named_layers()]
    for layer in named:
        layer.register_forward_pre_hook(lambda module, _: at_work.append(module))
    model.terms(images(2, (1, 8, 8)))
    assert len(named) >= 4
    assert list(map(id, at_work)) == list(map(id, named))


@pytest.mark.parametrize("network", NETWORKS)
def test_data_that_are_no_images_are_refused(network: str) -> None:
    config = config_of(network)["model"]
    group = network.split("=")[0]
    with pytest.raises(UserError, match=rf"^{group}=.* works on images .* shape \[2\]; use {group}=mlp\.$"):
        build({key: part for key, part in config.items() if key != "objective"}, spec=toy_spec((2,)))
