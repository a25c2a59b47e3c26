"""Samples by the chain of encoder and decoder, beside samples from the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.evaluation.partial_results import Scratch
from vaebench.evaluation.plots import ACCENT, INK, new_figure, save_images
from vaebench.evaluation.samples.sample_quality import Quality, compact, expand
from vaebench.ranges import AtLeastTwo, Count
from vaebench.seeding import derive_seed, seeded

Start = Literal["noise", "data", "both"]
Keep = Callable[[list[Tensor]], None]
"""Is given the samples of a step, as far as they are drawn."""
Enough = Annotated[int, Ge(3)]
"""For a jackknife of a mean over pairs."""

SHOWN = 10  # chains in a figure


class MarkovChain:
    """z ~ q(z|x), x ~ p(x|z), again and again (Zhao et al. 2017, arXiv 1702.08658, eq. 6).

    Where p(x|z) can be q(x|z), the chain's law tends to that of the data whatever q(z) is, which draws from
    the prior need to be p(z) (Propositions 2 and 3). `noise` starts at Bernoulli(1/2) pixels, or uniform on
    the range of other data; `data` at test data. Steps 0 and `num_steps` are kept with others between them,
    `num_kept` in all and each time longer apart, fewer where they would fall together.

    `num_chains` draws from the prior (`ancestral`), chains at their last step (`chain_noise`, `chain_data`)
    and the test data that the chains start from (`test`, at most half of all) are compared with `num_data`
    other test data, and with `num_train` training data. What errs, and how, is in evaluation.sample_quality;
    all is computed from the samples as they are filed, `[K, N, *shape]`, uint8 or float16.
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
            raise NotApplicableError("distances between tokens mean nothing")
        first, others = self._divide(context)
        chains = {f"chain_{start}": self._chain(start, first, context) for start in self.starts}
        ancestral = compact(self._ancestral(context), context.spec.kind)
        quality = Quality.of(context, context.test_data[others.to(context.device)], self.num_train)
        if quality.reader is not None and (labels := context.splits.test.y) is not None:
            accuracy = quality.reader.accuracy(context.test_data, labels)
            yield Measurement("classifier_accuracy", accuracy, "fraction", None, len(labels))
        arrays: dict[str, np.ndarray] = {"steps": np.array(self.kept), "ancestral": ancestral}
        arrays |= {**chains, "test_index": first.numpy(), "compared_index": others.numpy()}
        alone = compact(context.test_data[first.to(context.device)], context.spec.kind)
        energies = {}
        for name, samples in {"test": alone[None], "ancestral": ancestral[None], **chains}.items():
            steps = [expand(kept, context.spec.kind) for kept in samples]
            found = [list(quality.measure(name, x)) for x in steps]
            for column in zip(*found, strict=True):
                arrays[column[0].name] = np.array([m.value for m in column])
            if quality.reader is not None:
                arrays[f"{name}_histogram"] = torch.stack([quality.histogram(x) for x in steps]).numpy()
            energies[name] = [row[0] for row in found]
            yield from found[-1]
        context.save_arrays("chain", **arrays)
        context.save_figure("chain_energy", draw(energies, self.kept))
        if len(context.spec.shape) == 3:
            self._show(chains, ancestral, context)
        for start in (*self.starts, "ancestral"):
            self._scratch(start, context).remove()

    def _divide(self, context: Context) -> tuple[Tensor, Tensor]:
        """Indices of the test data that chains start from, and of those that samples are compared with."""
        n = len(context.splits.test)
        if n < 6:
            raise NotApplicableError(f"{n} test data are too few")
        generator = torch.Generator().manual_seed(derive_seed(context.seed, "chain", "divide"))
        order = torch.randperm(n, generator=generator)
        num = min(self.num_chains, n // 2)
        return order[:num], order[num:][: self.num_data]

    def _chain(self, start: str, first: Tensor, context: Context) -> np.ndarray:
        """The kept steps of the chains that begin at `start`, `[K, N, *shape]`.

        Random numbers are seeded anew at each chunk of each step and the chains are kept on disk, so that an
        interrupted chain goes on from the chunk where it was, to the same bits.
        """
        kind, scratch = context.spec.kind, self._scratch(start, context)
        if (stored := scratch.load()) is not None:
            x, begun = (torch.from_numpy(stored[name]).to(context.device) for name in ("x", "begun"))
            done, kept = int(stored["done"]), list(stored["kept"])
        else:
            x = context.test_data[first.to(context.device)] if start == "data" else self._noise(context)
            done, kept, begun = 0, [compact(x, kind)], x[:0]

        def save(begun: Tensor) -> None:
            state = {"x": x.cpu().numpy(), "begun": begun.cpu().numpy()}
            scratch.save({**state, "done": np.array(done), "kept": np.stack(kept)})

        def keep(begun: list[Tensor]) -> None:
            if scratch.is_due:
                save(torch.cat(begun))

        last = self.kept[-1]
        for step in context.track(range(done + 1, last + 1), f"chain from {start}"):
            x, done, begun = self._step(x, begun, keep, context, start, step), step, x[:0]
            if step in self.kept:
                kept.append(compact(x, kind))
            if scratch.is_due or step == last:
                save(begun)
        return np.stack(kept)

    def _step(self, x: Tensor, begun: Tensor, keep: Keep, context: Context, *names: object) -> Tensor:
        """x ~ p(x|z), z ~ q(z|x), of each chain; of the first, `begun`, it is there already."""

        def codes(rows: slice) -> Tensor:
            return context.model.encode(x[rows]).rsample(1)[0]

        return drawn(len(x), codes, begun, keep, context, *names)

    def _ancestral(self, context: Context) -> Tensor:
        """x ~ p(x|z), z ~ p(z), `[N, *shape]`; kept on disk as the chains are."""
        num, scratch = self.num_chains, self._scratch("ancestral", context)
        begun = torch.empty(0, *context.spec.shape, device=context.device)
        if (stored := scratch.load()) is not None:
            begun = torch.from_numpy(stored["begun"]).to(context.device)

        def codes(rows: slice) -> Tensor:
            return context.prior.rsample(rows.stop - rows.start)

        def keep(begun: list[Tensor]) -> None:
            if scratch.is_due or sum(map(len, begun)) == num:
                scratch.save({"begun": torch.cat(begun).cpu().numpy()})

        return drawn(num, codes, begun, keep, context, "ancestral")

    def _noise(self, context: Context) -> Tensor:
        spec, split = context.spec, context.splits.train
        generator = torch.Generator(context.device).manual_seed(derive_seed(context.seed, "chain", "noise"))
        x = torch.rand(self.num_chains, *spec.shape, generator=generator, device=context.device)
        if spec.kind == "binary":
            return x.lt(0.5).float()
        if spec.kind == "uint8":
            return (x * 256).floor() / 255
        low, high = (edge.float() * split.scale for edge in split.x.aminmax())
        return low + (high - low) * x

    def _scratch(self, start: str, context: Context) -> Scratch:
        options = (start, self.num_chains, *self.kept, context.rows_per_chunk())
        return Scratch(context.directory, "chain", self.version, *options)

    def _show(self, chains: dict[str, np.ndarray], ancestral: np.ndarray, context: Context) -> None:
        """A figure for each start: rows are chains, columns their kept steps, then draws from the prior."""
        steps = ", ".join(map(str, self.kept))
        for name, kept in chains.items():
            rows = min(SHOWN, kept.shape[1])
            table = np.concatenate([kept[:, :rows], ancestral[None, :rows]]).swapaxes(0, 1)
            images = expand(table.reshape(-1, *context.spec.shape), context.spec.kind)
            title = f"a row per chain, steps {steps}; last column: from the prior"
            save_images(context, name, images, len(self.kept) + 1, title)


def kept_steps(num_steps: int, num_kept: int) -> list[int]:
    """0, 1 and `num_steps` and others between, each a constant factor after the last, in rising order."""
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
    """x ~ p(x|z) `[num, *shape]` of the codes of each slice, in chunks with a seed of their own.

    The first chunks are `begun`; `keep` is given all that are there after each. Ends between chunks where the
    process was asked to stop.
    """
    chunk, parts = context.rows_per_chunk(), [begun]
    for low in range(len(begun), num, chunk):
        context.check_stop()
        with seeded(derive_seed(context.seed, "chain", *names, low)):
            parts.append(context.model.sample_x(codes(slice(low, min(low + chunk, num)))))
        keep(parts)
    return torch.cat(parts)


def draw(energies: dict[str, list[Measurement]], steps: list[int]) -> Any:
    """Energy distances by step, with those of draws from the prior and of test data as lines."""
    figure, axis = new_figure(5, 3)
    styles = {"chain_noise": (ACCENT, "-"), "chain_data": (INK, "-"), "ancestral": (ACCENT, ":")}
    for name, found in energies.items():
        colour, line = styles.get(name, (INK, ":"))
        values = [m.value for m in found]
        if len(found) == 1:
            axis.axhline(values[0], color=colour, linestyle=line, label=name)
        else:
            errors = [m.standard_error for m in found]
            axis.errorbar(steps, values, errors, color=colour, linestyle=line, marker=".", label=name)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(steps, [str(step) for step in steps])
    axis.set(xlabel="step of the chain", ylabel="energy distance to test data")
    axis.legend(frameon=False)
    return figure
