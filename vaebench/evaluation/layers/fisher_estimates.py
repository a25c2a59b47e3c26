"""From what data do to a layer to a number for the layer: exact, factored, or as the authors have it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaebench.evaluation.layers.matmul_form import mask_of
from vaebench.evaluation.layers.per_example_gradients import LayerSignals

Statistics = list[Tensor]
"""Of some data, `[B, ...]` each; their means over draws are taken, and data are joined."""


def squares(signals: LayerSignals) -> Statistics:
    """||grad log density||^2 of each datum: the trace of the Fisher information is their mean."""
    return [signals.squared_gradients().cpu().double()]


def energies(signals: LayerSignals) -> Statistics:
    """For each matrix product sum_p delta_p^2 / P and sum_p h_p^2, where biases are inputs of 1.

    `[B, 1]`, summed over units; where a mask says which pairs of units meet, `[B, O]` and `[B, F + 1]`.
    Raises NotApplicableError for a layer that is not made of matrix products.
    """
    found: list[Statistics] = []
    for products in signals.products() if signals.calls else ():
        found.append([])
        for product in products:
            positions = product.h.shape[1]
            back, into = product.delta.square().mean(1), product.h.square().sum(1)
            ones = into.new_full((len(into), 1), positions * product.num_biases)
            into = torch.cat([into, ones], 1)
            if product.mask is None:
                back, into = back.sum(1, keepdim=True), into.sum(1, keepdim=True)
            found[-1] += [back.cpu().double(), into.cpu().double()]
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def factored_traces(statistics: Statistics, layer: nn.Module) -> Tensor:
    """Values `[N]` whose mean is sum_{o,i} E[back_o] E[into_i] over the free pairs of units.

    Their spread is that of the product of the two means, by the delta method.
    """
    total = torch.zeros(())
    mask = mask_of(layer)
    for back, into in zip(statistics[::2], statistics[1::2], strict=True):
        free = torch.ones(1, 1, dtype=torch.float64)
        if mask is not None:
            rows = mask.flatten(1).cpu().double()
            free = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        mean_back, mean_into = back.mean(0), into.mean(0)
        value = mean_back @ free @ mean_into
        total = total + back @ (free @ mean_into) + into @ (mean_back @ free) - value
    return total


def surrogates(loss: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, float]:
    """sum_ij |(A A^T)_ij|, A = G W^T, G the gradient of a minibatch's mean `loss`, of each layer with one W.

    Convolutions are matrices of outputs by inputs and kernel; what a mask holds at zero is zero in G and W
    (the code of Zheng et al. 2019, arXiv 1807.03723, first author of SCVAE too).
    """
    found = {name: getattr(layer, "weight", None) for name, layer in layers.items()}
    weights = {name: weight for name, weight in found.items() if isinstance(weight, Tensor)}
    gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    values = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        mask = mask_of(layers[name])
        g, w = (part.detach() if mask is None else part.detach() * mask for part in (gradient, weight))
        a = g.flatten(1) @ w.flatten(1).mT
        values[name] = float((a @ a.mT).abs().sum())
    return values
