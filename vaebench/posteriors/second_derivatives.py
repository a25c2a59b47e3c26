"""The second derivatives of a descent's energy times a vector: exactly, by differences, or as published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Energy = Callable[[Tensor, int], Tensor]
Clip = Callable[[Tensor], Tensor]


@dataclass
class SecondDerivatives(ABC):
    """An energy at the points of one descent: slopes on the way there, their derivatives on the way back."""

    energy: Energy
    weights: Sequence[Tensor]
    clip: Clip

    @abstractmethod
    def slope(self, point: Tensor, step: int) -> Tensor:
        """dE/dx at the point of a step, as a constant. To be asked for each step in turn."""

    @abstractmethod
    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        """What clip(dE/dx) . of_clipped has for a gradient in x, and in each weight, at that step's point."""

    def through_clip(self, slope: Tensor, of_clipped: Tensor) -> Tensor:
        """The gradient in the slope of one in the clipped slope."""
        with torch.enable_grad():
            leaf = slope.detach().requires_grad_()
            return torch.autograd.grad(self.clip(leaf), leaf, of_clipped)[0]


@dataclass
class Exact(SecondDerivatives):
    """From the graph of every slope, kept until the descent's own is freed."""

    graphs: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False)

    def slope(self, point: Tensor, step: int) -> Tensor:
        with torch.enable_grad():
            leaf = point.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(leaf, step), leaf, create_graph=True)
        self.graphs.append((leaf, slope))
        return slope.detach()

    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        leaf, slope = self.graphs[step]
        of = (leaf, *self.weights)
        if not slope.requires_grad:  # the energy is linear in both
            return [torch.zeros_like(each) for each in of]
        direction = self.through_clip(slope, of_clipped)
        return torch.autograd.grad(
            slope, of, direction, retain_graph=True, allow_unused=True, materialize_grads=True
        )


@dataclass
class Differences(SecondDerivatives):
    """From the slopes at x_k and at x_k + epsilon u (Kim et al. 2018, algorithm 1)."""

    epsilon: float
    found: list[tuple[Tensor, tuple[Tensor, ...]]] = field(default_factory=list, init=False)

    def slope(self, point: Tensor, step: int) -> Tensor:
        found = slopes(self.energy, point, step, self.weights)
        self.found.append((point, found))
        return found[0]

    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        _, here = self.found[step]
        return self.quotients(here, self.beside(step, self.through_clip(here[0], of_clipped)))

    def beside(self, step: int, direction: Tensor) -> Sequence[Tensor]:
        """The slopes, of the point and of the weights, at x_k + epsilon u."""
        point, _ = self.found[step]
        return slopes(self.energy, point + self.epsilon * direction, step, self.weights)

    def quotients(self, here: Sequence[Tensor], there: Sequence[Tensor]) -> Sequence[Tensor]:
        return [(b - a) / self.epsilon for a, b in zip(here, there, strict=True)]


@dataclass
class Published(Differences):
    """As the authors' code takes the differences (github.com/harvardnlp/sa-vae, optim_n2n.py).

    It clips x's slope here, as the descent does and not to be differentiated; and all slopes beside, of x and
    of the weights together, to `longest`. Where those are longer, what is divided by epsilon is a piece of
    the slope itself, and what is passed on, clipped again, points along it: the start learns from the slope
    of the energy at the start, and the weights from theirs at every step. That is no meta-gradient.
    """

    longest: float

    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        _, (slope, *of_weights) = self.found[step]
        beside = shortened_together(self.beside(step, of_clipped), self.longest)
        return self.quotients([self.clip(slope), *of_weights], beside)


def slopes(energy: Energy, point: Tensor, step: int, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The energy's gradients in the point and in each of the weights, as constants."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(
            energy(leaf, step), (leaf, *weights), allow_unused=True, materialize_grads=True
        )


def shortened(slope: Tensor, longest: float, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """`slope`, scaled down where its norm over `dim` is more than `longest`."""
    norm = torch.linalg.vector_norm(slope, dim=dim, keepdim=True)
    return slope * (longest / (norm + 1e-6)).clamp(max=1)


def shortened_together(parts: Sequence[Tensor], longest: float) -> Sequence[Tensor]:
    """All of `parts`, scaled down by one factor where they are longer than `longest` as one vector."""
    if not parts:
        return parts
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return [part * factor for part in parts]
