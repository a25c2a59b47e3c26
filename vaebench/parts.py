"""Contracts of the parts that a config names, and the values that they exchange.

A part is any class with these members; it need not inherit from anything. Its keyword-only parameters are its
options. The code that builds it passes the positional parameters, in this order:

| part | positional parameters |
| --- | --- |
| encoder | `input_shape`: `[C, H, W]` of an image; `[L, V]` of a sentence, L tokens from a vocabulary of V |
| decoder | `latent_dim`, `output_shape` (the likelihood's `parameter_shape`), `data_shape` |
| posterior | `in_features` (the encoder's `out_features`), `latent_dim` |
| prior | `latent_dim`, `shape` (of the data: `[C, H, W]`, or `[L]` token ids) |
| likelihood | `input_shape` |
| objective | `steps_per_epoch`, `model` |
| evaluator | none |

B examples of a batch, N codes, S samples, D latent units, F features. A likelihood says in `kinds` for which
kinds of data it is (`data.spec.Kind`). Encoders, decoders and priors may; without it they are for numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Protocol,
)

from torch import Tensor

from vaebench.distributions import Distribution, Posterior
from vaebench.terms import Terms

if TYPE_CHECKING:
    from vaebench.model import Model

Kinds = frozenset[str]


class Encoder(Protocol):
    """Images `[B, C, H, W]`, or token ids `[B, L]`, to features `[B, F]`."""

    out_features: Annotated[int, "F, the number of features"]

    def __call__(self, x: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """z `[N, D]` to likelihood parameters `[N, *output_shape]`; if autoregressive, it also reads x.

    It may have `init_from_data(x)`, which sets initial weights from a batch, once, before training, and
    `has_data_init`, true if that takes x for bits, so that only a Bernoulli likelihood fits.
    """

    is_autoregressive: Annotated[bool, "whether it also reads x, by teacher forcing"]

    def __call__(self, z: Tensor, x: Tensor | None) -> Tensor: ...


class AutoregressiveDecoder(Decoder, Protocol):
    """p(x|z) pixel by pixel, or token by token."""

    def sample(self, z: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x ~ p(x|z) for each `z [N, D]`. `pick` samples one pixel `[N, C, 1, 1]` from its parameters
        `[N, P, 1, 1]`; for sentences, a token `[N]` from logits `[N, V]`."""
        ...


class ELBOFunction(Protocol):
    """E_q[log p(x|z)] - kl_weight KL(q(z|x) || p(z)) of each example of one batch, `[B]`, in nats.

    The KL weight is the objective's at this step of training, and 1 in an evaluation.
    """

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The trained weights of decoder, likelihood and prior, on which the ELBO depends besides q."""
        ...

    @property
    def is_recurrent(self) -> bool:
        """True if the decoder has an LSTM or a GRU, whose cuDNN form has no second derivatives."""
        ...

    def __call__(self, q: Distribution, z: Tensor) -> Tensor:
        """Return the ELBO from samples `z [S, B, D]` of q, with the KL in closed form where there is one."""
        ...


class PosteriorNetwork(Protocol):
    """Features `[B, F]` to q(z|x). `elbo` is for iterative posteriors, which maximise it."""

    is_gaussian: Annotated[bool, "whether q(z|x) is a diagonal Gaussian with `mean` and `logvar`"]
    is_amortised: Annotated[bool, "whether q(z|x) is determined by the features alone"]

    def __call__(self, features: Tensor, elbo: ELBOFunction) -> Posterior: ...


class PriorNetwork(Protocol):
    """p(z); `encode` (x to q(z|x)) is used by priors that are mixtures of posteriors (VampPrior)."""

    needs_gaussian_posterior: Annotated[bool, "whether `encode` must give amortised diagonal Gaussians"]

    def __call__(self, encode: Callable[[Tensor], Any]) -> Distribution: ...


class Likelihood(Protocol):
    """p(x|z) given the decoder's output `[S, B, *parameter_shape]`; leading dimensions broadcast."""

    kinds: Annotated[Kinds, "the kinds of data that it is for"]
    parameter_shape: Annotated[tuple[int, ...], "the decoder's output shape for one example"]

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x|z), `[S, B]`, in nats, summed over the dimensions of x."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Return the mean of p(x|z), `[S, B, *shape]`."""
        ...

    def sample(self, parameters: Tensor, generator: Any = None) -> Tensor:
        """Return x ~ p(x|z)."""
        ...


class ModelContract(Protocol):
    """A model. Subclass `vaebench.model.Model`, which derives the rest from these."""

    has_latent: ClassVar[Annotated[bool, "whether there is a code z"]]
    has_density: ClassVar[Annotated[bool, "whether log p(x|z) is a log density"]]
    latent_dim: Annotated[int, "D, the number of latent units"]

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z|x) of a batch."""
        ...

    def decode(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Return likelihood parameters `[S, B, ...]`."""
        ...

    def terms(self, x: Tensor, num_samples: int = 1) -> Terms:
        """Return the log densities of a batch."""
        ...


@dataclass(frozen=True)
class Loss:
    """The scalars of one training step, in nats per example.

    `total` has no gradient with respect to the objective's parameters, and `auxiliary` none with respect to
    the model's: both are back-propagated in one pass.
    """

    total: Tensor
    """Minimised over the model's parameters."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Named numbers to log; the same names at every step."""
    auxiliary: Tensor | None = None
    """Minimised over the objective's own parameters, if it has any."""


class ObjectiveContract(Protocol):
    """Terms to a Loss. Subclass `objectives.base.Objective`, which has the defaults."""

    criterion: Annotated[str, "elbo or reconstruction: the validation number that selects the weights"]
    num_samples: Annotated[int, "samples of z per example"]
    warmup_steps: Annotated[int, "number of warm-up steps, during which the loss differs"]
    states_kl_weight: Annotated[bool, "whether the class defines `kl_weight`"]

    def __call__(self, terms: Terms, step: Tensor, model: Model) -> Loss: ...

    def kl_weight(self, step: Tensor) -> Tensor | float:
        """Return the weight of the KL in the loss at `step`, for iterative posteriors."""
        ...

    def auxiliary_optimizer(self) -> Any:
        """Return the optimiser of the objective's own parameters, or None."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One number, with what is needed to trust it."""

    name: str
    value: float
    unit: str
    """nats, bits, units, fraction, ..."""
    higher_is_better: bool | None
    """None where neither direction is better."""
    n: int
    """Number of test examples (or samples) averaged over."""
    standard_error: float | None = None
    """None if the value has no sampling error, or n = 1."""


class Evaluator(Protocol):
    """A measure, constructed with its options alone."""

    version: ClassVar[Annotated[int, "incremented when its numbers change"]]

    def run(self, context: Any) -> Iterable[Measurement]:
        """Measure the model of an `evaluation.base.Context`. Raises NotApplicableError with the reason where
        the measure does not apply."""
        ...
