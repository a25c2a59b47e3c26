"""How much of what the code knows each layer of the decoder still knows (Rudolph, Fadel, Mair & Brefeld)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, NotApplicableError, mean_and_error
from vaebench.evaluation.information.decoder_layers import (
    decoder_layers,
    exact_kl,
    is_chain,
    layer_outputs,
    with_new_decoder,
)
from vaebench.evaluation.information.density_ratio import Fitting, Pair, codes, fit
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.plots import ACCENT, INK, new_figure
from vaebench.model import Model
from vaebench.ranges import AtLeastTwo, Count, Positive
from vaebench.seeding import derive_seed

KINDS = ("kl", "marginal_kl", "mi_direct")
"""What one classifier each estimates, of every layer."""

READ_BATCH = 1000


class Propagation:
    """E KL(q_k(z_k|x) || p_k), KL(q_k(z_k) || p_k) and their difference I(x; z_k) at every decoder layer k.

    z_0 is the code, z_k the k-th layer's output before its activation, under z_0 ~ q(z|x) and z_0 ~ p(z)
    (section 2). Classifiers tell (x, z_k) under the posterior from (x, z_k) under the prior, and z_k alone;
    a third kind tells (x, z_k) from pairs with another datum's x, `mi_direct`, whose error is not a
    difference's. They train on the training split with fresh codes at every step and are read on test data.
    `random` has the trained encoder and a decoder drawn anew. Runs differ in the seeds of the classifiers
    and of that decoder; standard errors are over runs, or over data where there is one run. The paper's runs
    train the VAE anew as well: sweep `seed` for that.

    Classifiers fall short of a large KL. `propagation_error` is their largest error where there is a closed
    form: at the code, and at the first layer if it is affine (if it is invertible, nothing is lost there).
    Exact numbers never rise from layer to layer, unless skips go around layers; `propagation_rise` is the
    largest rise of the estimates, an error too, and `propagation_gap` the largest distance between the two
    estimates of I(x; z_k).
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        decoder: Literal["both", "trained"],
        num_runs: Count,
        num_steps: Count,
        batch_size: AtLeastTwo,
        width: Count,
        lr: Positive,
        num_draws: Count,
    ) -> None:
        self.decoders = ["trained", "random"] if decoder == "both" else ["trained"]
        self.num_runs = num_runs
        self.fitting = Fitting(width, lr, batch_size, num_steps)
        self.num_draws = num_draws

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, test_data=2)
        decoder_layers(context.model)
        seeds = [derive_seed(context.seed, "propagation", "decoder", run) for run in range(self.num_runs)]
        models = [
            [context.model, *(with_new_decoder(context.model, seed) for _ in self.decoders[1:])]
            for seed in seeds
        ]
        estimates, errors = self._estimate(models, context)
        numbers = {name: estimates[..., kind] for kind, name in enumerate(KINDS)}
        numbers["mi"] = numbers["kl"] - numbers["marginal_kl"]
        codes_of_prior = context.prior.rsample(16)
        names = ["code", *layer_outputs(context.model, codes_of_prior)]
        exact = exact_by_layer(models, len(names), context)
        bounds = bounds_of_code(context)
        context.save_arrays(
            "propagation",
            decoders=np.array(self.decoders),
            layers=np.array(names),
            kl_exact=exact.numpy(),
            mi_code_bounds=np.array(bounds),
            **{name: values.numpy() for name, values in numbers.items()},
            **{f"{name}_data_error": errors[..., kind].numpy() for kind, name in enumerate(KINDS)},
        )
        save_figure(context, self.decoders, numbers, exact, bounds)
        chain, n = is_chain(context.model, codes_of_prior), len(context.encoded("test"))
        yield from self._measurements(numbers, errors, exact, chain, n)

    def _estimate(self, models: Sequence[Sequence[Model]], context: Context) -> tuple[Tensor, Tensor]:
        """Estimates and their standard errors over data, `[R, decoders, L + 1, kinds]`, float64."""
        seed = derive_seed(context.seed, "propagation")
        generator = torch.Generator(context.device).manual_seed(seed)
        train, test = codes(context, generator)

        def problems(x: Tensor, z: Tensor, decoders: Sequence[Model]) -> list[Pair]:
            return layer_pairs(x, z, context.prior.rsample(len(z), generator), decoders)

        def draw(num: int) -> list[Pair]:  # each run has draws of its own
            return [pair for decoders in models for pair in problems(*train.draw(num), decoders)]

        steps = context.track(range(self.fitting.num_steps), "propagation")
        ratios = fit(draw, self.fitting, generator, steps)
        parts = []
        for index in torch.arange(len(test.x), device=context.device).split(READ_BATCH):
            part: Any = 0.0
            for _ in range(times := test.repeats(self.num_draws)):
                pairs = [pair for decoders in models for pair in problems(*test.at(index), decoders)]
                part = part + ratios([above for above, _ in pairs]).cpu().double() / times
            parts.append(part)
        per_datum = torch.cat(parts, 1)
        errors = per_datum.std(1) / per_datum.shape[1] ** 0.5
        return self._by_layer(per_datum.mean(1)), self._by_layer(errors)

    def _by_layer(self, values: Tensor) -> Tensor:
        """`[R, decoders, L + 1, kinds]` of values in the order of the problems; decoders share the code's."""
        code, layers = values.view(self.num_runs, -1, len(KINDS)).tensor_split([1], 1)
        layers = layers.unflatten(1, (len(self.decoders), -1))
        return torch.cat([code.unsqueeze(1).expand(-1, len(self.decoders), -1, -1), layers], 2)

    def _measurements(
        self, numbers: dict[str, Tensor], errors: Tensor, exact: Tensor, chain: bool, n: int
    ) -> Iterator[Measurement]:
        def measurement(name: str, per_run: Tensor, better: bool | None, data_error: Tensor) -> Measurement:
            mean, error = mean_and_error(per_run)
            return Measurement(
                name, mean, "nats", better, n, error if len(per_run) > 1 else float(data_error)
            )

        kl_error = errors[..., 0]
        mi_error = errors[..., :2].square().sum(-1).sqrt()
        for name, error, better in (("kl", kl_error, None), ("mi", mi_error, True)):
            values = numbers[name]
            yield measurement(f"propagation_{name}_code", values[:, 0, 0], better, error[0, 0, 0])
            for i, decoder in enumerate(self.decoders):
                yield measurement(
                    f"propagation_{name}_output_{decoder}", values[:, i, -1], better, error[0, i, -1]
                )
        if not exact.isnan().all():
            yield Measurement("propagation_kl_code_exact", float(exact[0, 0, 0]), "nats", None, n)
            worst = (numbers["kl"] - exact).mean(0)[~exact.isnan().any(0)].abs().max()
            yield Measurement("propagation_error", float(worst), "nats", False, n)
        gap = (numbers["mi"] - numbers["mi_direct"]).mean(0).abs().max()
        yield Measurement("propagation_gap", float(gap), "nats", False, n)
        if chain:
            rises = [largest_rise(numbers[name].mean(0)) for name in ("kl", "mi")]
            yield Measurement("propagation_rise", max(rises), "nats", False, n)


def layer_pairs(x: Tensor, z: Tensor, of_prior: Tensor, decoders: Sequence[Model]) -> list[Pair]:
    """The problems of one run: every kind at the code, then at every layer of every decoder.

    `z [N, D]` are codes of `x [N, F]`, `of_prior [N, D]` draws from the prior.
    """
    both = torch.cat([z, of_prior])
    pairs = []
    for outputs in [both, *(output for model in decoders for output in layer_outputs(model, both).values())]:
        own, other = outputs.chunk(2)
        joint = torch.cat([x, own], 1)
        pairs += [
            (joint, torch.cat([x, other], 1)),
            (own, other),
            (joint, torch.cat([x.roll(1, 0), own], 1)),
        ]
    return pairs


def largest_rise(values: Tensor) -> float:
    """The most that `values [..., L + 1]` rise from any layer to a later one; 0 where they never do."""
    return float((values - values.cummin(-1).values).max())


def exact_by_layer(models: Sequence[Sequence[Model]], num_layers: int, context: Context) -> Tensor:
    """The closed forms of E KL(q_k(z_k|x) || p_k) `[R, decoders, L + 1]`, NaN where there is none."""
    q, z = context.encoded("test"), context.prior.rsample(2)
    values = torch.full((len(models), len(models[0]), num_layers), math.nan, dtype=torch.float64)
    for run, decoders in enumerate(models):
        for i, model in enumerate(decoders):
            for layer, per_datum in enumerate(exact_kl(model, q, context.prior, z)):
                values[run, i, layer] = per_datum.mean()
    return values


def bounds_of_code(context: Context) -> tuple[float, float]:
    """The bounds of I(x; z_0) from the posterior's density, NaN where it has no closed form."""
    try:
        found = {m.name: m.value for m in MutualInformation(num_data=None).run(context)}
    except NotApplicableError:
        return math.nan, math.nan
    return found["mi_lower"], found["mi_upper"]


def save_figure(
    context: Context,
    decoders: Sequence[str],
    numbers: dict[str, Tensor],
    exact: Tensor,
    bounds: Sequence[float],
) -> None:
    """The paper's figure 1: a panel per quantity, trained and random, mean and standard error over runs."""
    figure, axes = new_figure(10, 3, columns=3)
    titles = {
        "kl": r"$E_x\, KL(q_k(z_k|x)\, ||\, p_k)$",
        "marginal_kl": r"$KL(q_k(z_k)\, ||\, p_k)$",
        "mi": r"$I(x, z_k)$",
    }
    layers = np.arange(exact.shape[-1])
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for i, (decoder, colour) in enumerate(zip(decoders, (INK, ACCENT), strict=False)):
            values = numbers[name][:, i]
            error = values.std(0) / len(values) ** 0.5 if len(values) > 1 else None
            axis.errorbar(layers, values.mean(0), error, color=colour, label=decoder, marker=".", capsize=3)
            if name == "kl":
                axis.plot(
                    layers,
                    exact[:, i].mean(0),
                    "x+"[i],
                    color=colour,
                    markersize=9,
                    label=f"{decoder}, exact",
                )
        if name == "mi":
            axis.vlines(0, *bounds, color="grey", linewidth=4, alpha=0.5, label="bounds")
        axis.set(xlabel="layer k", ylabel="nats", xticks=layers, title=title)
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axes[0].legend(frameon=False, fontsize=8)
    axes[2].legend(frameon=False, fontsize=8)
    context.save_figure("propagation", figure)
