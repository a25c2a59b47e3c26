"""Information about x after each decoder layer (Rudolph, Fadel, Mair & Brefeld)."""

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
"""Quantities per layer; one classifier estimates each."""

READ_BATCH = 1000


class Propagation:
    """E KL(q_k(z_k|x) || p_k), KL(q_k(z_k) || p_k) and their difference I(x; z_k) at every decoder layer k.

    z_0 is the code and z_k the output of layer k before its activation, under z_0 ~ q(z|x) and z_0 ~ p(z)
    (section 2). One classifier separates (x, z_k) under the posterior from (x, z_k) under the prior. A second
    does the same for z_k alone. A third separates (x, z_k) from pairs with another example's x; its estimate
    `mi_direct` is not a difference of two others. All are trained on the training split with new codes at
    every step and evaluated on the test split.

    `random` has the trained encoder and a re-initialised decoder. Runs differ in the seeds of the classifiers
    and of that decoder. Standard errors are over runs, or over test examples if there is one run. The paper's
    runs also retrain the VAE: sweep `seed` for that.

    Classifiers underestimate a large KL. `propagation_error` is the largest error where there is a closed
    form: at the code, and at an affine first layer (which loses nothing if it is invertible). Exact values
    never rise from layer to layer, unless skips go around layers. `propagation_rise`, the largest rise of the
    estimates, is therefore an error too. `propagation_gap` is the largest distance between the two estimates
    of I(x; z_k).
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
        """Return estimates and their standard errors over examples, `[R, decoders, L + 1, kinds]`, in
        float64."""
        seed = derive_seed(context.seed, "propagation")
        generator = torch.Generator(context.device).manual_seed(seed)
        train, test = codes(context, generator)

        def problems(x: Tensor, z: Tensor, decoders: Sequence[Model]) -> list[Pair]:
            return layer_pairs(x, z, context.prior.rsample(len(z), generator), decoders)

        def draw(num: int) -> list[Pair]:  # each run has its own samples
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
        """Return values as `[R, decoders, L + 1, kinds]`, given in the order of the problems; decoders share
        those of the code."""
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
    """Return the problems of one run: all kinds at the code, then at every layer of every decoder.

    `z [N, D]` are codes of `x [N, F]`; `of_prior [N, D]` are samples from the prior.
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
    """Return the largest rise of `values [..., L + 1]` from a layer to any later one, at least 0."""
    return float((values - values.cummin(-1).values).max())


def exact_by_layer(models: Sequence[Sequence[Model]], num_layers: int, context: Context) -> Tensor:
    """Return E KL(q_k(z_k|x) || p_k) in closed form, `[R, decoders, L + 1]`, NaN without one."""
    q, z = context.encoded("test"), context.prior.rsample(2)
    values = torch.full((len(models), len(models[0]), num_layers), math.nan, dtype=torch.float64)
    for run, decoders in enumerate(models):
        for i, model in enumerate(decoders):
            for layer, per_datum in enumerate(exact_kl(model, q, context.prior, z)):
                values[run, i, layer] = per_datum.mean()
    return values


def bounds_of_code(context: Context) -> tuple[float, float]:
    """Return the bounds of I(x; z_0) from the posterior's density; NaN if it has no closed form."""
    try:
        values = {m.name: m.value for m in MutualInformation(num_data=None).run(context)}
    except NotApplicableError:
        return math.nan, math.nan
    return values["mi_lower"], values["mi_upper"]


def save_figure(
    context: Context,
    decoders: Sequence[str],
    numbers: dict[str, Tensor],
    exact: Tensor,
    bounds: Sequence[float],
) -> None:
    """Save the paper's figure 1: a panel per quantity, both decoders, mean and standard error over runs."""
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
