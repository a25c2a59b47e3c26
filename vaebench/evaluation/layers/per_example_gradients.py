"""Per-example gradients of each layer, from one backward pass of the whole batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.layers.matmul_form import (
    Inputs,
    Product,
    Signal,
    data_axis,
    is_made_of_products,
    joined,
    mask_of,
    numbers_per_datum,
    products_of,
)

CHUNK = 2**22  # numbers in memory at a time: 16 MB in float32


@dataclass(frozen=True)
class Call:
    """One call of a layer."""

    inputs: Inputs
    edges: list[GradientEdge]
    """Graph edges of the outputs as the layer returned them, before any later in-place change."""
    made_of_products: bool


@dataclass(frozen=True)
class LayerSignals:
    """Layer with the inputs and output gradients of each call that affected the density."""

    name: str
    layer: nn.Module
    num_data: int
    calls: list[tuple[Inputs, Signal]]
    made_of_products: bool

    def squared_gradients(self) -> Tensor:
        """Return ||d log density / d parameters||^2 per example, `[B]`.

        The gradient of an example is the sum over calls.
        """
        if not self.calls:
            return torch.zeros(self.num_data)
        if not self.made_of_products:
            return self._one_by_one()
        return torch.cat(
            [torch.stack([p.squared_norms() for p in parts]).sum(0) for parts in self.products()]
        )

    def products(self) -> Iterator[list[Product]]:
        """Yield the layer's matrix products over the positions of all calls, for a chunk of examples at a
        time.

        Raises NotApplicableError if the layer is not known to consist of matrix products.
        """
        if not self.made_of_products:
            raise NotApplicableError(
                f"{self.name}, a {type(self.layer).__name__}, is not of the form W h + b; use "
                "kind=true_fisher"
            )
        size = max(1, CHUNK // sum(numbers_per_datum(self.layer, *call) for call in self.calls))
        for start in range(0, self.num_data, size):
            cuts = (self._cut(call, slice(start, start + size)) for call in self.calls)
            parts = [products_of(self.layer, *cut) for cut in cuts]
            yield [joined(calls) for calls in zip(*parts, strict=True)]

    def _one_by_one(self) -> Tensor:
        """Return the squared gradients for any module with parameters; slow, one pass per example."""
        named = {name: weight for name, weight in self.layer.named_parameters() if weight.requires_grad}
        mask, norms = mask_of(self.layer), []
        for number in range(self.num_data):
            outputs, deltas = [], []
            for inputs, signal in (self._cut(call, slice(number, number + 1)) for call in self.calls):
                with torch.enable_grad():
                    leaving = zip(tensors_in(self.layer(*inputs)), signal, strict=True)
                used = [(output, delta) for output, delta in leaving if delta is not None]
                outputs += [output for output, _ in used]
                deltas += [delta for _, delta in used]
            by_weight = torch.autograd.grad(outputs, list(named.values()), deltas, allow_unused=True)
            gradients = {name: g for name, g in zip(named, by_weight, strict=True) if g is not None}
            if mask is not None and "weight" in gradients:
                gradients["weight"] = gradients["weight"] * mask
            norms.append(torch.stack([g.square().sum() for g in gradients.values()]).sum())
        return torch.stack(norms)

    def _cut(self, call: tuple[Inputs, Signal], rows: slice) -> tuple[Inputs, Signal]:
        """Return a call restricted to the examples `rows`."""

        def part(position: int, tensor: Tensor) -> Tensor:
            return tensor[rows] if data_axis(self.layer, position) == 0 else tensor[:, rows]

        inputs, signal = call
        return (
            [part(position, tensor) for position, tensor in enumerate(inputs)],
            [None if delta is None else part(position, delta) for position, delta in enumerate(signal)],
        )


@dataclass
class Recording:
    """Calls of some layers during one forward pass of `num_data` examples."""

    layers: Mapping[str, nn.Module]
    num_data: int
    calls: dict[str, list[Call]] = field(default_factory=dict)
    last: str = ""
    """Name of the layer that was called last."""

    def note(self, name: str, inputs: tuple[Any, ...], output: Any) -> None:
        """Record a call.

        Raises NotApplicableError if an input or output has no batch dimension of `num_data`.
        """
        if not torch.is_grad_enabled():
            return  # e.g. in the steps of an iterative (SVI) posterior
        layer, entering, leaving = self.layers[name], list(tensors_in(inputs)), list(tensors_in(output))
        for tensors in (entering, leaving):
            for position, tensor in enumerate(tensors):
                axis = data_axis(layer, position)
                if tensor.ndim <= axis or tensor.shape[axis] != self.num_data:
                    raise NotApplicableError(
                        f"{name} has no batch dimension of {self.num_data}: {tuple(tensor.shape)}"
                    )
        entering = [tensor.detach() for tensor in entering]
        edges = [get_gradient_edge(tensor) for tensor in leaving]
        call = Call(entering, edges, is_made_of_products(layer, entering, output))
        self.calls.setdefault(name, []).append(call)
        self.last = name

    def signals(self, log_density: Tensor) -> Iterator[LayerSignals]:
        """Yield the gradients of each example's own `log_density [B]` at every call, layer by layer.

        Raises NotApplicableError if no gradient path leads to the weights.
        """
        if not log_density.requires_grad:
            raise NotApplicableError("no gradient of the log density reaches the weights")
        edges = [edge for calls in self.calls.values() for call in calls for edge in call.edges]
        total = log_density.sum()
        deltas = iter(
            torch.autograd.grad(total, edges, retain_graph=True, allow_unused=True) if edges else ()
        )
        signals: dict[str, list[Signal]] = {
            name: [[next(deltas) for _ in call.edges] for call in calls] for name, calls in self.calls.items()
        }
        for name, layer in self.layers.items():
            pairs = list(zip(self.calls.get(name, []), signals.get(name, []), strict=True))
            used = [(call, signal) for call, signal in pairs if any(delta is not None for delta in signal)]
            made_of_products = all(call.made_of_products for call, _ in used)
            inputs_and_signals = [(call.inputs, signal) for call, signal in used]
            yield LayerSignals(name, layer, self.num_data, inputs_and_signals, made_of_products)


@contextmanager
def recorded(layers: Mapping[str, nn.Module], num_data: int) -> Iterator[Recording]:
    """Record every call of `layers` while the context is open."""
    recording = Recording(layers, num_data)
    handles = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: recording.note(name, inputs, output))
        for name, layer in layers.items()
    ]
    try:
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, in order."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors_in(value)


def num_parameters(layer: nn.Module) -> int:
    """Return the number of free weights; those that a mask holds at zero do not count."""
    total = sum(parameter.numel() for parameter in layer.parameters())
    mask = mask_of(layer)
    return total if mask is None else total - mask.numel() + int(mask.sum())
