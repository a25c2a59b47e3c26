"""Log density ratios by classification (Bickel et al. 2007).

The logit of the best classifier between equally many samples of p and of r is log p(v) / r(v). Its mean over
p is KL(p || r). The logit is used directly, since the logarithm of a sigmoid would saturate.
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
"""Two sets of N samples. In a problem: of the numerator p and of the denominator r, `[N, F]` each."""

Draw = Callable[[int], Sequence[Pair]]
"""Function of N: N new samples of p and of r for each problem, in the same order at every call."""

MOMENT_BATCHES = 4


@dataclass(frozen=True)
class Codes:
    """Examples of a split with their posteriors, to sample pairs (x, z)."""

    x: Tensor
    """`[N, F]`, flattened."""
    q: Posterior
    generator: torch.Generator

    def at(self, index: Tensor) -> Pair:
        """Return x `[B, F]` and z ~ q(z|x) `[B, D]` for the examples at `index`."""
        return self.x[index], self.q[index].rsample(1, self.generator)[0]

    def draw(self, num: int) -> Pair:
        """Return x and z for `num` random examples, with replacement."""
        return self.at(torch.randint(len(self.x), (num,), generator=self.generator, device=self.x.device))

    def repeats(self, num_draws: int) -> int:
        """Return the number of samples of z per example for about `num_draws` in total, at least 1."""
        return max(1, round(num_draws / len(self.x)))


def codes(context: Context, generator: torch.Generator) -> tuple[Codes, Codes]:
    """Return the training split, on which classifiers are trained, and the test split, on which they are
    evaluated."""
    train, test = (
        Codes(context.data(split).flatten(1), context.encoded(split), generator)
        for split in ("train", "test")
    )
    return train, test


@dataclass(frozen=True)
class Fitting:
    """Training settings of the classifiers: Adam, with a learning rate that falls to zero along half a
    cosine."""

    width: int
    """Units of each of the two hidden layers."""
    lr: float
    batch_size: int
    """Samples per step, at least 2: one half from p, the other from r."""
    num_steps: int


class Classifiers(nn.Module):
    """Batch of E MLPs, F - width - width - 1 with GELU; inputs are standardised by moments `[E, F]`."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean", mean.unsqueeze(1))
        self.register_buffer("std", std.unsqueeze(1))
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise([mean.shape[1], width, width, 1]):
            bound = before**-0.5  # the initialisation of nn.Linear
            for parameters, rows in ((self.weights, before), (self.biases, 1)):
                start = torch.empty(len(mean), rows, after, device=mean.device)
                parameters.append(nn.Parameter(start.uniform_(-bound, bound, generator=generator)))

    def forward(self, v: Tensor) -> Tensor:
        """Return logits `[E, N]` for inputs `[E, N, F]`."""
        h = (v - self.mean) / self.std
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if number < last:
                h = F.gelu(h)
        return h.squeeze(-1)


class LogRatios(nn.Module):
    """Estimators of log p/r for P problems; problems with inputs of the same width share their matrix
    products."""

    def __init__(self, moments: Sequence[Pair], width: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [len(mean) for mean, _ in moments]
        self.members = [[i for i, size in enumerate(sizes) if size == inputs] for inputs in sorted({*sizes})]
        self.groups = nn.ModuleList()
        for group in self.members:
            mean, std = (torch.stack([moments[i][side] for i in group]) for side in (0, 1))
            self.groups.append(Classifiers(mean, std, width, generator))
        order = torch.tensor([i for group in self.members for i in group])
        self.rank = order.argsort().to(moments[0][0].device)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return estimates `[P, N]` in nats at the points `[N, F]` of each problem."""
        logits = [
            classifiers(torch.stack([inputs[i] for i in group]))
            for group, classifiers in zip(self.members, self.groups, strict=True)
        ]
        return torch.cat(logits)[self.rank]


def fit(
    draw: Draw, fitting: Fitting, generator: torch.Generator, steps: Iterable[int] | None = None
) -> LogRatios:
    """Train a classifier for each problem of `draw` by binary cross-entropy, with new samples at every step.

    Inputs are standardised by the moments of r. `generator` initialises the classifiers. `steps` iterates
    over `range(num_steps)`, for example with a progress bar.
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
            # Problems share no parameters, so each gets the gradient of its own mean.
            loss = F.softplus(-logits[:, :half]).mean(1).sum() + F.softplus(logits[:, half:]).mean(1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
    return ratios.eval().requires_grad_(False)


def _moments(draw: Draw, num: int) -> list[Pair]:
    """Return mean and standard deviation `[F]` of each problem's r.

    The standard deviation is set to 1 for a constant coordinate.
    """
    batches = [[below for _, below in draw(num)] for _ in range(MOMENT_BATCHES)]
    moments = []
    for parts in zip(*batches, strict=True):
        draws = torch.cat(parts)
        std, mean = torch.std_mean(draws, 0)
        varies = std > 1e-6 * mean.abs()  # by more than rounding
        moments.append((mean, torch.where(varies, std, 1.0)))
    return moments
