"""Terms: un-reduced log densities, which models compute and objectives and evaluators reduce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from vaebench.distributions import Distribution, Posterior, kl_divergence

T = TypeVar("T")


class once(Generic[T]):
    """Property that is computed at first use.

    Before Python 3.12, `functools.cached_property` takes a lock, which breaks the graph of a compiled step.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__
        self.name = compute.__name__

    def __get__(self, terms: Any, owner: type | None = None) -> T:
        if self.name not in terms.__dict__:
            terms.__dict__[self.name] = self.compute(terms)
        value: T = terms.__dict__[self.name]
        return value


@dataclass(frozen=True)
class Terms:
    """Log densities of a batch under S samples from its posterior. S samples, B data, D latent units; nats.

    The densities of z are computed at first use, so that those that nobody reads cost nothing.
    """

    log_px_z: Tensor
    """log p(x|z), summed over the dimensions of x, `[S, B]`."""
    z: Tensor
    """Samples from q(z|x), `[S, B, D]`."""
    q: Posterior
    """The posterior q(z|x)."""
    p: Distribution
    """The prior p(z)."""
    sampled_log_qz_x: Tensor | None = None
    """log q(z|x) where sampling has computed it, `[S, B]`; None: `log_qz_x` evaluates the density."""

    @once
    def log_pz(self) -> Tensor:
        """log p(z), `[S, B]`."""
        return self.p.log_prob(self.z)

    @once
    def log_qz_x(self) -> Tensor:
        """log q(z|x), `[S, B]`."""
        return self.q.log_prob(self.z) if self.sampled_log_qz_x is None else self.sampled_log_qz_x

    @once
    def kl(self) -> Tensor | None:
        """KL(q(z|x) || p(z)) per unit, `[B, D]`, or None where there is no closed form."""
        return kl_divergence(self.q, self.p)

    @property
    def log_w(self) -> Tensor:
        """Log importance weights log p(x|z) + log p(z) - log q(z|x), `[S, B]` (Burda et al. 2016, eq. 7)."""
        return self.log_px_z + self.log_pz - self.log_qz_x

    @property
    def kl_per_datum(self) -> Tensor:
        """KL(q(z|x) || p(z)), `[B]`: closed form where there is one, otherwise the mean over the samples."""
        if self.kl is not None:
            return self.kl.sum(-1)
        return (self.log_qz_x - self.log_pz).mean(0)
