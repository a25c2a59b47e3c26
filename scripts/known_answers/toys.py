"""Models with known true values, in addition to those of `vaebench.testing`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vaebench.data.gmm import GaussianMixture
from vaebench.data.spec import DataPaths
from vaebench.distributions import bernoulli_log_prob
from vaebench.models.latent import LatentModel
from vaebench.networks.gated_layers import Shift
from vaebench.networks.gated_pixelcnn import GatedPixelCNNDecoder
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.testing import LinearEncoder, LinearGaussian, latent_model, set_affine, toy_spec


@dataclass(frozen=True)
class WrongPosterior:
    """Linear-Gaussian VAE with an inexact posterior; its numbers are closed forms, in expectation over p(x).

    The mean of q(z|x) is shifted by `shift` standard deviations; the variances are exp(log_ratio) times the
    exact ones.
    """

    toy: LinearGaussian
    shift: float = 0.0
    log_ratio: float = 0.0

    @property
    def variance(self) -> Tensor:
        """Variance of q(z|x), `[D]`."""
        return math.exp(self.log_ratio) * self.toy.variance

    @property
    def entropy(self) -> float:
        """Entropy -E log p(x) of p(x) = N(b, WW' + std^2 I), in nats."""
        dim = len(self.toy.bias)
        return (
            0.5 * dim * (1 + math.log(2 * math.pi))
            + dim * math.log(self.toy.std)
            + self.toy.mutual_information
        )

    @property
    def elbo(self) -> float:
        return -self.entropy - self.toy.gap(self.shift, self.log_ratio)

    @property
    def squared_code(self) -> Tensor:
        """E z_d^2 under q(z) = N(shift sqrt(v_d), 1 - v_d + exp(log_ratio) v_d), `[D]`."""
        v = self.toy.variance
        return 1 - v + self.variance + self.shift**2 * v

    @property
    def kl(self) -> float:
        """E KL(q(z|x) || p(z))."""
        return 0.5 * float((self.squared_code - self.variance.log() - 1).sum())

    @property
    def mutual_information(self) -> float:
        """Mutual information of x and z ~ q(z|x) in nats: 1/2 sum_d log(Var q(z_d) / Var q(z_d|x))."""
        total = 1 - self.toy.variance + self.variance
        return 0.5 * float((total / self.variance).log().sum())

    @property
    def covariance(self) -> Tensor:
        """Covariance of x, `[X, X]`."""
        w = self.toy.weight
        return w @ w.T + self.toy.std**2 * torch.eye(len(w), dtype=torch.float64)

    @property
    def encoder_fisher(self) -> float:
        """Trace for the map x -> h, z ~ N(h, diag(s2)): E||delta||^2 E(||x||^2 + 1), delta = (z - h) / s2."""
        squared_data = self.covariance.trace() + self.toy.bias.square().sum()
        return float((1 / self.variance).sum() * (squared_data + 1))

    @property
    def decoder_fisher(self) -> float:
        """Trace for the map z -> Wz + b, x ~ N(Wz + b, std^2 I): X / std^2 E(||z||^2 + 1)."""
        return len(self.toy.bias) / self.toy.std**2 * float(self.squared_code.sum() + 1)

    def model(self) -> LatentModel:
        """Build the model, whose posterior is affine in x."""
        return self.toy.model(self.shift, self.log_ratio)

    def model_with_encoder(self) -> LatentModel:
        """Build the model with the map to the posterior's mean as the only layer of the encoder."""
        model = self.model()
        heads, dim = model.posterior, len(self.variance)
        encoder = LinearEncoder(len(self.toy.bias), dim)
        set_affine(encoder.layer, heads.mean.weight, heads.mean.bias)
        model.encoder, model.posterior = encoder, DiagonalPosterior(dim, dim, logvar_range=None)
        set_affine(model.posterior.mean, torch.eye(dim), 0.0)
        set_affine(model.posterior.logvar, 0.0, heads.logvar.bias)
        return model


TOY = LinearGaussian.make(gains=(1.5, 0.8))
EXACT = WrongPosterior(TOY)
WRONG = WrongPosterior(TOY, shift=0.5, log_ratio=0.5)
VAE = "linear-Gaussian VAE"


def tilted_toy() -> tuple[LinearGaussian, Tensor]:
    """Return a linear-Gaussian VAE with a correlated exact posterior, and the precision of this posterior.

    The columns of its weight are not orthogonal. The precision of the best diagonal Gaussian is the diagonal
    of the exact precision. In `model()` only the decoder is correct.
    """
    weight = torch.tensor([[1.0, 0.6], [0.2, 0.9], [0.0, 0.1]], dtype=torch.float64)
    toy = LinearGaussian(weight, torch.zeros(3, dtype=torch.float64), std=0.8)
    return toy, torch.eye(2, dtype=torch.float64) + weight.T @ weight / toy.std**2


def three_units() -> tuple[LatentModel, Tensor]:
    """Return a Bernoulli VAE of three units, with two hidden layers, and an example x `[1, 3]`.

    q(z|x) has standard deviation e^-15, so that its samples almost equal its mean.
    """
    torch.manual_seed(1)
    model = latent_model(toy_spec((3,)), 2, depth=2)
    set_affine(model.posterior.logvar, 0.0, -30.0)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2)
    return model, torch.tensor([[1.0, 0.0, 1.0]])


def enumerated_fisher(model: LatentModel, x: Tensor) -> dict[str, float]:
    """Compute sum_x' p(x'|z) ||grad log p(x'|z)||^2 of each decoder layer, at the mean z of q(z|x).

    The sum is over all binary x'.
    """
    layers = {name: layer for name, layer in model.named_layers() if name.startswith("decoder.")}
    z = model.encode(x).mean.detach()
    traces = dict.fromkeys(layers, 0.0)
    for image in binary_images((x.shape[1],)):
        log_px = model.likelihood.log_prob(image, model.decoder(z))[0]
        for name, layer in layers.items():
            gradients = torch.autograd.grad(log_px, list(layer.parameters()), retain_graph=True)
            squares = sum(float(gradient.double().square().sum()) for gradient in gradients)
            traces[name] += float(log_px.detach().exp()) * squares
    return traces


def binary_images(shape: Sequence[int]) -> Tensor:
    """Return all binary images, `[2^n, *shape]`; the first pixel is the highest bit of the index."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=math.prod(shape)))).view(-1, *shape)


def small_pixelcnn(v_shift: Shift, shape: tuple[int, int, int]) -> GatedPixelCNNDecoder:
    """Build a PixelCNN whose weights make the probabilities of images very unequal."""
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(
        2, shape, shape, depth=3, channels=4, kernel_size=3, first_kernel_size=3, z_enters="every",
        code_maps=1, v_shift=v_shift, init="default", init_from_data=False,
    )  # fmt: skip
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.4)
    return decoder.eval()


@torch.no_grad()
def image_probabilities(decoder: nn.Module, z: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Compute p(x|z) of all binary images at one code `[1, D]`, in the order of `binary_images`, float64."""
    images = binary_images(shape)
    logits = decoder(z.expand(len(images), -1), images)
    return bernoulli_log_prob(images, logits).double().sum((1, 2, 3)).exp()


def chi_square(images: Tensor, probabilities: Tensor) -> tuple[float, float, float]:
    """Return Pearson's chi-square of sampled binary images `[N, 1, H, W]`, and its exact mean and std."""
    num, cells = len(images), len(probabilities)
    powers = 2 ** torch.arange(images[0].numel() - 1, -1, -1)
    counts = (images.flatten(1).long() @ powers).bincount(minlength=cells).double()
    expected = num * probabilities
    statistic = float(((counts - expected).square() / expected).sum())
    variance = 2 * (cells - 1) + (float((1 / probabilities).sum()) - cells**2 - 2 * cells + 2) / num
    return statistic, cells - 1, variance**0.5


def two_gaussians(apart: float) -> GaussianMixture:
    """Build a mixture of two Gaussians with means (apart, -apart) and (-apart, apart)."""
    return GaussianMixture(
        DataPaths(root=Path(), cache=Path()), name="gmm", means=((apart, -apart), (-apart, apart)), std=0.5,
        weights=(1.0, 3.0), num_train=5000, num_valid=5000, num_test=100_000, seed=0,
    )  # fmt: skip
