"""True values of data densities, and samples from known distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from scripts.known_answers.rows import Row
from scripts.known_answers.toys import chi_square, image_probabilities, small_pixelcnn, two_gaussians
from vaebench.evaluation.likelihood.hmc import evaluate, transition
from vaebench.likelihoods.bernoulli import Bernoulli
from vaebench.networks.gated_layers import Shift


def mixture() -> Iterator[Row]:
    """Compare the density of two Gaussians in the plane: entropy, total mass, entropy at a large distance."""
    near, setting = two_gaussians(0.5), "mixture of two Gaussians"
    nll = -near.log_density(near.load().test.x)
    error = float(nll.std()) / len(nll) ** 0.5
    yield Row("-log p(x), by sampling", setting, near.entropy(), float(nll.mean()), error)
    line = torch.linspace(-6, 6, 601, dtype=torch.float64)
    mass = float(near.log_density(torch.cartesian_prod(line, line)).exp().sum()) * 0.02**2
    yield Row("mass of p(x), on a grid", setting, 1.0, mass, None)
    choice = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    truth = math.log(2 * math.pi * math.e * 0.25) + choice
    yield Row("entropy, by quadrature", f"{setting}, far apart", truth, two_gaussians(20.0).entropy(), None)


def samplers() -> Iterator[Row]:
    """Compare the frequencies of all 64 images of 2 x 3 pixels, by Pearson's chi-square."""
    shape, num, z = (1, 2, 3), 100_000, torch.tensor([[0.7, -1.2]])
    shifts: tuple[Shift, ...] = ("accumulate", "correct")
    for shift in shifts:
        decoder, generator = small_pixelcnn(shift, shape), torch.Generator().manual_seed(0)
        images = decoder.sample(z.expand(num, -1), partial(Bernoulli(shape).sample, generator=generator))
        statistic, mean, deviation = chi_square(images, image_probabilities(decoder, z, shape))
        yield Row("chi-square", f"PixelCNN, 64 images, v_shift={shift}", mean, statistic, deviation)


def chains() -> Iterator[Row]:
    """Compare moments of independent HMC chains on exp(-z^2 / 2 - z^4) with quadrature.

    Small steps reach equilibrium; larger steps then test rejections.
    """

    def densities(z: Tensor) -> tuple[Tensor, Tensor]:
        return -0.5 * z.square().sum(-1), -z.pow(4).sum(-1)

    generator = torch.Generator().manual_seed(0)
    point = evaluate(densities, 0.5 * torch.randn(100_000, 1, 1, generator=generator))
    for step in [0.2] * 30 + [0.8] * 10:
        point, _ = transition(densities, point, 1.0, torch.tensor([step]), 3, generator)
    z = point.z.double().flatten()
    line = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    weights = torch.softmax(-0.5 * line.square() - line.pow(4), 0)
    for power in (1, 2, 4):
        truth, error = float(weights @ line**power), float((z**power).std()) / len(z) ** 0.5
        yield Row(f"E z^{power}", "HMC on a quartic density", truth, float((z**power).mean()), error)
