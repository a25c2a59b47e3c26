"""Annealed importance sampling between a base density and a target, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import log_mean_exp
from vaebench.evaluation.likelihood.hmc import Densities, Point, evaluate, transition

Schedule = Literal["linear", "sigmoid"]

PILOTS = 4
"""Number of chains that adapt the step sizes and are left out of the estimate."""
TARGET_ACCEPTANCE = 0.65  # optimal in many dimensions (Beskos et al. 2013)
FIRST_STEP = 0.5
SMALLEST_GAIN = 0.1


def temperatures(schedule: Schedule, num: int) -> list[float]:
    """Return beta_0 = 0 < ... < beta_num = 1, evenly or as a sigmoid over [-4, 4] (Grosse et al. 2015)."""
    even = torch.linspace(0, 1, num + 1, dtype=torch.float64)
    if schedule == "linear":
        return even.tolist()
    sigmoid = torch.sigmoid(8 * even - 4)
    return ((sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0])).tolist()


@dataclass
class Chains:
    """State of K chains on each of B examples: everything that an interrupted estimate needs to resume."""

    point: Point
    log_w: Tensor
    """Log weights so far, `[K, B]`, nats, float64, on the CPU."""
    log_steps: Tensor
    """Log step sizes per temperature, `[T, B]`; the forward pass fills them in."""
    acceptance: Tensor
    """Sum of the acceptance probabilities over temperatures, `[K, B]`."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all fields as arrays, for saving."""
        fields = vars(self.point) | {k: v for k, v in vars(self).items() if k != "point"}
        return {name: tensor.cpu().numpy() for name, tensor in fields.items()}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray], device: torch.device) -> Chains:
        """Return the chains that `arrays` saved, with the log weights on the CPU and all else on `device`."""
        on_cpu = {name: torch.from_numpy(array) for name, array in arrays.items()}
        log_w = on_cpu.pop("log_w")
        fields = {name: tensor.to(device) for name, tensor in on_cpu.items()}
        log_steps, acceptance = fields.pop("log_steps"), fields.pop("acceptance")
        return cls(Point(**fields), log_w, log_steps, acceptance)


@dataclass(frozen=True)
class Annealing:
    """Chains through log f_t(z) = log base(z) + beta_t log ratio(z), t = 0, ..., T (Neal 2001).

    Forward pass: z_0 ~ base, then kernels that leave f_1, ..., f_{T-1} invariant. The weight w = prod_t
    f_{t+1}(z_t) / f_t(z_t) has E[w] = Z, the integral of f_T. Backward pass: z_{T-1} ~ f_T / Z, then the same
    kernels in reverse order. Then E[1/w] = 1/Z.

    Both hold for any kernels that are fixed before the chains move. Step sizes, one per example and
    temperature, are therefore adapted to the acceptance of `PILOTS` additional chains with their own random
    numbers. These pilots are left out of the estimate. Step sizes adapted to the chains themselves (Wu et al.
    2017) bias it.
    """

    betas: list[float]
    """`[T + 1]`, from 0 to 1."""
    num_leapfrog: int

    @property
    def num(self) -> int:
        return len(self.betas) - 1

    def begin(self, densities: Densities, z: Tensor, log_steps: Tensor | None = None) -> Chains:
        """Return chains at their start.

        For a forward pass, z ~ base is `[PILOTS + K, B, D]`, pilots first. For a backward pass, z ~ f_T / Z
        is `[K, B, D]`, and `log_steps` are the step sizes of a forward pass.
        """
        if log_steps is None:
            log_steps = z.new_full((self.num, z.shape[1]), FIRST_STEP).log()
        log_w = torch.zeros(z.shape[:2], dtype=torch.float64)
        return Chains(evaluate(densities, z), log_w, log_steps, z.new_zeros(z.shape[:2]))

    def forward(self, densities: Densities, chains: Chains, number: int, generator: torch.Generator) -> None:
        """Update the weights at temperature `number` (0, ..., T - 1), then move the chains at the next
        temperature."""
        self._weigh(chains, number)
        level = number + 1
        if level == self.num:
            return
        acceptance = self._move(densities, chains, level, generator)
        if level + 1 < self.num:
            gain = max(SMALLEST_GAIN, level**-0.5)
            excess = acceptance[:PILOTS].mean(0) - TARGET_ACCEPTANCE
            chains.log_steps[level + 1] = chains.log_steps[level] + gain * excess

    def backward(self, densities: Densities, chains: Chains, number: int, generator: torch.Generator) -> None:
        """Update the weights at temperature T - 1 - `number`, then move the chains at that temperature."""
        level = self.num - 1 - number
        self._weigh(chains, level)
        if level > 0:
            self._move(densities, chains, level, generator)

    def _weigh(self, chains: Chains, number: int) -> None:
        chains.log_w += (self.betas[number + 1] - self.betas[number]) * chains.point.ratio.cpu().double()

    def _move(self, densities: Densities, chains: Chains, level: int, generator: torch.Generator) -> Tensor:
        chains.point, acceptance = transition(
            densities,
            chains.point,
            self.betas[level],
            chains.log_steps[level].exp(),
            self.num_leapfrog,
            generator,
        )
        chains.acceptance += acceptance
        return acceptance

    def log_z(self, chains: Chains, *, backward: bool) -> Tensor:
        """Return log Z, the effective number of chains and the mean acceptance, `[3, B]`, float64, on the
        CPU.

        log Z is in expectation a lower bound after a forward pass and an upper bound after a backward pass.
        """
        first, sign = (0, -1) if backward else (PILOTS, 1)
        log_w = sign * chains.log_w[first:]
        log_ess = 2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0)
        acceptance = chains.acceptance[first:].mean(0).cpu().double() / max(1, self.num - 1)
        return torch.stack([sign * log_mean_exp(log_w, 0), log_ess.exp(), acceptance])
