"""Models whose numbers are known, beside those of `vaebench.testing`."""

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
    """A linear-Gaussian VAE whose posterior is moved by `shift` of its standard deviations and has variances
    exp(log_ratio) times the exact ones: all in closed form, in expectation over p(x)."""

    toy: LinearGaussian
    shift: float = 0.0
    log_ratio: float = 0.0

    @property
    def variance(self) -> Tensor:
        """Of q(z|x), `[D]`."""
        return math.exp(self.log_ratio) * self.toy.variance

    @property
    def entropy(self) -> float:
        """-E log p(x), of N(b, WW' + std^2 I)."""
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
        """Of x and z ~ q(z|x): 1/2 sum_d log of the variance of q(z) over that of q(z|x)."""
        total = 1 - self.toy.variance + self.variance
        return 0.5 * float((total / self.variance).log().sum())

    @property
    def covariance(self) -> Tensor:
        """Of x, `[X, X]`."""
        w = self.toy.weight
        return w @ w.T + self.toy.std**2 * torch.eye(len(w), dtype=torch.float64)

    @property
    def encoder_fisher(self) -> float:
        """Of the map x -> h with z ~ N(h, diag(s2)): E||delta||^2 E(||x||^2 + 1), delta = (z - h) / s2."""
        squared_data = self.covariance.trace() + self.toy.bias.square().sum()
        return float((1 / self.variance).sum() * (squared_data + 1))

    @property
    def decoder_fisher(self) -> float:
        """Of z -> Wz + b under N(Wz + b, std^2 I): X / std^2 E(||z||^2 + 1)."""
        return len(self.toy.bias) / self.toy.std**2 * float(self.squared_code.sum() + 1)

    def model(self) -> LatentModel:
        return self.toy.model(self.shift, self.log_ratio)

    def model_with_encoder(self) -> LatentModel:
        """The same, with the map to the posterior's mean as the encoder's one layer."""
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
    """One with columns that are not orthogonal, and its exact posterior's precision, which is not diagonal.

    The best diagonal Gaussian has the precision's diagonal. Of `model()`, only the decoder is right.
    """
    weight = torch.tensor([[1.0, 0.6], [0.2, 0.9], [0.0, 0.1]], dtype=torch.float64)
    toy = LinearGaussian(weight, torch.zeros(3, dtype=torch.float64), std=0.8)
    return toy, torch.eye(2, dtype=torch.float64) + weight.T @ weight / toy.std**2


def three_units() -> tuple[LatentModel, Tensor]:
    """A Bernoulli net of three units behind two hidden layers, and a datum of it `[1, 3]`.

    q(z|x) has standard deviation e^-15: its draws are its mean, all but.
    """
    torch.manual_seed(1)
    model = latent_model(toy_spec((3,)), 2, depth=2)
    set_affine(model.posterior.logvar, 0.0, -30.0)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2)
    return model, torch.tensor([[1.0, 0.0, 1.0]])


def enumerated_fisher(model: LatentModel, x: Tensor) -> dict[str, float]:
    """sum_x' p(x'|z) ||grad log p(x'|z)||^2 of each decoder layer, over all binary x', at q(z|x)'s mean."""
    layers = {name: layer for name, layer in model.named_layers() if name.startswith("decoder.")}
    z = model.encode(x).mean.detach()
    traces = dict.fromkeys(layers, 0.0)
    for drawn in binary_images((x.shape[1],)):
        log_px = model.likelihood.log_prob(drawn, model.decoder(z))[0]
        for name, layer in layers.items():
            gradients = torch.autograd.grad(log_px, list(layer.parameters()), retain_graph=True)
            squares = sum(float(gradient.double().square().sum()) for gradient in gradients)
            traces[name] += float(log_px.detach().exp()) * squares
    return traces


def binary_images(shape: Sequence[int]) -> Tensor:
    """All of them, `[2^n, *shape]`; the first pixel is the highest bit."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=math.prod(shape)))).view(-1, *shape)


def small_pixelcnn(v_shift: Shift, shape: tuple[int, int, int]) -> GatedPixelCNNDecoder:
    """With parameters that make its images far from equally likely."""
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
    """p(x|z) of every binary image at one code `[1, D]`, in the order of `binary_images`, float64."""
    images = binary_images(shape)
    logits = decoder(z.expand(len(images), -1), images)
    return bernoulli_log_prob(images, logits).double().sum((1, 2, 3)).exp()


def chi_square(images: Tensor, probabilities: Tensor) -> tuple[float, float, float]:
    """Pearson's statistic of draws `[N, 1, H, W]` of binary images; its mean and deviation, both exact."""
    num, cells = len(images), len(probabilities)
    powers = 2 ** torch.arange(images[0].numel() - 1, -1, -1)
    counts = (images.flatten(1).long() @ powers).bincount(minlength=cells).double()
    expected = num * probabilities
    statistic = float(((counts - expected).square() / expected).sum())
    variance = 2 * (cells - 1) + (float((1 / probabilities).sum()) - cells**2 - 2 * cells + 2) / num
    return statistic, cells - 1, variance**0.5


def two_gaussians(apart: float) -> GaussianMixture:
    return GaussianMixture(
        DataPaths(root=Path(), cache=Path()), name="gmm", means=((apart, -apart), (-apart, apart)), std=0.5,
        weights=(1.0, 3.0), num_train=5000, num_valid=5000, num_test=100_000, seed=0,
    )  # fmt: skip
