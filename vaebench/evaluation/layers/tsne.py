"""t-SNE of the representations in each layer of the encoder (SCVAE, arXiv 1802.06677, figure 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vaebench.evaluation.base import ENCODE_BATCH, Context, Measurement, NotApplicableError
from vaebench.evaluation.plots import new_figure, scatter, tsne
from vaebench.model import Model
from vaebench.ranges import Count, Positive


class LayerTSNE:
    """t-SNE of test examples, of the encoder's first, middle and last hidden layer, and of posterior means.

    A layer's representation is the input of the next layer: after the activation and any skip.
    """

    version: ClassVar = 1

    def __init__(self, *, num_data: Count, perplexity: Positive) -> None:
        self.num_data = num_data
        self.perplexity = perplexity

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        if context.spec.vocabulary is not None:
            raise NotApplicableError(
                "a sentence has one representation per word; needs data with one per example"
            )
        data, *hidden = representations(context.model, context.test_data[: self.num_data])
        if not hidden:
            raise NotApplicableError("the model has no encoder with hidden layers, or more than one encoder")
        last, shown = len(hidden), {"data": data}
        for number in dict.fromkeys((1, (last + 1) // 2, last)):
            shown[f"layer {number} of {last}"] = hidden[number - 1]
        shown["code"] = context.encoded("test").mean[: self.num_data]
        points = {title: tsne(values, self.perplexity) for title, values in shown.items()}
        figure, axes = new_figure(2.6 * len(points), 2.8, columns=len(points))
        for axis, (title, embedded) in zip(axes, points.items(), strict=True):
            scatter(axis, embedded, context.splits.test.y, legend=False)
            axis.set_title(title, fontsize=9)
        context.save_figure("layer_tsne", figure)
        context.save_arrays("layer_tsne", titles=np.array([*points]), points=np.stack([*points.values()]))
        yield from ()


@torch.no_grad()
def representations(model: Model, x: Tensor) -> list[Tensor]:
    """Return x and the output of every layer of the encoder, `[N, F]` each, in the order of the calls.

    Layers that receive the same tensor count once. A model without an encoder, or with several in parallel,
    has x alone.
    """
    seen: list[Tensor] = []

    def note(tensor: Any) -> None:
        if isinstance(tensor, Tensor) and all(tensor.data_ptr() != other.data_ptr() for other in seen):
            seen.append(tensor)

    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module) or isinstance(encoder, nn.ModuleList):
        return [x.flatten(1)]
    layers = [layer for name, layer in model.named_layers() if name.startswith("encoder.")]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: note(inputs[0])) for layer in layers]
    hooks.append(encoder.register_forward_hook(lambda _, __, output: note(output)))
    batches: list[list[Tensor]] = []
    try:
        for part in x.split(ENCODE_BATCH):
            seen[:] = [part]
            model.encode(part)
            batches.append([tensor.flatten(1) for tensor in seen])
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]
