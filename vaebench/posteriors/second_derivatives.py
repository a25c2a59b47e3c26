"""Hessian-vector products of the SVI objective: exact, by finite differences, or as in the authors' code."""

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
    """An energy at the points of one descent: slopes dE/dx for the forward pass, and their vector-Jacobian
    products for the backward pass."""

    energy: Energy
    weights: Sequence[Tensor]
    clip: Clip

    @abstractmethod
    def slope(self, point: Tensor, step: int) -> Tensor:
        """Return dE/dx at the point of a step, as a constant. Called for each step in turn."""

    @abstractmethod
    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        """Return the gradients of clip(dE/dx) . of_clipped in x and in each weight, at the step's point."""

    def through_clip(self, slope: Tensor, of_clipped: Tensor) -> Tensor:
        """Return the gradient in the slope, from `of_clipped`, the gradient in the clipped slope."""
        with torch.enable_grad():
            leaf = slope.detach().requires_grad_()
            return torch.autograd.grad(self.clip(leaf), leaf, of_clipped)[0]


@dataclass
class Exact(SecondDerivatives):
    """Exact products, from the graph of every slope, which is kept until the descent's own graph is freed."""

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
        if not slope.requires_grad:  # it depends neither on x nor on the weights
            return [torch.zeros_like(each) for each in of]
        direction = self.through_clip(slope, of_clipped)
        return torch.autograd.grad(
            slope, of, direction, retain_graph=True, allow_unused=True, materialize_grads=True
        )


@dataclass
class Differences(SecondDerivatives):
    """Finite differences of the slopes at x_k and at x_k + epsilon u (Kim et al. 2018, algorithm 1)."""

    epsilon: float
    computed: list[tuple[Tensor, tuple[Tensor, ...]]] = field(default_factory=list, init=False)

    def slope(self, point: Tensor, step: int) -> Tensor:
        gradients = slopes(self.energy, point, step, self.weights)
        self.computed.append((point, gradients))
        return gradients[0]

    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        _, here = self.computed[step]
        return self.quotients(here, self.beside(step, self.through_clip(here[0], of_clipped)))

    def beside(self, step: int, direction: Tensor) -> Sequence[Tensor]:
        """Return the gradients in the point and in the weights at x_k + epsilon u."""
        point, _ = self.computed[step]
        return slopes(self.energy, point + self.epsilon * direction, step, self.weights)

    def quotients(self, here: Sequence[Tensor], beside: Sequence[Tensor]) -> Sequence[Tensor]:
        return [(b - a) / self.epsilon for a, b in zip(here, beside, strict=True)]


@dataclass
class Published(Differences):
    """Finite differences as in the authors' code (github.com/harvardnlp/sa-vae, optim_n2n.py).

    The code clips the slope at x_k, as the descent does, but does not differentiate this clip. At
    x_k + epsilon u it clips the gradients in x and in the weights together, to the norm `longest`. Where
    these are longer, the difference that is divided by epsilon is a part of the gradient itself, and the
    result, clipped again, points along it: the start learns from the slope of the energy at the start, and
    the weights learn from their gradients at every step. That is not a meta-gradient.
    """

    longest: float

    def products(self, step: int, of_clipped: Tensor) -> Sequence[Tensor]:
        _, (slope, *of_weights) = self.computed[step]
        beside = shortened_together(self.beside(step, of_clipped), self.longest)
        return self.quotients([self.clip(slope), *of_weights], beside)


def slopes(energy: Energy, point: Tensor, step: int, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the energy's gradients in the point and in each of the weights, as constants."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(
            energy(leaf, step), (leaf, *weights), allow_unused=True, materialize_grads=True
        )


def shortened(slope: Tensor, longest: float, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Return `slope`, scaled down where its norm over `dim` exceeds `longest`."""
    norm = torch.linalg.vector_norm(slope, dim=dim, keepdim=True)
    return slope * (longest / (norm + 1e-6)).clamp(max=1)


def shortened_together(parts: Sequence[Tensor], longest: float) -> Sequence[Tensor]:
    """Return all of `parts`, scaled down by one factor if their joint norm exceeds `longest`."""
    if not parts:
        return parts
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return [part * factor for part in parts]
