"""Terms: the un-reduced log densities that models produce, and that objectives and evaluators reduce."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from vaebench.distributions import Distribution, Posterior, kl_divergence


@dataclass(frozen=True)
class Terms:
    """Log densities of a batch under S draws from its posterior. S samples, B data, D latent units; nats.

    What an objective does not read is not computed: the densities of z are evaluated at first use.
    """

    log_px_z: Tensor
    """log p(x|z), summed over the dimensions of x, `[S, B]`."""
    z: Tensor
    """Draws from q(z|x), `[S, B, D]`."""
    q: Posterior
    """The posterior q(z|x)."""
    p: Distribution
    """The prior p(z)."""

    @cached_property
    def log_pz(self) -> Tensor:
        """log p(z), `[S, B]`."""
        return self.p.log_prob(self.z)

    @cached_property
    def log_qz_x(self) -> Tensor:
        """log q(z|x), `[S, B]`."""
        return self.q.log_prob(self.z)

    @cached_property
    def kl(self) -> Tensor | None:
        """KL(q(z|x) || p(z)) per unit, `[B, D]`, or None where there is no closed form."""
        return kl_divergence(self.q, self.p)

    @property
    def log_w(self) -> Tensor:
        """Importance weights log p(x|z) + log p(z) - log q(z|x), `[S, B]` (Burda et al. 2016, eq. 7)."""
        return self.log_px_z + self.log_pz - self.log_qz_x

    @property
    def kl_per_datum(self) -> Tensor:
        """KL(q(z|x) || p(z)), `[B]`: closed form where there is one, otherwise the mean over the draws."""
        if self.kl is not None:
            return self.kl.sum(-1)
        return (self.log_qz_x - self.log_pz).mean(0)
