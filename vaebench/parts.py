"""Contracts of the parts that a config names, and the values that they exchange.

A part is any class with these members; it need not inherit from anything. Its keyword-only parameters are its
options. Its positional parameters are given by whoever builds it, by name:

| part | positional parameters |
| --- | --- |
| encoder | `input_shape`: of one image, `[C, H, W]`; of a sentence of L out of V tokens, `[L, V]` |
| decoder | `latent_dim`, `output_shape` (the likelihood's `parameter_shape`), `data_shape` |
| posterior | `in_features` (the encoder's `out_features`), `latent_dim` |
| prior | `latent_dim`, `shape` |
| likelihood | `shape` |
| objective | `steps_per_epoch`, `model` |
| evaluator | none |

B examples of a batch, N codes, S samples, D latent units, F features. Encoders, decoders and likelihoods may
say in `kinds` for which kinds of data they are (`data.spec.Kind`); without it they are for numbers.
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
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from torch import Tensor, nn

from vaebench.distributions import Distribution, Posterior
from vaebench.errors import UserError
from vaebench.terms import Terms

if TYPE_CHECKING:
    from vaebench.model import Model

Kinds = frozenset[str]


class Encoder(Protocol):
    """x `[B, *input_shape]` to features `[B, F]`."""

    out_features: Annotated[int, "F, the number of features"]

    def __call__(self, x: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """z `[N, D]` to likelihood parameters `[N, *output_shape]`; if autoregressive, it also reads x.

    It may have `init_from_data(x)`, which sets initial weights from a batch, once, before training.
    """

    is_autoregressive: Annotated[bool, "whether it also reads x, by teacher forcing"]

    def __call__(self, z: Tensor, x: Tensor | None) -> Tensor: ...


class AutoregressiveDecoder(Decoder, Protocol):
    """p(x|z) pixel by pixel, or token by token."""

    def sample(self, z: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x ~ p(x|z) for each `z [N, D]`. `pick` samples one pixel `[N, C, 1, 1]` from its parameters
        `[N, P, 1, 1]`; of sentences a token `[N]` from logits `[N, V]`."""
        ...


class ELBOFunction(Protocol):
    """E_q[log p(x|z)] - kl_weight KL(q(z|x) || p(z)) of each example of one batch, `[B]`, in nats.

    The KL weight is the objective's at this step of training, and 1 in an evaluation.
    """

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The trained weights of decoder, likelihood and prior, on which the ELBO depends beside q."""
        ...

    @property
    def is_recurrent(self) -> bool:
        """True if the decoder has an LSTM or a GRU, whose cuDNN form has no second derivatives."""
        ...

    def __call__(self, q: Distribution, z: Tensor) -> Tensor:
        """Return the ELBO from samples `z [S, B, D]` of q, with the KL in closed form where there is one."""
        ...


class PosteriorNetwork(Protocol):
    """Features `[B, F]` to q(z|x). `elbo` is for iterative posteriors, which ascend it."""

    is_gaussian: Annotated[bool, "whether q(z|x) is a diagonal Gaussian with `mean` and `logvar`"]
    is_amortised: Annotated[bool, "whether q(z|x) follows from the features alone"]

    def __call__(self, features: Tensor, elbo: ELBOFunction) -> Posterior: ...


class PriorNetwork(Protocol):
    """p(z), once per training step; `encode` (x to q(z|x)) is for mixtures of posteriors."""

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


@dataclass(frozen=True)
class Loss:
    """The scalars of one training step, in nats per example.

    `total` has no gradient in the objective's parameters and `auxiliary` none in the model's: both are
    back-propagated in one pass.
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
    warmup_steps: Annotated[int, "steps at the start with another loss than later"]
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
    """Number of test examples (or samples) that it is taken over."""
    standard_error: float | None = None
    """None where the number is exact for what it is taken over, or for a single value."""


class Evaluator(Protocol):
    """A measure, constructed with its options alone."""

    version: ClassVar[Annotated[int, "raised when its numbers change"]]

    def run(self, context: Any) -> Iterable[Measurement]:
        """Measure the model of an `evaluation.base.Context`. Raises NotApplicableError with the reason where
        the measure does not apply."""
        ...


Part = TypeVar("Part")


def require(part: Part, contract: type, key: str, is_module: bool = True) -> Part:
    """Return `part` if it keeps `contract`. Raises UserError, naming the config key and what is missing."""
    name = f"{type(part).__module__}.{type(part).__qualname__}"
    problems = [] if isinstance(part, nn.Module) or not is_module else ["is no torch.nn.Module"]
    for member, note in members(contract).items():
        expected = get_args(note)[0] if get_args(note) else None
        value = getattr(part, member, None)
        if value is None:
            meaning = f" ({note.__metadata__[0]})" if get_args(note) else "()"
            problems.append(f"has no `{member}`{meaning}")
        elif expected in (bool, int) and type(value) is not expected:
            problems.append(f"has `{member}` = {value!r}, expected {expected.__name__}")
        elif expected is None and not callable(value):
            problems.append(f"has `{member}` = {value!r}, expected a method")
    if problems:
        raise UserError(
            f"{key}: {name} {', '.join(problems)}; the contract is vaebench.parts.{contract.__name__}."
        )
    return part


def members(contract: type) -> dict[str, Any]:
    """Return the attributes and methods that a contract names, each attribute with its annotation."""
    own = [base for base in reversed(contract.__mro__) if base.__module__ == __name__]
    methods = {name: None for base in own for name, value in vars(base).items() if callable(value)}
    hints = get_type_hints(contract, include_extras=True, localns={"Model": Any})
    notes = {
        name: get_args(note)[0] if get_origin(note) is ClassVar else note for name, note in hints.items()
    }
    return {name: None for name in methods if not name.startswith("_")} | notes


def require_decoder(decoder: Part, key: str) -> Part:
    """Return `decoder` if it keeps `Decoder`, and `AutoregressiveDecoder` if it is autoregressive."""
    require(decoder, Decoder, key)
    return require(decoder, AutoregressiveDecoder, key) if decoder.is_autoregressive else decoder  # type: ignore[attr-defined]
