"""Layers as matrix products W h + b at one or several positions, and norms of their per-example gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Inputs = list[Tensor]
"""Inputs of one call of a layer, detached."""

Signal = list[Tensor | None]
"""Gradients at the outputs of the call; None for an output that was not used."""


@dataclass(frozen=True)
class Product:
    """Matrix product W h_p + b at P positions; the gradient of one example is G = sum_p delta_p h_p^T.

    Positions are pixels, time steps, or the calls of a layer that is used several times.
    """

    h: Tensor
    """Inputs, `[B, P, F]`."""
    delta: Tensor
    """Gradients at the outputs, `[B, P, O]`."""
    num_biases: int
    mask: Tensor | None = None
    """Mask of the free entries of W, `[O, F]`; None if all are free."""

    def squared_norms(self) -> Tensor:
        """Return ||G||^2 plus the squared norm of the bias gradients, `[B]`.

        ||G||^2 = sum_{p,p'} (delta_p . delta_p') (h_p . h_p') is used if it has fewer terms than G. For P = 1
        it is ||delta||^2 ||h||^2.
        """
        positions, into, out = self.h.shape[1], self.h.shape[2], self.delta.shape[2]
        if self.mask is None and 2 * positions**2 <= into * out:
            return ((self.h @ self.h.mT + self.num_biases) * (self.delta @ self.delta.mT)).sum((1, 2))
        gradient = self.delta.mT @ self.h
        if self.mask is not None:
            gradient = gradient * self.mask
        return gradient.square().sum((1, 2)) + self.num_biases * self.delta.sum(1).square().sum(1)


def joined(parts: Sequence[Product]) -> Product:
    """Return one product over the positions of all parts."""
    if len(parts) == 1:
        return parts[0]
    h, delta = torch.cat([part.h for part in parts], 1), torch.cat([part.delta for part in parts], 1)
    return Product(h, delta, parts[0].num_biases, parts[0].mask)


def mask_of(layer: nn.Module) -> Tensor | None:
    """Return the mask of an autoregressive layer's free weights, or None."""
    mask, weight = getattr(layer, "mask", None), getattr(layer, "weight", None)
    if isinstance(mask, Tensor) and isinstance(weight, Tensor) and mask.shape == weight.shape:
        return mask
    return None


def data_axis(layer: nn.Module, position: int) -> int:
    """Return the batch dimension of the tensor at `position` among a layer's inputs or outputs."""
    if isinstance(layer, nn.RNNBase):
        return 0 if layer.batch_first and position == 0 else 1
    return 0


def is_made_of_products(layer: nn.Module, inputs: Inputs, output: Any) -> bool:
    """Return True if `products_of` is right for a call.

    A subclass of Linear or Conv2d is checked numerically, since it may do more than mask its weights.
    """
    if isinstance(layer, nn.LSTM):
        return not layer.bidirectional and layer.proj_size == 0
    if not {name for name, _ in layer.named_parameters()} <= {"weight", "bias"} or len(inputs) != 1:
        return False
    if not isinstance(layer, nn.Linear) and not (isinstance(layer, nn.Conv2d) and _is_plain(layer)):
        return False
    if type(layer) in (nn.Linear, nn.Conv2d):
        return True
    mask, one = mask_of(layer), inputs[0][:1]
    weight = layer.weight if mask is None else layer.weight * mask
    with torch.no_grad():
        again = (
            F.linear(one, weight, layer.bias) if isinstance(layer, nn.Linear) else _conv(layer, one, weight)
        )
    return again.shape == output[:1].shape and torch.allclose(again, output[:1], rtol=1e-3, atol=1e-4)


def products_of(layer: nn.Module, inputs: Inputs, signal: Signal) -> list[Product]:
    """Return the matrix products of one call for which `is_made_of_products` is true."""
    if isinstance(layer, nn.LSTM):
        return _lstm_products(layer, inputs, signal)
    (h,), (delta,) = inputs, signal
    assert delta is not None
    if isinstance(layer, nn.Conv2d):
        # layer.padding is a tuple: is_made_of_products has checked it.
        h = F.unfold(h, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT  # type: ignore[arg-type]
        delta = delta.flatten(2).mT
    else:
        h, delta = (part.reshape(len(part), -1, part.shape[-1]) for part in (h, delta))
    mask = mask_of(layer)
    return [Product(h, delta, int(layer.bias is not None), None if mask is None else mask.flatten(1))]


def numbers_per_datum(layer: nn.Module, inputs: Inputs, signal: Signal) -> int:
    """Return about how many numbers the products of one call and their norms take per example."""
    if isinstance(layer, nn.LSTM):
        steps = inputs[0].shape[1 - data_axis(layer, 0)]
        return 20 * layer.num_layers * steps * layer.hidden_size
    (delta,) = signal
    assert delta is not None
    out, into = layer.weight.flatten(1).shape  # type: ignore[operator,union-attr]
    positions = delta.numel() // len(delta) // out
    return positions * (into + out) + min(2 * positions**2, into * out)


def _is_plain(layer: nn.Conv2d) -> bool:
    """Return True for a convolution without groups, with zero padding given as numbers."""
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _conv(layer: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation)


def _lstm_products(layer: nn.LSTM, inputs: Inputs, signal: Signal) -> list[Product]:
    """Return two products per level, of the input and of the previous state, by recomputing the cell's
    equations.

    The signals are the gradients at the four gates before their nonlinearities. Each of the two biases of a
    gate receives the whole gradient.
    """
    x, *states = inputs
    x = x if layer.batch_first else x.transpose(0, 1)
    num, steps, _ = x.shape
    start_h, start_c = states or [x.new_zeros(layer.num_layers, num, layer.hidden_size)] * 2
    shifts, entering, last_h, last_c = [], [], [], []
    with torch.enable_grad():
        for level in range(layer.num_layers):
            w_x, w_h, *biases = (weight.detach() for weight in layer.all_weights[level])
            shift = x.new_zeros(num, steps, len(w_x)).requires_grad_()
            given = F.linear(x, w_x) + sum(biases) + shift
            h, c = start_h[level], start_c[level]
            before, after = [], []
            for step in range(steps):
                before.append(h)
                i, f, g, o = (given[:, step] + F.linear(h, w_h)).chunk(4, -1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                after.append(h)
            shifts += [shift, shift]
            entering += [x.detach(), torch.stack(before, 1).detach()]
            last_h.append(h)
            last_c.append(c)
            x = torch.stack(after, 1)
        outputs = (x if layer.batch_first else x.transpose(0, 1), torch.stack(last_h), torch.stack(last_c))
        used = [(out, delta) for out, delta in zip(outputs, signal, strict=True) if delta is not None]
        deltas = torch.autograd.grad([out for out, _ in used], shifts, [delta for _, delta in used])
    has_bias = int(layer.bias)
    return [Product(h, delta, has_bias) for h, delta in zip(entering, deltas, strict=True)]
