"""Pictures of a run: each an evaluator without measurements, filed as `figures/<name>.png`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.ranges import Count, Positive

INK = "#1f3a5f"
ACCENT = "#c8553d"


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes if columns > 1 else axes[0]


def image_grid(images: Tensor, columns: int) -> np.ndarray:
    """Images `[N, C, H, W]` in [0, 1] as one picture `[H', W', 3]`, dark ink on white."""
    from torchvision.utils import make_grid

    shown = images.detach().cpu().clamp(0, 1)
    if shown.shape[1] == 1:
        shown = 1 - shown
    return make_grid(shown, nrow=columns, padding=1, pad_value=0.8).permute(1, 2, 0).numpy()


def save_images(context: Context, name: str, images: Tensor, columns: int, title: str) -> None:
    """File a grid of images with a title that says what rows and columns are."""
    rows = -(-len(images) // columns)
    figure, axis = new_figure(0.6 * columns + 0.4, 0.6 * rows + 0.6)
    axis.imshow(image_grid(images, columns), interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=9)
    context.save_figure(name, figure)


def need_images(context: Context) -> None:
    if len(context.spec.shape) != 3:
        raise NotApplicableError("the data are not images")


def tsne(codes: Tensor, perplexity: float) -> np.ndarray:
    """Points `[N, 2]` for codes `[N, D]` (PCA start, fixed seed). Raises NotApplicableError below two units
    or where there are no more codes than the perplexity."""
    from sklearn.manifold import TSNE

    if codes.shape[1] < 2 or len(codes) <= perplexity:
        raise NotApplicableError(f"{len(codes)} codes of {codes.shape[1]} units are too few")
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=0)
    return np.asarray(embedding.fit_transform(codes.cpu().double().numpy()))


def scatter(axis: Any, points: np.ndarray, labels: Tensor | None, legend: bool = True) -> None:
    """Points of the first test data, coloured by label where there are labels."""
    axis.set_axis_off()
    if labels is None:
        axis.scatter(*points.T, color=INK, s=4, linewidths=0)
        return
    colours = labels[: len(points)].cpu().numpy()
    dots = axis.scatter(*points.T, c=colours, cmap="tab10", s=4, linewidths=0)
    if legend:
        axis.legend(*dots.legend_elements(), frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


class TrainingCurves:
    """ELBO, or the objective of a model without a likelihood, KL and active units by epoch."""

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        if not context.history:
            raise NotApplicableError("no epoch was recorded")
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
        if elbos.max() > low:  # the first epochs would flatten all that follows
            axes[0].set_ylim(low - 0.1 * (elbos.max() - low), elbos.max() + 0.3 * (elbos.max() - low))
        axes[0].legend(frameon=False)
        context.save_figure("curves", figure)
        yield from ()


class Reconstructions:
    """Test images above the renderings of their posterior means: of p(x|z) the mean, or a draw."""

    version: ClassVar = 1

    def __init__(self, *, num: Count) -> None:
        self.num = num

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        need_images(context)
        context.need(latent=True)
        x = context.test_data[: self.num]
        pairs = torch.cat([x, context.model.reconstruct(x)])
        save_images(context, "reconstructions", pairs, len(x), "test data, and their reconstructions below")
        yield from ()


class PriorSamples:
    """Renderings of draws from the prior: of p(x|z) the mean, or a draw."""

    version: ClassVar = 1

    def __init__(self, *, num: Count) -> None:
        self.num = num

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        need_images(context)
        columns = max(1, round(self.num**0.5))
        save_images(context, "samples", context.model.sample(self.num), columns, "samples from the prior")
        yield from ()


class LatentTraversal:
    """One latent unit at a time, from -reach to reach, at a test image's code; the most active first."""

    version: ClassVar = 1

    def __init__(self, *, num_units: Count, num_steps: Count, reach: Positive) -> None:
        self.num_units = num_units
        self.num_steps = num_steps
        self.reach = reach

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        need_images(context)
        context.need(latent=True, test_data=2)
        mean = context.encoded("test").mean
        units = mean.var(0).argsort(descending=True)[: self.num_units]
        positions = torch.linspace(-self.reach, self.reach, self.num_steps, device=mean.device)
        codes = mean[:1].repeat(len(units) * self.num_steps, 1)
        rows = torch.arange(len(codes), device=mean.device)
        codes[rows, units.repeat_interleave(self.num_steps)] = positions.repeat(len(units))
        images = context.model.render(codes)
        title = f"a row per latent unit, most active first; from {-self.reach:g} to {self.reach:g}"
        save_images(context, "traversal", images, self.num_steps, title)
        yield from ()


class LatentSpectrum:
    """Variance of each unit's posterior mean, in falling order, with the thresholds of active units."""

    version: ClassVar = 1

    def run(self, context: Context) -> Iterator[Measurement]:
        context.need(latent=True, test_data=2)
        variance = context.encoded("test").mean.cpu().double().var(0).sort(descending=True).values.numpy()
        figure, axis = new_figure(5, 3)
        axis.semilogy(np.arange(1, len(variance) + 1), variance.clip(1e-8), ".-", color=INK)
        for threshold in (0.01, 0.02):
            axis.axhline(threshold, color=ACCENT, linewidth=0.8, linestyle="--")
        axis.set(xlabel="latent unit, sorted", ylabel="variance of the posterior mean")
        context.save_figure("spectrum", figure)
        yield from ()


class LatentTSNE:
    """t-SNE of posterior means of test data (PCA start, fixed seed), coloured by label."""

    version: ClassVar = 1

    def __init__(self, *, num_data: Count, perplexity: Positive) -> None:
        self.num_data = num_data
        self.perplexity = perplexity

    def run(self, context: Context) -> Iterator[Measurement]:
        context.need(latent=True)
        points = tsne(context.encoded("test").mean[: self.num_data], self.perplexity)
        figure, axis = new_figure(5.5, 5)
        scatter(axis, points, context.splits.test.y)
        context.save_figure("tsne", figure)
        context.save_arrays("tsne", points=points)
        yield from ()
