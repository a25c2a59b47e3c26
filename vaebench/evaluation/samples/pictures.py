"""Figures of a run, saved as `figures/<name>.png`: evaluators without measurements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.plots import ACCENT, INK, new_figure, require_images, save_images, scatter, tsne
from vaebench.ranges import Count, Positive


class TrainingCurves:
    """ELBO (or the objective of a model without a likelihood), KL and active units by epoch."""

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        if not context.history:
            raise NotApplicableError("metrics.jsonl has no epoch; train for at least one")
        epochs = [line["epoch"] for line in context.history]
        figure, axes = new_figure(10, 2.8, columns=3)
        labels = "ELBO (nats)" if context.model.has_density else "objective", "KL (nats)", "active units"
        for axis, name, label in zip(axes, ("elbo", "kl", "active_units"), labels, strict=True):
            for split, colour in (("train", ACCENT), ("valid", INK)):
                if all(name in line[split] for line in context.history):
                    values = [line[split][name] for line in context.history]
                    axis.plot(
                        epochs, values, color=colour, label=split, marker="." if len(epochs) < 3 else ""
                    )
            axis.set(xlabel="epoch", ylabel=label)
        elbos = np.array([line["valid"]["elbo"] for line in context.history])
        low = np.quantile(elbos, 0.1)
        if elbos.max() > low:  # the first epochs would compress all that follow
            axes[0].set_ylim(low - 0.1 * (elbos.max() - low), elbos.max() + 0.3 * (elbos.max() - low))
        axes[0].legend(frameon=False)
        context.save_figure("curves", figure)
        yield from ()


class Reconstructions:
    """Test images, and below them the images decoded from their posterior means.

    They are means of p(x|z), or samples if the decoder is autoregressive.
    """

    version: ClassVar = 1

    def __init__(self, *, num: Count) -> None:
        self.num = num

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        require_images(context)
        context.require(latent=True)
        x = context.test_data[: self.num]
        pairs = torch.cat([x, context.model.reconstruct(x)])
        save_images(context, "reconstructions", pairs, len(x), "test images, and their reconstructions below")
        yield from ()


class PriorSamples:
    """Images decoded from samples of the prior.

    They are means of p(x|z), or samples if the decoder is autoregressive.
    """

    version: ClassVar = 1

    def __init__(self, *, num: Count) -> None:
        self.num = num

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        require_images(context)
        columns = max(1, round(self.num**0.5))
        save_images(context, "samples", context.model.sample(self.num), columns, "samples from the prior")
        yield from ()


class LatentTraversal:
    """Images along one latent unit at a time, from -reach to reach, at a test image's code; most active unit
    first."""

    version: ClassVar = 1

    def __init__(self, *, num_units: Count, num_steps: Count, reach: Positive) -> None:
        self.num_units = num_units
        self.num_steps = num_steps
        self.reach = reach

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        require_images(context)
        context.require(latent=True, test_data=2)
        mean = context.encoded("test").mean
        units = mean.var(0).argsort(descending=True)[: self.num_units]
        positions = torch.linspace(-self.reach, self.reach, self.num_steps, device=mean.device)
        codes = mean[:1].repeat(len(units) * self.num_steps, 1)
        rows = torch.arange(len(codes), device=mean.device)
        codes[rows, units.repeat_interleave(self.num_steps)] = positions.repeat(len(units))
        images = context.model.decode_image(codes)
        title = f"one row per latent unit, most active first; from {-self.reach:g} to {self.reach:g}"
        save_images(context, "traversal", images, self.num_steps, title)
        yield from ()


class LatentSpectrum:
    """Variance of each unit's posterior mean, in decreasing order, with the thresholds of active units."""

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, test_data=2)
        variance = context.encoded("test").mean.cpu().double().var(0).sort(descending=True).values.numpy()
        figure, axis = new_figure(5, 3)
        axis.semilogy(np.arange(1, len(variance) + 1), variance.clip(1e-8), ".-", color=INK)
        for threshold in (0.01, 0.02):
            axis.axhline(threshold, color=ACCENT, linewidth=0.8, linestyle="--")
        axis.set(xlabel="latent unit, sorted", ylabel="variance of the posterior mean")
        context.save_figure("spectrum", figure)
        yield from ()


class LatentTSNE:
    """t-SNE of posterior means of test examples (PCA initialisation, fixed seed), coloured by label."""

    version: ClassVar = 1

    def __init__(self, *, num_data: Count, perplexity: Positive) -> None:
        self.num_data = num_data
        self.perplexity = perplexity

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        points = tsne(context.encoded("test").mean[: self.num_data], self.perplexity)
        figure, axis = new_figure(5.5, 5)
        scatter(axis, points, context.splits.test.y)
        context.save_figure("tsne", figure)
        context.save_arrays("tsne", points=points)
        yield from ()
