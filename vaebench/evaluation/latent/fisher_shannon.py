"""Position of q(z|x) in the Fisher-Shannon plane (Zheng et al. 2019, arXiv 1807.03723, figure 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.distributions import LOG_2PI
from vaebench.evaluation.base import Context, Measurement, NotApplicableError, mean_and_error, scaled
from vaebench.evaluation.plots import ACCENT, INK, new_figure
from vaebench.evaluation.posterior_score import push_with_score
from vaebench.ranges import AtLeastTwo

BATCH = 500


class FisherShannon:
    """Fisher information and entropy power of q(z|x) with n latent units, means over the test examples x.

    - `posterior_fisher`: tr J = E_x E_q ||grad_z log q(z|x)||^2; for a Gaussian E_x sum_d 1/sigma_d^2;
    - `posterior_entropy`: H = -E_x E_q log q(z|x);
    - `entropy_power`: N = exp(2H/n) / (2 pi e). The paper's eq. 2 lacks the 1/n, without which its inequality
      N tr J >= n is false;
    - `isotropic_entropy_power` = n / tr J, the N of an isotropic Gaussian with this tr J;
    - `fisher_shannon_product` = N tr J / n >= 1, with equality only for isotropic Gaussians. Gaussians whose
      units have different variances are above 1 too, so a point above the curve does not show a non-Gaussian
      shape.

    The prior N(0, I) is at (n, 1). Gaussian posteriors have closed forms and use all test examples. Flows use
    the score from the Jacobian of their map, with one sample for each of `num_flow_data` examples. Standard
    errors are over examples, by the delta method where a function of a mean is taken.

    `arrays/fisher_shannon.npz` contains the point, the prior, E 1/sigma_d^2 and exp(E log sigma_d^2) of every
    unit d, and the trajectory over epochs that training recorded. For flows the first is E of the squared
    component d of the score, and there is no entropy power per unit.
    """

    version: ClassVar = 2

    def __init__(self, *, num_flow_data: AtLeastTwo) -> None:
        self.num_flow_data = num_flow_data

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        q: Any = context.encoded("test")
        if context.model.has_gaussian_posterior:
            logvar = q.logvar.cpu().double()
            fisher, entropy = gaussian_fisher(logvar), 0.5 * (logvar + LOG_2PI + 1).sum(1)
            units = {"unit_entropy_power": torch.exp(logvar.mean(0)).numpy()}
        elif hasattr(q, "push"):
            fisher, entropy = self._flow(context, q)
            units = {}
        else:
            raise NotApplicableError(
                "the score of the posterior is unknown; needs a Gaussian or a flow posterior"
            )
        num, n = fisher.shape
        trace, trace_error = mean_and_error(fisher.sum(1))
        h, h_error = mean_and_error(entropy)
        power = math.exp(2 * h / n) / (2 * math.pi * math.e)
        product = power * trace / n
        # d log(N tr J) = 2 dH / n + d tr J / tr J
        _, relative_error = mean_and_error(2 * entropy / n + fisher.sum(1) / trace)
        for name, value, error, unit in (
            ("posterior_fisher", trace, trace_error, "1/variance"),
            ("posterior_entropy", h, h_error, "nats"),
            ("entropy_power", power, scaled(h_error, power * 2 / n), "variance"),
            ("isotropic_entropy_power", n / trace, scaled(trace_error, n / trace**2), "variance"),
            ("fisher_shannon_product", product, scaled(relative_error, product), "ratio"),
        ):
            yield Measurement(name, value, unit, None, num, error)
        units["unit_fisher"] = fisher.mean(0).numpy()
        context.save_arrays(
            "fisher_shannon",
            point=np.array([trace, power]),
            prior=np.array([n, 1.0]),
            trajectory=trajectory(context),
            **units,
        )
        draw_plane(context, trace, power, units)

    def _flow(self, context: Context, q: Any) -> tuple[Tensor, Tensor]:
        """Return squared scores `[N, D]` and -log q `[N]` for one sample per example, in float64."""
        chosen = context.subset(self.num_flow_data, "random").to(context.device)
        fisher, entropy = [], []
        for start in context.track(range(0, len(chosen), BATCH), "Fisher-Shannon plane"):
            part = q[chosen[start : start + BATCH]]
            noise = torch.randn(1, len(part), context.model.latent_dim, device=context.device)
            _, log_q, score = push_with_score(part, noise)
            fisher.append(score[0].detach().cpu().double().square())
            entropy.append(-log_q[0].detach().cpu().double())
        return torch.cat(fisher), torch.cat(entropy)


def gaussian_fisher(logvar: Tensor) -> Tensor:
    """Return the diagonal of the Fisher information of diagonal Gaussians, 1/sigma_d^2, `[..., D]`."""
    return torch.exp(-logvar)


def trajectory(context: Context) -> np.ndarray:
    """Return (tr J, N) on the validation examples after every epoch, `[epochs, 2]`; empty if not recorded."""
    names = ("posterior_fisher", "entropy_power")
    lines = [line["valid"] for line in context.history if names[0] in line["valid"]]
    return np.array([[line[name] for name in names] for line in lines], dtype=float).reshape(-1, 2)


def draw_plane(context: Context, trace: float, power: float, units: Mapping[str, np.ndarray]) -> None:
    """Save the figure: the point, the prior and the curve of isotropic Gaussians.

    A second panel shows the same divided by n, with the units.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    n = context.model.latent_dim
    figure, (plane, per_unit) = new_figure(9, 3.6, columns=2)
    for axis, dim in (plane, n), (per_unit, 1):
        seen = np.array([dim, trace * dim / n, *(units["unit_fisher"] if dim == 1 else [])])
        fisher = np.geomspace(seen.min() / 2, seen.max() * 2, 100)
        axis.loglog(fisher, dim / fisher, "--", color="grey", linewidth=0.8, label="isotropic Gaussians")
        axis.plot(dim, 1, "s", color=INK, label="prior")
    if "unit_entropy_power" in units:
        per_unit.plot(units["unit_fisher"], units["unit_entropy_power"], ".", color=INK, label="latent units")
    if len(path := trajectory(context)) > 1:
        plane.plot(*path.T, color="lightgrey", linewidth=0.8, zorder=0)
        epochs = plane.scatter(*path.T, c=np.arange(1, len(path) + 1), cmap="viridis", s=6, zorder=1)
        figure.colorbar(epochs, ax=plane, label="epoch (validation data)")
    for axis, dim in (plane, n), (per_unit, 1):
        axis.plot(trace * dim / n, power, "o", color=ACCENT, label="q(z|x)")
        axis.legend(frameon=False, fontsize=8)
        for scale in axis.xaxis, axis.yaxis:
            low, high = scale.get_view_interval()
            scale.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            scale.set_major_formatter(StrMethodFormatter("{x:g}"))
            scale.set_minor_formatter(NullFormatter())
    plane.set(xlabel="Fisher information tr J(z|x)", ylabel="entropy power N(z|x)")
    per_unit.set(xlabel="per unit, tr J / n", ylabel="entropy power")
    context.save_figure("fisher_shannon", figure)
