"""Mutual information and reconstruction over training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.plots import ACCENT, INK, new_figure

INFORMATION = ("mi_lower", "mi_upper", "mi_cap")


class InformationCurves:
    """Mutual information and -E log p(x|z) per dimension of x, by epoch (Zhao et al. 2017, Figs. 5 and 6).

    Mutual information is on validation examples, with its cap, if `runtime.track_information` recorded it at
    every epoch. Otherwise the figure shows KL(q(z|x) || p(z)) instead, as in Fig. 6. There are no
    measurements. `arrays/information_curves.npz` contains the numbers, with both bounds of the mutual
    information and the KL.
    """

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, density=True)
        if context.spec.vocabulary is not None:
            raise NotApplicableError(
                "sentences differ in their number of dimensions, so there is no value per dimension; use "
                "the perplexity of nll"
            )
        if not context.history:
            raise NotApplicableError("metrics.jsonl has no epoch; train for at least one")
        curves = curves_of(context)
        context.save_arrays("information_curves", **curves)
        context.save_figure("information_curves", draw(curves))
        yield from ()


def curves_of(context: Context) -> dict[str, np.ndarray]:
    """Return arrays `[epochs]`: epoch, KL and mutual information (nats), and reconstruction per dimension."""
    valid = [line["valid"] for line in context.history]
    numbers = math.prod(context.spec.shape)
    curves = {
        "epoch": [line["epoch"] for line in context.history],
        "kl": [line["kl"] for line in valid],
        "valid_nll_per_dim": [-line["reconstruction"] / numbers for line in valid],
    }
    if all("reconstruction" in line["train"] for line in context.history):
        curves["train_nll_per_dim"] = [-line["train"]["reconstruction"] / numbers for line in context.history]
    if all(name in line for name in INFORMATION for line in valid):
        curves |= {name: [line[name] for line in valid] for name in INFORMATION}
    return {name: np.array(values, dtype=float) for name, values in curves.items()}


def draw(curves: dict[str, np.ndarray]) -> Any:
    """Return the figure: mutual information, or the KL, beside reconstruction."""
    figure, (information, reconstruction) = new_figure(7, 2.8, columns=2)
    epoch = curves["epoch"]
    marker = "." if len(epoch) < 3 else ""
    if "mi_lower" in curves:
        cap = float(curves["mi_cap"][-1])
        information.plot(epoch, curves["mi_lower"], color=INK, marker=marker)
        information.axhline(cap, color=ACCENT, linestyle="--", linewidth=0.8, label=f"cap, {cap:.2f}")
        information.legend(frameon=False)
        information.set(
            xlabel="epoch", ylabel="mutual information (nats)", ylim=(min(0, information.get_ylim()[0]), None)
        )
    else:
        information.plot(epoch, curves["kl"], color=INK, marker=marker)
        information.set(xlabel="epoch", ylabel="KL(q(z|x) || p(z)) (nats)")
    for split, colour in (("train", ACCENT), ("valid", INK)):
        if (name := f"{split}_nll_per_dim") in curves:
            reconstruction.plot(epoch, curves[name], color=colour, marker=marker, label=split)
    reconstruction.set(xlabel="epoch", ylabel="-log p(x|z) per dimension (nats)")
    reconstruction.legend(frameon=False)
    return figure
