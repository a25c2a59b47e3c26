"""The Fisher information of each layer's weights (SCVAE, arXiv 1802.06677, figures 2, 3 and 5)."""

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
"""Under the model's own draws; at the data; of Kronecker factors; or what the authors' code computes."""

SIDES = ("encoder", "decoder")

Layers = Mapping[str, nn.Module]
"""By name, in order; the names begin with their side."""


class LayerFisher:
    """tr F_l = E ||grad log density||^2 over the weights and biases of each named layer, on test data.

    - `true_fisher` (Desjardins et al. 2015, as SCVAE cites it). Encoder: of q(z|x), with z ~ q(z|x) held
      fixed. Decoder: of p(x|z), with z ~ q(z|x) and x^ ~ p(x|z): slow where the decoder sees the data.
    - `empirical_fisher`: of each datum's ELBO at beta 1; for the decoder that is log p(x|z) at the data.
    - `kfac`: the true one, as if what enters a layer and what comes back were independent:
      E||delta||^2 E||h||^2, over P positions E[sum_p ||delta_p||^2] / P E[sum_p ||h_p||^2] (Grosse & Martens
      2016, arXiv 1602.01407).
    - `authors_surrogate`: sum_ij |(A A^T)_ij|, A = G W^T, with G the gradient of the mean loss, -ELBO, on
      one minibatch of `num_data`. It is no Fisher information: G vanishes where training ends.

    `num_samples` draws of z (and of x^) for each datum. Means are over hidden layers: the decoder's last
    layer is a head, as the posterior's are, and counts only where it is alone. The surrogate's leave out each
    side's first layer as well, as the authors' do. `per_parameter` divides by the number of free weights of
    the layer. Every layer is filed in `arrays/layers_<kind>.npz`. Standard errors are over data.
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
            raise NotApplicableError("the model names no layers with weights that this could measure")
        chosen = context.subset(self.num_data, "random").to(context.device)
        recurrent = any(isinstance(module, nn.RNNBase) for module in context.model.modules())
        # In eval mode cuDNN's recurrent layers have no backward pass; ours stay in training mode.
        with torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext():
            measure = self._surrogates if self.kind == "authors_surrogate" else self._traces
            found = measure(context, layers, chosen)
        yield from found

    def _traces(self, context: Context, layers: Layers, chosen: Tensor) -> list[Measurement]:
        batches: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
        for start in context.track(range(0, len(chosen), BATCH), f"layers, {self.kind}"):
            draws: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
            for _ in range(self.num_samples):
                for recording, log_density in self._passes(context, layers, chosen[start : start + BATCH]):
                    last = recording.last  # in the end the decoder's
                    for signals in recording.signals(log_density):
                        statistics = energies(signals) if self.kind == "kfac" else squares(signals)
                        draws[signals.name].append(statistics)
            for name, of_layer in draws.items():
                batches[name].append([sum(same) / len(same) for same in zip(*of_layer, strict=True)])
        values = torch.zeros(len(layers), len(chosen), dtype=torch.float64)
        for row, (name, layer) in zip(values, layers.items(), strict=True):
            statistics = [torch.cat(same) for same in zip(*batches[name], strict=True)]
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
        found = []
        for side, names in by_side(layers, counted).items():
            for name, numbers in ("per_parameter", values / weights.unsqueeze(1)), ("trace", values):
                mean, error = mean_and_error(numbers[[row_of[layer] for layer in names]].mean(0))
                found.append(Measurement(f"fisher_{side}_{name}", mean, "nats^2", None, len(chosen), error))
        return found

    def _passes(self, context: Context, layers: Layers, part: Tensor) -> Iterator[tuple[Recording, Tensor]]:
        """The calls of one side's layers in one pass, and the log density `[B]` that it gives."""
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
        """File numbers of each layer beside its name, and whether it counts in the means."""
        context.save_arrays(
            f"layers_{self.kind}",
            layers=np.array([*layers]),
            counted=np.array([name in counted for name in layers]),
            **{name: values.numpy() for name, values in numbers.items()},
        )


def side_of(layers: Layers, side: str) -> dict[str, nn.Module]:
    return {name: layer for name, layer in layers.items() if name.startswith(f"{side}.")}


def hidden(layers: Layers, last: str) -> set[str]:
    """Those that count in the means: without the decoder's head, which is called last."""
    decoder = side_of(layers, "decoder")
    return set(layers) - ({last} if last in decoder and len(decoder) > 1 else set())


def by_side(layers: Iterable[str], counted: set[str]) -> dict[str, list[str]]:
    """The layers that count of the encoder, of the decoder and of both; sides without any are left out."""
    names = [name for name in layers if name in counted]
    sides = {side: [name for name in names if name.startswith(f"{side}.")] for side in SIDES}
    return {side: found for side, found in (sides | {"all": names}).items() if found}
