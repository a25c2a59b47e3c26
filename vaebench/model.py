"""The contract of a model: what objectives, the loop and evaluators may ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.data.spec import DataSpec
from vaebench.distributions import Distribution, Posterior
from vaebench.terms import Terms
from vaebench.text import TextDecoder

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LSTM)


class Model(nn.Module):
    """p(x, z) with q(z|x), or less: `has_latent` and `has_density` say what it can do.

    Evaluators read these, never a model's class. S samples, B data, D latent units; a batch x is
    `[B, *shape]`.
    """

    has_latent: ClassVar[bool]
    """There is a code z with a posterior and a prior."""
    has_density: ClassVar[bool]
    """log p(x|z) is a log density, so that bounds on log p(x) mean something."""

    has_exact_density: ClassVar[bool] = False
    """log p(x) is known: every importance weight of `terms` is p(x)."""

    spec: DataSpec
    latent_dim: int
    num_steps: int = 0
    """Steps that each make a better image of the last one's, with equal parts of the code; 0: it has none."""
    convolution_dtype: torch.dtype = torch.float32
    """What convolutional decoders compute in while the model trains; an evaluation never does."""
    kl_weight: Tensor | float = 1.0
    """What the KL weighs in the bound by which a posterior refines itself while the model trains: where
    `has_iterative_posterior`, the step sets it to the objective's. In an evaluation it is 1."""

    @property
    def has_gaussian_posterior(self) -> bool:
        """q(z|x) is a diagonal Gaussian: `encode` gives mean and logvar."""
        return False

    @property
    def decodes_in_parallel(self) -> bool:
        """p(x|z) follows from z alone: `decode` and `decode_mean` need no x, and `draw` is one pass."""
        return False

    @property
    def parameters_per_datum(self) -> int:
        """How many numbers `decode` makes of one code: what the memory of an evaluation is counted in."""
        return math.prod(self.spec.shape)

    @property
    def text_decoder(self) -> TextDecoder | None:
        """p(x|z) word by word, where x are sentences; None elsewhere."""
        return None

    @property
    def has_iterative_posterior(self) -> bool:
        """The posterior descends the bound for itself, within `encode`."""
        return False

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) of a batch."""
        raise NotImplementedError

    def prior_distribution(self) -> Distribution:
        """p(z); an evaluation calls this once."""
        raise NotImplementedError

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Likelihood parameters `[S, B, ...]` at `z [S, B, D]`; decoders that see the data need x."""
        raise NotImplementedError

    def decode_mean(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), `[S, B, *shape]`."""
        raise NotImplementedError

    def terms(
        self, x: Tensor, num_samples: int = 1, q: Posterior | None = None, p: Distribution | None = None
    ) -> Terms:
        """The log densities of a batch under S draws from q(z|x); `q` and `p` spare their making."""
        raise NotImplementedError

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z) at each code `z [N, D]`, `[N, *shape]`; by pixels where the decoder sees the data."""
        raise NotImplementedError

    def decode_image(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What to look at for each code `z [N, D]`, `[N, *shape]`: the mean of p(x|z), or a draw from it
        where the decoder sees the data and has no mean short of all its draws."""
        raise NotImplementedError

    def images_by_step(self, z: Tensor) -> Tensor:
        """The image after each of T = `num_steps` steps at codes `z [N, D]`, `[T, N, *shape]`: means."""
        raise NotImplementedError

    def sample(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Renderings of draws from the prior, `[num, *shape]`."""
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """Renderings of the posterior means, `[B, *shape]`."""
        raise NotImplementedError

    def init_from_data(self, x: Tensor) -> None:
        """Choose what of the initial weights depends on data, from a batch; called once, before training."""

    def named_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers with weights of its `encoder` and `decoder`, in order, as `encoder.hidden.0`, ..."""
        for side, network in self.named_children():
            if side in ("encoder", "decoder"):
                for name, module in network.named_modules():
                    if isinstance(module, LAYERS):
                        yield f"{side}.{name}", module
