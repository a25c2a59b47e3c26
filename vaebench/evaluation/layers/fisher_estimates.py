"""Fisher estimates per layer from per-example gradients: exact, K-FAC, and the authors' surrogate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaebench.evaluation.layers.matmul_form import mask_of
from vaebench.evaluation.layers.per_example_gradients import LayerSignals

Statistics = list[Tensor]
"""Tensors `[B, ...]` for B examples; the caller averages them over samples and concatenates over batches."""


def squares(signals: LayerSignals) -> Statistics:
    """Return ||grad log density||^2 of each example, `[B]`.

    Its mean is the trace of the Fisher information.
    """
    return [signals.squared_gradients().cpu().double()]


def energies(signals: LayerSignals) -> Statistics:
    """Return sum_p delta_p^2 / P and sum_p h_p^2 for each matrix product; biases are inputs of 1.

    `[B, 1]`, summed over units. With a mask, which says which pairs of units are connected, `[B, O]` and `[B,
    F + 1]`. Raises NotApplicableError for a layer that does not consist of matrix products.
    """
    by_chunk: list[Statistics] = []
    for products in signals.products() if signals.calls else ():
        by_chunk.append([])
        for product in products:
            positions = product.h.shape[1]
            back, into = product.delta.square().mean(1), product.h.square().sum(1)
            ones = into.new_full((len(into), 1), positions * product.num_biases)
            into = torch.cat([into, ones], 1)
            if product.mask is None:
                back, into = back.sum(1, keepdim=True), into.sum(1, keepdim=True)
            by_chunk[-1] += [back.cpu().double(), into.cpu().double()]
    return [torch.cat(parts) for parts in zip(*by_chunk, strict=True)]


def factored_traces(statistics: Statistics, layer: nn.Module) -> Tensor:
    """Return values `[N]` with mean sum_{o,i} E[back_o] E[into_i] over the free pairs of units.

    Their spread gives the standard error of that product of means, by the delta method.
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
    """Return sum_ij |(A A^T)_ij|, A = G W^T, for each layer with one weight W.

    G is the gradient of a minibatch's mean `loss`. The weight of a convolution is a matrix of outputs by
    inputs and kernel. Masked weights are zero in G and W (the code of Zheng et al. 2019, arXiv 1807.03723,
    whose first author is SCVAE's too).
    """
    candidates = {name: getattr(layer, "weight", None) for name, layer in layers.items()}
    weights = {name: weight for name, weight in candidates.items() if isinstance(weight, Tensor)}
    gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    values = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        mask = mask_of(layers[name])
        g, w = (part.detach() if mask is None else part.detach() * mask for part in (gradient, weight))
        a = g.flatten(1) @ w.flatten(1).mT
        values[name] = float((a @ a.mT).abs().sum())
    return values
