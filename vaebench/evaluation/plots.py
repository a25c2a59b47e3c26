"""Figure and image-grid helpers shared by evaluators."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from vaebench.evaluation.base import Context, NotApplicableError

INK = "#1f3a5f"
ACCENT = "#c8553d"


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes, without the global state of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes if columns > 1 else axes[0]


def image_grid(images: Tensor, columns: int) -> np.ndarray:
    """Return images `[N, C, H, W]` in [0, 1] as one RGB image `[H', W', 3]`; grey images are inverted, black
    on white."""
    from torchvision.utils import make_grid

    shown = images.detach().cpu().clamp(0, 1)
    if shown.shape[1] == 1:
        shown = 1 - shown
    return make_grid(shown, nrow=columns, padding=1, pad_value=0.8).permute(1, 2, 0).numpy()


def save_images(context: Context, name: str, images: Tensor, columns: int, title: str) -> None:
    """Save a grid of images, with a title that explains rows and columns."""
    rows = -(-len(images) // columns)
    figure, axis = new_figure(0.6 * columns + 0.4, 0.6 * rows + 0.6)
    axis.imshow(image_grid(images, columns), interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=9)
    context.save_figure(name, figure)


def require_images(context: Context) -> None:
    """Raise NotApplicableError if the data are not images."""
    if len(context.spec.shape) != 3:
        raise NotApplicableError("the data are not images; needs data of shape [C, H, W]")


def tsne(codes: Tensor, perplexity: float) -> np.ndarray:
    """Return t-SNE points `[N, 2]` for codes `[N, D]` (PCA initialisation, fixed seed).

    Raises NotApplicableError for one unit, or if there are no more codes than the perplexity.
    """
    from sklearn.manifold import TSNE

    if codes.shape[1] < 2 or len(codes) <= perplexity:
        raise NotApplicableError(
            f"too few codes or units for t-SNE: {len(codes)} codes of {codes.shape[1]} units; "
            f"needs more than {perplexity:g} codes and two units or more"
        )
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=0)
    return np.asarray(embedding.fit_transform(codes.cpu().double().numpy()))


def scatter(axis: Any, points: np.ndarray, labels: Tensor | None, legend: bool = True) -> None:
    """Plot points of the first test examples, coloured by label if there are labels."""
    axis.set_axis_off()
    if labels is None:
        axis.scatter(*points.T, color=INK, s=4, linewidths=0)
        return
    colours = labels[: len(points)].cpu().numpy()
    dots = axis.scatter(*points.T, c=colours, cmap="tab10", s=4, linewidths=0)
    if legend:
        axis.legend(*dots.legend_elements(), frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
