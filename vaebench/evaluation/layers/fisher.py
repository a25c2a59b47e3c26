"""Fisher information of each layer's weights (SCVAE, arXiv 1802.06677, figures 2, 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vaebench.distributions import Gaussian
from vaebench.evaluation.base import Context, Measurement, NotApplicableError, mean_and_error
from vaebench.evaluation.layers.fisher_estimates import energies, factored_traces, squares, surrogates
from vaebench.evaluation.layers.per_example_gradients import Recording, num_parameters, recorded
from vaebench.evaluation.posterior_score import log_density_of_draw
from vaebench.ranges import AtLeastTwo, Count

BATCH = 100

Kind = Literal["true_fisher", "empirical_fisher", "kfac", "authors_surrogate"]
"""Gradients at x sampled from the model; at the data; K-FAC; or the quantity of the authors' code."""

SIDES = ("encoder", "decoder")

Layers = Mapping[str, nn.Module]
"""Layers by name, in order; a name begins with the side, `encoder.` or `decoder.`."""


class LayerFisher:
    """tr F_l = E ||grad log density||^2 over the weights and biases of each named layer, on test examples.

    - `true_fisher` (Desjardins et al. 2015, as cited by SCVAE). Encoder: of q(z|x), with z ~ q(z|x) held
      fixed. Decoder: of p(x|z), with z ~ q(z|x) and x^ ~ p(x|z), which is slow for autoregressive decoders.
    - `empirical_fisher`: of each example's ELBO at beta = 1. For the decoder that is log p(x|z) at the data.
    - `kfac`: the true one, assuming that a layer's inputs h and output gradients delta are independent:
      E||delta||^2 E||h||^2, or over P positions E[sum_p ||delta_p||^2] / P E[sum_p ||h_p||^2] (Grosse &
      Martens 2016, arXiv 1602.01407).
    - `authors_surrogate`: sum_ij |(A A^T)_ij|, A = G W^T, where G is the gradient of the mean loss, -ELBO, on
      one minibatch of `num_data`. It is not a Fisher information: G vanishes where training ends.

    `num_samples` samples of z (and of x^) per example. Means are over hidden layers. The decoder's last layer
    is a head, like those of the posterior, and counts only if it is the decoder's only layer. Means of the
    surrogate also leave out the first layer of each side, as the authors do. `per_parameter` divides by the
    number of free weights of the layer. `arrays/layers_<kind>.npz` contains the values of every layer.
    Standard errors are over examples.
    """

    version: ClassVar = 1

    def __init__(self, *, kind: Kind, num_data: AtLeastTwo | None, num_samples: Count) -> None:
        self.kind = kind
        self.num_data = num_data
        self.num_samples = num_samples

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, density=self.kind in ("empirical_fisher", "authors_surrogate"))
        layers = dict(context.model.named_layers())
        if not context.model.has_density:
            layers = side_of(layers, "encoder")
        if not layers:
            raise NotApplicableError("the model has no layers with weights in `named_layers`")
        chosen = context.subset(self.num_data, "random").to(context.device)
        recurrent = any(isinstance(module, nn.RNNBase) for module in context.model.modules())
        # cuDNN's recurrent layers have no backward pass in eval mode.
        with torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext():
            measure = self._surrogates if self.kind == "authors_surrogate" else self._traces
            measurements = measure(context, layers, chosen)
        yield from measurements

    def _traces(self, context: Context, layers: Layers, chosen: Tensor) -> list[Measurement]:
        batches: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
        for start in context.track(range(0, len(chosen), BATCH), f"layers, {self.kind}"):
            draws: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
            for _ in range(self.num_samples):
                for recording, log_density in self._passes(context, layers, chosen[start : start + BATCH]):
                    last = recording.last  # of the decoder, whose pass is the second
                    for signals in recording.signals(log_density):
                        statistics = energies(signals) if self.kind == "kfac" else squares(signals)
                        draws[signals.name].append(statistics)
            for name, by_draw in draws.items():
                batches[name].append([sum(part) / len(part) for part in zip(*by_draw, strict=True)])
        values = torch.zeros(len(layers), len(chosen), dtype=torch.float64)
        for row, (name, layer) in zip(values, layers.items(), strict=True):
            statistics = [torch.cat(part) for part in zip(*batches[name], strict=True)]
            row.copy_(factored_traces(statistics, layer) if self.kind == "kfac" else statistics[0])
        counted = hidden(layers, last)
        weights = torch.tensor([num_parameters(layer) for layer in layers.values()])
        errors = torch.full((len(values),), torch.nan, dtype=torch.float64)
        if len(chosen) > 1:
            errors = values.std(1) / len(chosen) ** 0.5
        self._save(
            context, layers, counted, traces=values.mean(1), standard_errors=errors, num_weights=weights
        )
        row_of = {name: row for row, name in enumerate(layers)}
        measurements = []
        for side, names in by_side(layers, counted).items():
            for name, numbers in ("per_parameter", values / weights.unsqueeze(1)), ("trace", values):
                mean, error = mean_and_error(numbers[[row_of[layer] for layer in names]].mean(0))
                label = f"fisher_{side}_{name}"
                measurements.append(Measurement(label, mean, "nats^2", None, len(chosen), error))
        return measurements

    def _passes(self, context: Context, layers: Layers, part: Tensor) -> Iterator[tuple[Recording, Tensor]]:
        """Yield, for each side, the recorded calls of its layers and the log density `[B]`."""
        model, x = context.model, context.test_data[part]
        encoder, decoder = side_of(layers, "encoder"), side_of(layers, "decoder")
        if self.kind == "empirical_fisher":
            with recorded(encoder, len(x)) as encoding:
                q = model.encode(x)
            with recorded(decoder, len(x)) as decoding:
                terms = model.terms(x, 1, q=q, p=context.prior)
                elbo = terms.log_px_z[0] - terms.kl_per_datum
            yield encoding, elbo
            yield decoding, elbo
            return
        q = context.encoded("test")[part]
        with torch.no_grad():
            z = q.rsample(1)[0]
        if encoder:
            with recorded(encoder, len(x)) as encoding:
                log_q = log_density_of_draw(model.encode(x), z)
            yield encoding, log_q
        if decoder:
            with torch.no_grad():
                drawn = model.sample_x(z)
            point = Gaussian(z, torch.full_like(z, -torch.inf))
            with recorded(decoder, len(x)) as decoding:
                log_px_z = model.terms(drawn, 1, q=point, p=context.prior).log_px_z[0]
            yield decoding, log_px_z

    def _surrogates(self, context: Context, layers: Layers, chosen: Tensor) -> list[Measurement]:
        num = len(chosen)
        x = context.test_data[chosen]
        q = context.model.encode(x)
        with recorded(side_of(layers, "decoder"), num * self.num_samples) as decoding:
            terms = context.model.terms(x, self.num_samples, q=q)
            loss = (terms.kl_per_datum - terms.log_px_z.mean(0)).mean()
        values = surrogates(loss, layers)
        firsts = {
            name for name in layers for side in SIDES if name == next(iter(side_of(layers, side)), None)
        }
        counted = hidden(layers, decoding.last) - firsts
        if not counted:
            raise NotApplicableError("no side has a second hidden layer, and the authors leave out the first")
        self._save(context, values, counted, surrogates=torch.tensor([*values.values()]))
        return [
            Measurement(
                f"surrogate_{side}", float(np.mean([values[name] for name in names])), "nats^2", None, num
            )
            for side, names in by_side(values, counted).items()
        ]

    def _save(
        self, context: Context, layers: Mapping[str, Any], counted: set[str], **numbers: Tensor
    ) -> None:
        """Save numbers of each layer, with its name and whether it counts in the means."""
        context.save_arrays(
            f"layers_{self.kind}",
            layers=np.array([*layers]),
            counted=np.array([name in counted for name in layers]),
            **{name: values.numpy() for name, values in numbers.items()},
        )


def side_of(layers: Layers, side: str) -> dict[str, nn.Module]:
    """Return the layers of the encoder or of the decoder."""
    return {name: layer for name, layer in layers.items() if name.startswith(f"{side}.")}


def hidden(layers: Layers, last: str) -> set[str]:
    """Return the names that count in the means: all but the decoder's head, which is called last."""
    decoder = side_of(layers, "decoder")
    return set(layers) - ({last} if last in decoder and len(decoder) > 1 else set())


def by_side(layers: Iterable[str], counted: set[str]) -> dict[str, list[str]]:
    """Return the names that count in the means, for encoder, decoder and both; a side without any is left
    out."""
    names = [name for name in layers if name in counted]
    sides = {side: [name for name in names if name.startswith(f"{side}.")] for side in SIDES}
    return {side: counting for side, counting in (sides | {"all": names}).items() if counting}
