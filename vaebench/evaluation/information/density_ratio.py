"""Log density ratios by classification (Bickel et al. 2007).

Between as many draws of p as of r, the logit of the best classifier is log p(v) / r(v); its mean over p is
KL(p || r). The logit is used as it is: the logarithm of a sigmoid would saturate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebench.distributions import Posterior
from vaebench.evaluation.base import Context

Pair = tuple[Tensor, Tensor]
"""Two sets of draws `[N, ...]`: in a problem, of the numerator p and of the denominator r, `[N, F]` each."""

Draw = Callable[[int], Sequence[Pair]]
"""N fresh draws of p and of r for each of several problems, in the same order at every call."""

MOMENT_BATCHES = 4


@dataclass(frozen=True)
class Codes:
    """The data of a split and their posteriors, for fresh draws of (x, z)."""

    x: Tensor
    """`[N, F]`, flattened."""
    q: Posterior
    generator: torch.Generator

    def at(self, index: Tensor) -> Pair:
        """x `[B, F]` and z ~ q(z|x) `[B, D]` of the data at `index`."""
        return self.x[index], self.q[index].rsample(1, self.generator)[0]

    def draw(self, num: int) -> Pair:
        """The same of `num` data at random, with replacement."""
        return self.at(torch.randint(len(self.x), (num,), generator=self.generator, device=self.x.device))

    def repeats(self, num_draws: int) -> int:
        """How often each datum is drawn for `num_draws` in all."""
        return max(1, round(num_draws / len(self.x)))


def codes(context: Context, generator: torch.Generator) -> tuple[Codes, Codes]:
    """To train classifiers on, and to read them at: the training and the test split."""
    train, test = (
        Codes(context.data(split).flatten(1), context.encoded(split), generator)
        for split in ("train", "test")
    )
    return train, test


@dataclass(frozen=True)
class Fitting:
    """How classifiers are trained: Adam, its rate down to zero along half a cosine."""

    width: int
    """Units of each of the two hidden layers."""
    lr: float
    batch_size: int
    """Of each step, at least 2; one half is drawn from p, the other from r."""
    num_steps: int


class Classifiers(nn.Module):
    """E MLPs side by side, F - width - width - 1 with GELU, of inputs standardised by moments `[E, F]`."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean", mean.unsqueeze(1))
        self.register_buffer("std", std.unsqueeze(1))
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise([mean.shape[1], width, width, 1]):
            bound = before**-0.5  # as nn.Linear starts
            for parameters, rows in ((self.weights, before), (self.biases, 1)):
                start = torch.empty(len(mean), rows, after, device=mean.device)
                parameters.append(nn.Parameter(start.uniform_(-bound, bound, generator=generator)))

    def forward(self, v: Tensor) -> Tensor:
        """Logits `[E, N]` of `[E, N, F]`."""
        h = (v - self.mean) / self.std
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if number < last:
                h = F.gelu(h)
        return h.squeeze(-1)


class LogRatios(nn.Module):
    """log p/r of P problems; those with inputs of one width share their matrix products."""

    def __init__(self, moments: Sequence[Pair], width: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [len(mean) for mean, _ in moments]
        self.members = [[i for i, size in enumerate(sizes) if size == one] for one in sorted({*sizes})]
        self.groups = nn.ModuleList()
        for group in self.members:
            mean, std = (torch.stack([moments[i][side] for i in group]) for side in (0, 1))
            self.groups.append(Classifiers(mean, std, width, generator))
        order = torch.tensor([i for group in self.members for i in group])
        self.rank = order.argsort().to(moments[0][0].device)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Estimates `[P, N]` in nats at the points `[N, F]` of each problem."""
        logits = [
            classifiers(torch.stack([inputs[i] for i in group]))
            for group, classifiers in zip(self.members, self.groups, strict=True)
        ]
        return torch.cat(logits)[self.rank]


def fit(
    draw: Draw, fitting: Fitting, generator: torch.Generator, steps: Iterable[int] | None = None
) -> LogRatios:
    """Train a classifier for each problem of `draw` by the binary cross-entropy, with fresh draws a step.

    Inputs are standardised by the moments of r. `generator` starts the classifiers; `steps` counts to
    `num_steps`, with a bar where one is wanted.
    """
    half = fitting.batch_size // 2
    with torch.no_grad():
        ratios = LogRatios(_moments(draw, half), fitting.width, generator)
    optimizer = torch.optim.Adam(ratios.parameters(), fused=ratios.rank.device.type != "mps")
    for step in range(fitting.num_steps) if steps is None else steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * fitting.lr * (1 + math.cos(math.pi * step / fitting.num_steps))
        with torch.no_grad():
            inputs = [torch.cat(pair) for pair in draw(half)]
        with torch.enable_grad():
            logits = ratios(inputs)
            # Problems share no parameter: of the sum, each sees its own mean.
            loss = F.softplus(-logits[:, :half]).mean(1).sum() + F.softplus(logits[:, half:]).mean(1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
    return ratios.eval().requires_grad_(False)


def _moments(draw: Draw, num: int) -> list[Pair]:
    """Mean and standard deviation `[F]` of each problem's r, 1 for a coordinate that never moves."""
    batches = [[below for _, below in draw(num)] for _ in range(MOMENT_BATCHES)]
    found = []
    for parts in zip(*batches, strict=True):
        draws = torch.cat(parts)
        std, mean = torch.std_mean(draws, 0)
        moves = std > 1e-6 * mean.abs()  # more than rounding
        found.append((mean, torch.where(moves, std, 1.0)))
    return found
