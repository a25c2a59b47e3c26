"""Reconstruction error, KL and sharpness of a sequential model by step, and its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import kl_divergence
from vaebench.evaluation.base import Context, Measurement, NotApplicableError, mean_and_error
from vaebench.evaluation.plots import ACCENT, INK, new_figure, require_images, save_images
from vaebench.ranges import AtLeastTwo, Count


class StepByStep:
    """Contribution of each step of a sequential model (Zhao et al. 2017, arXiv 1702.08658, figure 4).

    For t = 1, ..., T, with x_t the image after step t:

    - `mse_t`: the mean over pixels and channels of (x_t - x)^2, for `num_data` test examples and one sample
      of z from q(z|x) each. It depends on the scale: 4 times as large for x in [-1, 1] as for x in [0, 1];
    - `kl_t`: KL(q_t(z_t|x) || p(z_t)) of all test examples, in closed form;
    - `sharpness_t`: the gradient energy of x_t for `num_samples` samples of z from the prior. Noise has
      gradients too, so better means closer to `sharpness_data`, that of the same test examples, not larger.

    Standard errors are over examples or over samples. Arrays: `steps.npz` with all numbers. The figures have
    `num_shown` rows: samples, from the input noise (which the first step does not use) to the last step, and
    test examples followed by their reconstruction after each step.
    """

    version: ClassVar = 1

    def __init__(self, *, num_data: AtLeastTwo | None, num_samples: AtLeastTwo, num_shown: Count) -> None:
        self.num_data = num_data
        self.num_samples = num_samples
        self.num_shown = num_shown

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        model = context.model
        if model.num_steps == 0:
            raise NotApplicableError("the model is not sequential; needs model=sequential_vae")
        require_images(context)
        chosen = context.subset(self.num_data, "random").to(context.device)
        x, q = context.test_data[chosen], context.encoded("test")
        z, prior_z = q[chosen].rsample(1)[0], context.prior.rsample(self.num_samples)
        kl = kl_divergence(q, context.prior)
        if kl is None:
            raise NotApplicableError(
                "the KL of a step has no closed form; needs a Gaussian posterior and prior"
            )

        def squared_error(columns: Tensor, rows: slice) -> Tensor:
            return (columns - x[rows]).square().flatten(2).mean(2)

        def sharpness(columns: Tensor, rows: slice) -> Tensor:
            return gradient_energy(columns)

        by_name = {
            "mse": by_step(context, z, squared_error),
            "kl": kl.double().unflatten(1, (model.num_steps, -1)).sum(2).T,
            "sharpness": by_step(context, prior_z, sharpness),
        }
        units = {"mse": "squared x", "kl": "nats", "sharpness": "squared x"}
        arrays = {}
        for name, values in by_name.items():
            rows = [mean_and_error(row) for row in values]
            arrays[name], arrays[f"{name}_error"] = np.array(rows, dtype=float).T
            for step, (mean, error) in enumerate(rows, start=1):
                better = False if name == "mse" else None
                yield Measurement(f"{name}_{step}", mean, units[name], better, values.shape[1], error)
        mean, error = mean_and_error(gradient_energy(x))
        yield Measurement("sharpness_data", mean, "squared x", None, len(x), error)
        context.save_arrays("steps", **arrays, sharpness_data=np.array([mean, error], dtype=float))
        context.save_figure("steps", draw(arrays, mean))
        shown = slice(self.num_shown)
        samples, reconstructions = model.images_by_step(prior_z[shown]), model.images_by_step(z[shown])
        show(context, "steps_samples", torch.rand_like(samples[0]), samples, "noise")
        show(context, "steps_reconstructions", x[shown], reconstructions, "test image")


def by_step(context: Context, z: Tensor, measure: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Return `measure` for the images at codes `z [N, D]`, `[T, N]`, float64; `measure` gets images `[T,
    rows, *shape]`."""
    size = max(1, context.rows_per_chunk() // context.model.num_steps)
    parts = []
    for start in context.track(range(0, len(z), size), "steps"):
        rows = slice(start, start + size)
        parts.append(measure(context.model.images_by_step(z[rows]), rows).double())
    return torch.cat(parts, 1)


def gradient_energy(x: Tensor) -> Tensor:
    """Return the mean squared difference of neighbours, vertical plus horizontal, `[..., C, H, W]` to
    `[...]`."""
    return sum(x.diff(dim=axis).square().flatten(-3).mean(-1) for axis in (-2, -1))  # type: ignore[return-value]


def show(context: Context, name: str, first: Tensor, columns: Tensor, what: str) -> None:
    """Save a figure with a row per example: `first [N, ...]`, then the steps of `columns [T, N, ...]`."""
    table = torch.cat([first.unsqueeze(0), columns]).transpose(0, 1)
    title = f"one row per example: {what}, then steps 1 to {len(columns)}"
    save_images(context, name, table.flatten(0, 1), table.shape[1], title)


def draw(arrays: dict[str, np.ndarray], sharpness_data: float) -> Any:
    """Return the figure: the three measures by step with two standard errors, and the sharpness of the test
    examples."""
    figure, axes = new_figure(10, 2.8, columns=3)
    axes[2].axhline(sharpness_data, color=ACCENT, linestyle=":", label="test data")
    labels = {"mse": "squared error per pixel", "kl": "KL (nats)", "sharpness": "gradient energy of samples"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        steps = np.arange(1, len(arrays[name]) + 1)
        axis.errorbar(steps, arrays[name], 2 * arrays[f"{name}_error"], color=INK, marker=".")
        axis.set(xlabel="step", ylabel=label, xticks=steps)
        axis.set_ylim(bottom=0)  # last, since it also fixes the upper limit
    axes[2].legend(frameon=False)
    return figure
