"""How far samples are from data: energy distance, nearest neighbours, and what a classifier sees in them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, mean_and_error
from vaebench.seeding import derive_seed

ROWS = 1000  # of a matrix of distances that are made at once


class Distances:
    """Euclidean distances of samples `[N, D]` from data `y [M, D]`, whose own are computed once; float64."""

    def __init__(self, y: Tensor) -> None:
        self.y = flat(y)

    @cached_property
    def _own(self) -> Tensor:
        return sums(self.y, self.y)[0]

    def energy(self, x: Tensor) -> tuple[float, float]:
        """2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013) and its standard error.

        Each mean is over pairs of different points: no bias, and hence negative values where the laws are
        equal. The error is the jackknife's of two samples, each point left out once: where the laws are
        equal, and the value is of second order, it is too large by up to sqrt(2). N and M are 3 or more.
        """
        x = flat(x)
        n, m = len(x), len(self.y)
        within_x, within_y = sums(x, x)[0], self._own
        of_x, of_y = sums(x, self.y)
        cross = of_x.sum()

        def mean_of_pairs(total: Tensor, num: int) -> Tensor:
            return total / (num * (num - 1))

        mean_x, mean_y = mean_of_pairs(within_x.sum(), n), mean_of_pairs(within_y.sum(), m)
        value = 2 * cross / (n * m) - mean_x - mean_y
        without_x = 2 * (cross - of_x) / ((n - 1) * m) - mean_of_pairs(within_x.sum() - 2 * within_x, n - 1)
        without_y = 2 * (cross - of_y) / (n * (m - 1)) - mean_of_pairs(within_y.sum() - 2 * within_y, m - 1)
        variance = sum(
            (k - 1) / k * (left - left.mean()).square().sum() for k, left in ((n, without_x), (m, without_y))
        )
        return float(value), float(variance) ** 0.5

    def nearest(self, x: Tensor) -> Tensor:
        """The distance of each sample from the nearest datum, `[N]`."""
        return torch.cat([torch.cdist(part, self.y).amin(1) for part in flat(x).split(ROWS)])


def flat(x: Tensor) -> Tensor:
    """Each datum as a vector in float64 on the CPU: of binary data, squared distances are then exact."""
    return x.flatten(1).cpu().double()


def sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The distances of each x from all y, summed, `[N]`, and of each y from all x, `[M]`."""
    of_x, of_y = [], torch.zeros(len(y), dtype=x.dtype)
    for part in x.split(ROWS):
        distance = torch.cdist(part, y)
        of_x.append(distance.sum(1))
        of_y += distance.sum(0)
    return torch.cat(of_x), of_y


class ClassReader:
    """Logistic regression on data themselves, that says which class samples look like."""

    def __init__(self, x: Tensor, y: Tensor, num_classes: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self.num_classes = num_classes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit shows in its accuracy
            self._classifier = LogisticRegression(max_iter=200).fit(flat(x).numpy(), y.cpu().numpy())

    def probabilities(self, x: Tensor) -> Tensor:
        """p(y|x), `[N, C]`; zero for a class that no datum had."""
        found = torch.zeros(len(x), self.num_classes, dtype=torch.float64)
        found[:, self._classifier.classes_] = torch.from_numpy(
            self._classifier.predict_proba(flat(x).numpy())
        )
        return found

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        return float((self.probabilities(x).argmax(1) == y.cpu()).double().mean())


def histogram_entropy(counts: Tensor) -> tuple[float, float]:
    """-sum_c p_c log p_c of the shares of counts `[C]`, nats, and its standard error by the delta method.

    Too low by about (C - 1) / 2N.
    """
    n = int(counts.sum())
    shares = counts.double() / n
    log_shares = torch.where(shares > 0, shares, 1).log()
    entropy = abs(float(shares @ log_shares))  # no terms are positive; and not -0
    variance = float(shares @ log_shares.square()) - entropy**2
    return entropy, math.sqrt(max(variance, 0) / n)


@dataclass(frozen=True)
class Quality:
    """What samples are compared with: test data, training data, and a classifier of two labels or more."""

    test: Distances
    train: Distances
    reader: ClassReader | None

    @classmethod
    def of(cls, context: Context, test: Tensor, num_train: int | None) -> Quality:
        """Against `test` data and a seeded choice of `num_train` training data."""
        split = context.splits.train
        seed = derive_seed(context.seed, "sample quality")
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        chosen = order[:num_train].to(context.device)
        x = split.gather(chosen, torch.Generator(context.device).manual_seed(seed))
        num_classes, reader = context.spec.num_classes, None
        if num_classes is not None and split.y is not None and len(split.y[chosen].unique()) > 1:
            reader = ClassReader(x, split.y[chosen], num_classes)
        return cls(Distances(test), Distances(x), reader)

    def measure(self, name: str, x: Tensor) -> Iterator[Measurement]:
        """Of samples `x [N, *shape]`, under names that begin with `name`."""
        n = len(x)
        energy, error = self.test.energy(x)
        yield Measurement(f"{name}_energy_distance", energy, "data units", False, n, error)
        near, near_error = mean_and_error(self.train.nearest(x))
        yield Measurement(f"{name}_neighbour_distance", near, "data units", None, n, near_error)
        if self.reader is not None:
            entropy, error = histogram_entropy(self.histogram(x))
            yield Measurement(f"{name}_class_entropy", entropy, "nats", None, n, error)
            p = self.reader.probabilities(x)
            doubt, doubt_error = mean_and_error(torch.special.entr(p).sum(1))
            yield Measurement(f"{name}_prediction_entropy", doubt, "nats", None, n, doubt_error)

    def histogram(self, x: Tensor) -> Tensor:
        """How many samples look most like each class, `[C]`."""
        assert self.reader is not None
        return torch.bincount(self.reader.probabilities(x).argmax(1), minlength=self.reader.num_classes)


def compact(x: Tensor, kind: str) -> np.ndarray:
    """Data as they are filed: uint8 for binary data and levels, else float16."""
    x = x.cpu()
    if kind == "binary":
        return x.to(torch.uint8).numpy()
    if kind == "uint8":
        return (x * 255).round().to(torch.uint8).numpy()
    return x.half().numpy()


def expand(stored: np.ndarray, kind: str) -> Tensor:
    """The inverse of `compact`, float32."""
    x = torch.from_numpy(stored).float()
    return x / 255 if kind == "uint8" else x
