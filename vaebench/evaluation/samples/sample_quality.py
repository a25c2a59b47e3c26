"""Distances of samples from data: energy distance, nearest neighbours, and predicted classes."""

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

ROWS = 1000  # rows of a distance matrix at a time


class Distances:
    """Euclidean distances of samples `[N, D]` from data `y [M, D]`, float64; those within y are computed
    once."""

    def __init__(self, y: Tensor) -> None:
        self.y = flat(y)

    @cached_property
    def _own(self) -> Tensor:
        return sums(self.y, self.y)[0]

    def energy(self, x: Tensor) -> tuple[float, float]:
        """Return 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013) and its standard error.

        Each mean is over pairs of different points, so it is unbiased, and negative values occur if the
        distributions are equal. The error is the two-sample jackknife, leaving out one point at a time. If
        the distributions are equal, the value is of second order and the error is too large by up to sqrt(2).
        N and M must be 3 or more.
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
        """Return the distance of each sample from its nearest neighbour in y, `[N]`."""
        return torch.cat([torch.cdist(part, self.y).amin(1) for part in flat(x).split(ROWS)])


def flat(x: Tensor) -> Tensor:
    """Return each example as a vector in float64 on the CPU. For binary data, squared distances are then
    exact."""
    return x.flatten(1).cpu().double()


def sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of distances of each x from all y, `[N]`, and of each y from all x, `[M]`."""
    of_x, of_y = [], torch.zeros(len(y), dtype=x.dtype)
    for part in x.split(ROWS):
        distance = torch.cdist(part, y)
        of_x.append(distance.sum(1))
        of_y += distance.sum(0)
    return torch.cat(of_x), of_y


class ClassReader:
    """Logistic regression on x that predicts the class of samples."""

    def __init__(self, x: Tensor, y: Tensor, num_classes: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        self.num_classes = num_classes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit shows in its accuracy
            self._classifier = LogisticRegression(max_iter=200).fit(flat(x).numpy(), y.cpu().numpy())

    def probabilities(self, x: Tensor) -> Tensor:
        """Return p(y|x), `[N, C]`; zero for a class without training examples."""
        p = torch.zeros(len(x), self.num_classes, dtype=torch.float64)
        p[:, self._classifier.classes_] = torch.from_numpy(self._classifier.predict_proba(flat(x).numpy()))
        return p

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Return the share of correct predictions."""
        return float((self.probabilities(x).argmax(1) == y.cpu()).double().mean())


def histogram_entropy(counts: Tensor) -> tuple[float, float]:
    """Return -sum_c p_c log p_c of the shares of counts `[C]`, in nats, and its standard error by the delta
    method.

    The bias is about -(C - 1) / 2N.
    """
    n = int(counts.sum())
    shares = counts.double() / n
    log_shares = torch.where(shares > 0, shares, 1).log()
    entropy = abs(float(shares @ log_shares))  # all terms are negative or 0; abs also avoids -0.0
    variance = float(shares @ log_shares.square()) - entropy**2
    return entropy, math.sqrt(max(variance, 0) / n)


@dataclass(frozen=True)
class Quality:
    """Comparison of samples with test examples, training examples and the predictions of a classifier."""

    test: Distances
    train: Distances
    reader: ClassReader | None

    @classmethod
    def of(cls, context: Context, test: Tensor, num_train: int | None) -> Quality:
        """Return the comparison with `test` examples and a seeded choice of `num_train` training examples.

        There is a classifier if those have two labels or more.
        """
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
        """Yield measurements of samples `x [N, *shape]`, with names that begin with `name`."""
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
        """Return the number of samples predicted for each class, `[C]`."""
        assert self.reader is not None
        return torch.bincount(self.reader.probabilities(x).argmax(1), minlength=self.reader.num_classes)


def compact(x: Tensor, kind: str) -> np.ndarray:
    """Return examples as saved: uint8 for binary data and grey levels, else float16."""
    x = x.cpu()
    if kind == "binary":
        return x.to(torch.uint8).numpy()
    if kind == "uint8":
        return (x * 255).round().to(torch.uint8).numpy()
    return x.half().numpy()


def expand(stored: np.ndarray, kind: str) -> Tensor:
    """Return the inverse of `compact`, float32."""
    x = torch.from_numpy(stored).float()
    return x / 255 if kind == "uint8" else x
