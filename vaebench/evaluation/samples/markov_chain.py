"""Samples from the Markov chain of encoder and decoder, compared with samples from the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, NotApplicableError, require_data
from vaebench.evaluation.partial_results import PartialResults
from vaebench.evaluation.plots import ACCENT, INK, new_figure, save_images
from vaebench.evaluation.samples.sample_quality import Quality, compact, expand
from vaebench.ranges import AtLeastTwo, Count
from vaebench.seeding import derive_seed, seeded

Start = Literal["noise", "data", "both"]
Keep = Callable[[list[Tensor]], None]
"""Callback that gets the samples of a step that are complete so far."""
Enough = Annotated[int, Ge(3)]
"""Number of samples that a jackknife of a mean over pairs needs."""

SHOWN = 10  # chains per figure
LEAST = 6  # test examples: three at which chains start, and three to compare with


class MarkovChain:
    """Markov chain z ~ q(z|x), x ~ p(x|z) (Zhao et al. 2017, arXiv 1702.08658, eq. 6).

    If p(x|z) can represent q(x|z), the chain converges to the data distribution for any q(z). Samples from
    the prior also need q(z) = p(z) (Propositions 2 and 3). `noise` starts at Bernoulli(1/2) pixels, or
    uniformly on the range of non-binary data; `data` starts at test examples. `num_kept` steps are saved,
    among them 0 and `num_steps`. Their spacing grows geometrically, and steps that coincide are saved once.

    `num_chains` samples from the prior (`ancestral`), the last step of the chains (`chain_noise`,
    `chain_data`) and the test examples at which chains start (`test`, at most half of the test set) are
    compared with `num_data` other test examples and with `num_train` training examples.
    evaluation.samples.sample_quality states the errors of each measure. All are computed from the samples as
    saved, `[K, N, *shape]`, uint8 or float16.
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        num_chains: Enough,
        num_steps: Count,
        num_kept: AtLeastTwo,
        start: Start,
        num_data: Enough | None,
        num_train: AtLeastTwo | None,
    ) -> None:
        self.num_chains = num_chains
        self.kept = kept_steps(num_steps, num_kept)
        self.starts = ("noise", "data") if start == "both" else (start,)
        self.num_data = num_data
        self.num_train = num_train

    @torch.no_grad()
    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True)
        if context.spec.kind == "tokens":
            raise NotApplicableError(
                "distances between token ids have no meaning; needs images or real vectors"
            )
        first, others = self._divide(context)
        chains = {f"chain_{start}": self._chain(start, first, context) for start in self.starts}
        ancestral = compact(self._ancestral(context), context.spec.kind)
        quality = Quality.of(context, context.test_data[others.to(context.device)], self.num_train)
        if quality.reader is not None and (labels := context.splits.test.y) is not None:
            accuracy = quality.reader.accuracy(context.test_data, labels)
            yield Measurement("classifier_accuracy", accuracy, "fraction", None, len(labels))
        arrays: dict[str, np.ndarray] = {"steps": np.array(self.kept), "ancestral": ancestral}
        arrays |= {**chains, "test_index": first.numpy(), "compared_index": others.numpy()}
        test = compact(context.test_data[first.to(context.device)], context.spec.kind)
        energies = {}
        for name, samples in {"test": test[None], "ancestral": ancestral[None], **chains}.items():
            steps = [expand(kept, context.spec.kind) for kept in samples]
            by_step = [list(quality.measure(name, x)) for x in steps]
            for column in zip(*by_step, strict=True):
                arrays[column[0].name] = np.array([m.value for m in column])
            if quality.reader is not None:
                arrays[f"{name}_histogram"] = torch.stack([quality.histogram(x) for x in steps]).numpy()
            energies[name] = [row[0] for row in by_step]
            yield from by_step[-1]
        context.save_arrays("chain", **arrays)
        context.save_figure("chain_energy", draw(energies, self.kept))
        if len(context.spec.shape) == 3:
            self._show(chains, ancestral, context)
        for start in (*self.starts, "ancestral"):
            self._partial_results(start, context).remove()

    def _divide(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return the indices of the test examples at which chains start, and of those that samples are
        compared with."""
        n = len(context.splits.test)
        require_data(n, LEAST)
        generator = torch.Generator().manual_seed(derive_seed(context.seed, "chain", "divide"))
        order = torch.randperm(n, generator=generator)
        num = min(self.num_chains, n // 2)
        return order[:num], order[num:][: self.num_data]

    def _chain(self, start: str, first: Tensor, context: Context) -> np.ndarray:
        """Return the saved steps of the chains that begin at `start`, `[K, N, *shape]`.

        Random numbers are seeded per chunk of each step, and the chains are saved. An interrupted chain
        therefore resumes at its chunk and gives the same bits.
        """
        kind, partial_results = context.spec.kind, self._partial_results(start, context)
        if (stored := partial_results.load()) is not None:
            x, begun = (torch.from_numpy(stored[name]).to(context.device) for name in ("x", "begun"))
            done, kept = int(stored["done"]), list(stored["kept"])
        else:
            x = context.test_data[first.to(context.device)] if start == "data" else self._noise(context)
            done, kept, begun = 0, [compact(x, kind)], x[:0]

        def save(begun: Tensor) -> None:
            state = {"x": x.cpu().numpy(), "begun": begun.cpu().numpy()}
            partial_results.save({**state, "done": np.array(done), "kept": np.stack(kept)})

        def keep(begun: list[Tensor]) -> None:
            if partial_results.is_due:
                save(torch.cat(begun))

        last = self.kept[-1]
        for step in context.track(range(done + 1, last + 1), f"chain from {start}"):
            x, done, begun = self._step(x, begun, keep, context, start, step), step, x[:0]
            if step in self.kept:
                kept.append(compact(x, kind))
            if partial_results.is_due or step == last:
                save(begun)
        return np.stack(kept)

    def _step(self, x: Tensor, begun: Tensor, keep: Keep, context: Context, *names: object) -> Tensor:
        """Return x ~ p(x|z), z ~ q(z|x), for each chain.

        `begun` are the samples of the first chains if the step was interrupted.
        """

        def codes(rows: slice) -> Tensor:
            return context.model.encode(x[rows]).rsample(1)[0]

        return drawn(len(x), codes, begun, keep, context, *names)

    def _ancestral(self, context: Context) -> Tensor:
        """Return x ~ p(x|z), z ~ p(z), `[N, *shape]`, saved like the chains."""
        num, partial_results = self.num_chains, self._partial_results("ancestral", context)
        begun = torch.empty(0, *context.spec.shape, device=context.device)
        if (stored := partial_results.load()) is not None:
            begun = torch.from_numpy(stored["begun"]).to(context.device)

        def codes(rows: slice) -> Tensor:
            return context.prior.rsample(rows.stop - rows.start)

        def keep(begun: list[Tensor]) -> None:
            if partial_results.is_due or sum(map(len, begun)) == num:
                partial_results.save({"begun": torch.cat(begun).cpu().numpy()})

        return drawn(num, codes, begun, keep, context, "ancestral")

    def _noise(self, context: Context) -> Tensor:
        """Return the starts `noise`, `[N, *shape]`."""
        spec, split = context.spec, context.splits.train
        generator = torch.Generator(context.device).manual_seed(derive_seed(context.seed, "chain", "noise"))
        x = torch.rand(self.num_chains, *spec.shape, generator=generator, device=context.device)
        if spec.kind == "binary":
            return x.lt(0.5).float()
        if spec.kind == "uint8":
            return (x * 256).floor() / 255
        low, high = (edge.float() * split.scale for edge in split.x.aminmax())
        return low + (high - low) * x

    def _partial_results(self, start: str, context: Context) -> PartialResults:
        options = (start, self.num_chains, *self.kept, context.rows_per_chunk())
        return PartialResults(context.directory, "chain", self.version, *options)

    def _show(self, chains: dict[str, np.ndarray], ancestral: np.ndarray, context: Context) -> None:
        """Save a figure per start: a row per chain with its saved steps, then a sample from the prior."""
        steps = ", ".join(map(str, self.kept))
        for name, kept in chains.items():
            rows = min(SHOWN, kept.shape[1])
            table = np.concatenate([kept[:, :rows], ancestral[None, :rows]]).swapaxes(0, 1)
            images = expand(table.reshape(-1, *context.spec.shape), context.spec.kind)
            title = f"one row per chain, steps {steps}; last column: sample from the prior"
            save_images(context, name, images, len(self.kept) + 1, title)


def kept_steps(num_steps: int, num_kept: int) -> list[int]:
    """Return 0, 1, `num_steps` and steps between them in geometric progression, in increasing order."""
    if num_kept > num_steps:
        return list(range(num_steps + 1))
    if num_kept == 2:
        return [0, num_steps]
    return sorted({0, *np.geomspace(1, num_steps, num_kept - 1).round().astype(int).tolist()})


def drawn(
    num: int,
    codes: Callable[[slice], Tensor],
    begun: Tensor,
    keep: Keep,
    context: Context,
    *names: object,
) -> Tensor:
    """Return x ~ p(x|z) `[num, *shape]` for the codes of each slice, in chunks with their own seeds.

    `begun` are the samples of the first chunks. `keep` gets the list of all samples after each chunk. Raises
    between chunks if the process was asked to stop.
    """
    chunk, parts = context.rows_per_chunk(), [begun]
    for low in range(len(begun), num, chunk):
        context.check_stop()
        with seeded(derive_seed(context.seed, "chain", *names, low)):
            parts.append(context.model.sample_x(codes(slice(low, min(low + chunk, num)))))
        keep(parts)
    return torch.cat(parts)


def draw(energies: dict[str, list[Measurement]], steps: list[int]) -> Any:
    """Return the figure: energy distance by step; samples from the prior and test examples are horizontal
    lines."""
    figure, axis = new_figure(5, 3)
    styles = {"chain_noise": (ACCENT, "-"), "chain_data": (INK, "-"), "ancestral": (ACCENT, ":")}
    for name, by_step in energies.items():
        colour, line = styles.get(name, (INK, ":"))
        values = [m.value for m in by_step]
        if len(by_step) == 1:
            axis.axhline(values[0], color=colour, linestyle=line, label=name)
        else:
            errors = [m.standard_error for m in by_step]
            axis.errorbar(steps, values, errors, color=colour, linestyle=line, marker=".", label=name)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(steps, [str(step) for step in steps])
    axis.set(xlabel="step of the chain", ylabel="energy distance to test data")
    axis.legend(frameon=False)
    return figure
