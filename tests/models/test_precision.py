"""bfloat16 in convolutional decoders: where it applies, and where it must not."""

from functools import partial
from typing import Any

import torch

from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.models.latent import LatentModel
from vaebench.networks.gated_pixelcnn import GatedPixelCNNDecoder
from vaebench.networks.mlp import MLPEncoder
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.priors.standard import StandardPrior
from vaebench.testing import PLAIN, latent_model, toy_spec

SPEC = toy_spec((1, 6, 6))
MLP: dict[str, Any] = {"depth": 1, "width": 8, "activation": "tanh", **PLAIN}


def pixelcnn_model() -> LatentModel:
    torch.manual_seed(0)
    return LatentModel(
        SPEC,
        name="toy",
        latent_dim=2,
        encoder=partial(MLPEncoder, **MLP),
        posterior=partial(DiagonalPosterior, logvar_range=None),
        prior=StandardPrior,
        decoder=partial(
            GatedPixelCNNDecoder, depth=2, channels=4, kernel_size=3, first_kernel_size=3, z_enters="every",
            code_maps=1, v_shift="correct", init="default", init_from_data=False,
        ),
        likelihood=Bernoulli,
    )  # fmt: skip


def logits(model: LatentModel, dtype: torch.dtype, training: bool) -> torch.Tensor:
    model.convolution_dtype = dtype
    generator = torch.Generator().manual_seed(1)
    z, x = torch.randn(2, 3, 2, generator=generator), torch.rand(3, 1, 6, 6, generator=generator)
    return model.train(training).decode(z, x).detach()


def test_training_rounds_the_decoder_and_gives_float32_back() -> None:
    model = pixelcnn_model()
    full, reduced = (logits(model, dtype, True) for dtype in (torch.float32, torch.bfloat16))
    assert reduced.dtype == torch.float32
    assert 1e-4 < (full - reduced).abs().max() < 0.05  # eight bits of mantissa


def test_evaluation_is_in_float32_whatever_training_was_in() -> None:
    model = pixelcnn_model()
    assert torch.equal(logits(model, torch.bfloat16, False), logits(model, torch.float32, False))


def test_dense_decoders_keep_their_precision() -> None:
    model = latent_model(SPEC, 2, depth=1)
    assert torch.equal(logits(model, torch.bfloat16, True), logits(model, torch.float32, True))


def test_an_autoregressive_model_draws_and_renders_by_pixels() -> None:
    model = pixelcnn_model().eval()
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    drawn = model.sample_x(z, torch.Generator().manual_seed(3))
    assert drawn.shape == (5, 1, 6, 6)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(model.decode_image(z, torch.Generator().manual_seed(3)), drawn)
    assert not model.decodes_in_parallel
    assert model.sample(4).shape == (4, 1, 6, 6)
    assert model.reconstruct(drawn).shape == drawn.shape


def test_a_dense_model_renders_means_and_draws_samples() -> None:
    model = latent_model(SPEC, 2, depth=1)
    z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))[:1].expand(2000, 2)
    mean = model.decode_image(z[:1])[0]
    assert torch.equal(mean, torch.sigmoid(model.decode(z[None, :1]))[0, 0])
    drawn = model.sample_x(z, torch.Generator().manual_seed(3))
    assert (drawn.mean(0) - mean).abs().max() < 5 * 0.5 / 2000**0.5
