"""The contract of a model: what objectives, the training loop and evaluators may ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaebench.data.spec import DataSpec
from vaebench.distributions import Distribution, Posterior
from vaebench.terms import Terms
from vaebench.text import TextDecoder

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LSTM)


class Model(nn.Module):
    """p(x, z) with q(z|x), or only some of these: `has_latent` and `has_density` say which.

    A model defines `encode`, `prior_distribution` and `decode`; the rest follows from these, the decoder and
    the likelihood. Evaluators read the flags below, never a model's class. S samples, B test examples or
    images of a batch, D latent units; a batch x is `[B, *shape]`.
    """

    has_latent: ClassVar[bool]
    """There is a code z with a posterior and a prior."""
    has_density: ClassVar[bool]
    """log p(x|z) is a log density, so that bounds on log p(x) exist."""
    has_exact_density: ClassVar[bool] = False
    """log p(x) is known: every importance weight of `terms` is p(x)."""

    spec: DataSpec
    latent_dim: int
    likelihood: Any
    """p(x|z) given the decoder's output (`parts.Likelihood`)."""
    decoder: Any
    """`parts.Decoder`, or the decoders of a sequential model."""
    num_steps: int = 0
    """Number of steps of a sequential model, each with an equal share of the code; otherwise 0."""

    @property
    def has_gaussian_posterior(self) -> bool:
        """q(z|x) is a diagonal Gaussian: `encode` gives mean and logvar."""
        return False

    @property
    def has_iterative_posterior(self) -> bool:
        """`encode` optimises the ELBO for each x (SVI), so that it is slow and depends on `kl_weight`."""
        return False

    @property
    def decodes_in_parallel(self) -> bool:
        """p(x|z) needs z alone: `decode` and `decode_mean` need no x, and `sample_x` is one pass."""
        return False

    @property
    def parameters_per_datum(self) -> int:
        """Number of values that `decode` computes for one code; chunk sizes in evaluation depend on it."""
        return math.prod(self.likelihood.parameter_shape)

    @property
    def text_decoder(self) -> TextDecoder | None:
        """The decoder as a generator of sentences; None if the data are not sentences."""
        return None if self.spec.vocabulary is None else self.decoder

    def encode(self, x: Tensor, kl_weight: Tensor | float = 1.0) -> Posterior:
        """Return q(z|x) of a batch; an iterative posterior ascends the ELBO with `kl_weight` on the KL."""
        raise NotImplementedError

    def prior_distribution(self) -> Distribution:
        """Return p(z)."""
        raise NotImplementedError

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Return likelihood parameters `[S, B, ...]` at `z [S, B, D]`; autoregressive decoders need x."""
        raise NotImplementedError

    def decode_mean(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z), `[S, B, *shape]`."""
        return self.likelihood.mean(self.decode(z, x))

    def terms(
        self,
        x: Tensor,
        num_samples: int = 1,
        q: Posterior | None = None,
        p: Distribution | None = None,
        kl_weight: Tensor | float = 1.0,
    ) -> Terms:
        """Return the log densities of a batch under S samples of q(z|x).

        Known `q` and `p` are used as they are. `kl_weight` is for iterative posteriors.
        """
        if q is None:
            q = self.encode(x, kl_weight) if self.has_iterative_posterior else self.encode(x)
        p = self.prior_distribution() if p is None else p
        z, log_qz_x = q.rsample_with_log_prob(num_samples)
        return Terms(self.log_px_z(z, x), z, q, p, log_qz_x)

    def log_px_z(self, z: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), `[S, B]`, at `z [S, B, D]`."""
        return self.likelihood.log_prob(x, self.decode(z, x))

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return x ~ p(x|z) for each code `z [N, D]`, `[N, *shape]`; pixel by pixel where the decoder is
        autoregressive."""

        def pick(parameters: Tensor) -> Tensor:
            return self.likelihood.sample(parameters, generator)

        return pick(self.decoder(z, None)) if self.decodes_in_parallel else self.decoder.sample(z, pick)

    def decode_image(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return an image of each code `z [N, D]`, `[N, *shape]`: the mean of p(x|z), or a sample where the
        decoder is autoregressive, whose mean is intractable."""
        if self.decodes_in_parallel:
            return self.decode_mean(z.unsqueeze(0)).squeeze(0)
        return self.sample_x(z, generator)

    def images_by_step(self, z: Tensor) -> Tensor:
        """Return the mean image after each of T = `num_steps` steps, `[T, N, *shape]`, for `z [N, D]`."""
        raise NotImplementedError

    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Return images of codes from the prior, `[num, *shape]`."""
        return self.decode_image(self.prior_distribution().rsample(num, generator), generator)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior means of a batch to images, `[B, *shape]`."""
        return self.decode_image(self.encode(x).mean)

    def init_from_data(self, x: Tensor) -> None:
        """Set those initial weights that depend on data, from a batch; called once, before training."""

    def named_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the layers of the kinds `LAYERS` in `encoder` and `decoder`, in order, with names such as
        `encoder.hidden.0`."""
        for side, network in self.named_children():
            if side in ("encoder", "decoder"):
                for name, module in network.named_modules():
                    if isinstance(module, LAYERS):
                        yield f"{side}.{name}", module
