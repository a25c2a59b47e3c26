"""Sequential VAE: a chain of VAEs, each of which improves the image of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaebench.data.spec import DataSpec
from vaebench.distributions import Gaussian, StandardNormal
from vaebench.errors import UserError
from vaebench.likelihoods.gaussian import Gaussian as GaussianLikelihood
from vaebench.model import Model
from vaebench.networks.ladder import LadderEncoder
from vaebench.networks.ladder_generator import LadderGenerator
from vaebench.networks.layers import image_shape
from vaebench.priors.standard import StandardPrior
from vaebench.ranges import Count

LEVELS = {"binary": 1, "uint8": 255}
"""The largest level, as an integer, of the kinds of data that have levels."""

FLIPPED = 0.1  # share of values that denoising sets to black, and then of those that it sets to white
NOISE_STD = 0.1  # in units of images from -1 to 1


class SequentialVAE(Model):
    """x_t = g_t(x_{t-1}, z_t) with z_t ~ q_t(z_t|x), t = 1, ..., T, where g_1 sees no image.

    Zhao et al. (2017, arXiv 1702.08658), section 3.2. Each step has its own encoder of the data, generator
    and weights, and its own objective, log p_t(x|z_t, x_{t-1}) - KL(q_t(z_t|x) || N(0, I)): no gradient
    passes from a step to earlier ones. Here z is the concatenation of all T codes, and `Terms.log_px_z` the
    sum of T log densities, so that the sum of the objectives is the ELBO of these terms. That sum is not a
    log density of x: the model has no likelihood.

    Internally, images are y = 2 x - 1 in [-1, 1] for x in [0, 1], and p_t(y|...) = N(y; y_t, std^2 I). The
    squared error of y, which is 4 times that of x, thus has the weight 1 / (2 std^2). The authors' weight of
    16 is std = sqrt(1/32). Samples are the means x_T, without pixel noise.

    `channels` has an entry for each level of encoder and generator; each level has half the resolution of the
    one before. `width` is that of the dense layers. `codes` has the number of units that each level
    contributes to the code of a step: z has T * sum(codes) units. `batch_norm` uses batch statistics in
    training and running ones in evaluation, so that the code of an image does not depend on its batch (the
    authors' code always uses batch statistics). `denoising` adds salt, pepper and Gaussian noise to the
    encoders' input in training; the targets stay clean.
    """

    has_latent: ClassVar = True
    has_density: ClassVar = False
    kinds: ClassVar = frozenset({"binary", "unit", "uint8"})

    def __init__(
        self,
        spec: DataSpec,
        convolution_dtype: torch.dtype = torch.float32,
        *,
        name: str,
        steps: Count,
        channels: list[Count],
        width: Count,
        codes: list[Count],
        batch_norm: bool,
        denoising: bool,
        likelihood: Callable[..., Any],
    ) -> None:
        if not channels or len(channels) != len(codes):
            raise UserError(
                f"model.codes = {codes}: expected as many entries as model.channels = {channels}, "
                f"at least one."
            )
        super().__init__()
        self.name = name
        self.spec = spec
        self.convolution_dtype = convolution_dtype
        """Precision of the generators in training; evaluations use float32."""
        self.num_steps = steps
        self.latent_dim = steps * sum(codes)
        self.denoising = denoising
        self.likelihood = likelihood(spec.shape)
        if not isinstance(self.likelihood, GaussianLikelihood) or self.likelihood.is_squashed:
            raise UserError(
                "model.likelihood: each step outputs an image, the mean of a Gaussian; use "
                "model/likelihood=gaussian with model.likelihood.mean=linear."
            )
        shape = image_shape(spec.shape, "model=sequential_vae", "vae")
        sizes: Any = {"channels": channels, "width": width, "codes": codes, "batch_norm": batch_norm}
        self.encoder = nn.ModuleList(LadderEncoder(shape, **sizes) for _ in range(steps))
        self.decoder = nn.ModuleList(
            LadderGenerator(shape, **sizes, sees_image=step > 0) for step in range(steps)
        )
        self.prior = StandardPrior(self.latent_dim, spec.shape)

    @property
    def has_gaussian_posterior(self) -> bool:
        return True

    @property
    def decodes_in_parallel(self) -> bool:
        return True

    def encode(self, x: Tensor, kl_weight: Tensor | float = 1.0) -> Gaussian:
        y = scaled(x)
        if self.training and self.denoising:
            y = corrupted(y)
        means, log_stds = zip(*(encoder(y) for encoder in self.encoder), strict=True)
        return Gaussian(torch.cat(means, -1), 2 * torch.cat(log_stds, -1))

    def prior_distribution(self) -> StandardNormal:
        return self.prior(self.encode)

    def chain(self, z: Tensor, stops: bool = False) -> Iterator[Tensor]:
        """Yield y_1, ..., y_T in [-1, 1], `[N, *shape]`, at `z [N, D]`; `stops` blocks gradients between."""
        y = None
        reduced = self.training and self.convolution_dtype != torch.float32
        for generator, code in zip(self.decoder, z.chunk(self.num_steps, -1), strict=True):
            with torch.autocast(z.device.type, self.convolution_dtype, enabled=reduced):
                y = generator(code, y.detach() if stops and y is not None else y)
            y = y.to(z.dtype)
            yield y

    def images_by_step(self, z: Tensor) -> Tensor:
        return torch.stack([unscaled(y) for y in self.chain(z)])

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the mean of the last step, in [-1, 1]."""
        *_, y = self.chain(z.flatten(0, 1))
        return y.unflatten(0, z.shape[:2])

    def decode_mean(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        return unscaled(self.decode(z))

    def log_px_z(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the sum of log p_t(x|z_t, x_{t-1}) over steps t, `[S, B]`."""
        target = scaled(x)
        log_px_z = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        for y in self.chain(z.flatten(0, 1), stops=True):
            log_px_z = log_px_z + self.likelihood.log_prob(target, y.unflatten(0, z.shape[:2]))
        return log_px_z

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean of the last step, rounded to the nearest level if the data have levels."""
        x = self.decode_image(z)
        last = LEVELS.get(self.spec.kind)
        return x if last is None else (x * last).round() / last


def scaled(x: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1]."""
    return 2 * x - 1


def unscaled(y: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1]."""
    return (y + 1) / 2


def corrupted(y: Tensor) -> Tensor:
    """Return images in [-1, 1] with a tenth of all values set to -1, then a tenth to 1, then noise added.

    The noise is N(0, 0.1^2); the sum is clipped to [-1, 1]. The authors' code does the same to data in
    [0, 1]; it sets values to 0 and 1 also in its data in [-1, 1], where 0 is grey.
    """
    y = torch.where(torch.rand_like(y) < FLIPPED, -1.0, y)
    y = torch.where(torch.rand_like(y) < FLIPPED, 1.0, y)
    return (y + NOISE_STD * torch.randn_like(y)).clamp(-1, 1)
