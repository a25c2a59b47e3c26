"""The contract of an evaluator, what it is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vaebench.atomic import write_bytes, write_text
from vaebench.data.batches import in_order
from vaebench.data.spec import DataSpec, SplitName, Splits
from vaebench.distributions import Distribution, Posterior
from vaebench.evaluation.encoding_cache import forget, refined, scratch_of
from vaebench.evaluation.output_files import Filing
from vaebench.evaluation.partial_results import save_npz
from vaebench.model import Model
from vaebench.seeding import derive_seed, seeded

ENCODE_BATCH = 1000
MIN_ROWS = 64
SLACK = 16

Subset = Literal["random", "first"]
"""Which of the test data: MNIST's first half is some six nats easier than its second."""


class NotApplicableError(Exception):
    """This measure says nothing about this model or dataset; the message is the reason."""


@dataclass(frozen=True)
class Measurement:
    """One number, with what is needed to trust it."""

    name: str
    value: float
    unit: str
    """nats, bits, units, fraction, ..."""
    higher_is_better: bool | None
    """None where neither direction is better."""
    n: int
    """How many data (or draws) it is taken over."""
    standard_error: float | None = None
    """None where the number is exact for what it is taken over, or that is one datum and shows no error."""


class Evaluator(Protocol):
    """One file each. Constructed with its options alone; `version` rises when its numbers would change."""

    version: ClassVar[int]

    def run(self, context: Context) -> Iterable[Measurement]:
        """Measure. Raises NotApplicableError with the reason where the measure means nothing."""
        ...


@dataclass
class Context:
    """What evaluators share: the trained model, the data, and one encoding of each split."""

    model: Model
    splits: Splits
    spec: DataSpec
    seed: int
    directory: Path
    """The run directory; arrays, figures and scratch are folders in it."""
    history: list[dict[str, Any]]
    """The lines of metrics.jsonl."""
    batch_bytes: float = 16 * 2**20
    show_bar: bool = False
    check_stop: Callable[[], None] = lambda: None
    """Raises where the process was asked to stop."""
    filing: Filing = field(init=False)
    """Of the evaluation that is running: where what it saves goes."""
    _encoded: dict[str, Posterior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.filing = Filing(self.directory)

    @property
    def device(self) -> torch.device:
        return self.splits.test.x.device

    def require(
        self, *, density: bool = False, latent: bool = False, labels: bool = False, test_data: int = 1
    ) -> None:
        """Raises NotApplicableError where the model or the data lack what a measure needs."""
        if density and not self.model.has_density:
            raise NotApplicableError("the model has no likelihood")
        if latent and not self.model.has_latent:
            raise NotApplicableError("the model has no latent code")
        if labels and self.spec.num_classes is None:
            raise NotApplicableError(f"{self.spec.name} has no labels")
        require_data(len(self.splits.test), test_data)

    @cached_property
    def prior(self) -> Distribution:
        """p(z), made once per evaluation."""
        with torch.no_grad():
            return self.model.prior_distribution()

    def encoded(self, split: SplitName) -> Posterior:
        """q(z|x) of every datum of a split, encoded once and shared by all evaluators.

        Of a posterior that refines itself, which takes long, it is kept in `scratch/` for further attempts.
        """
        if split not in self._encoded:
            # A posterior that draws must not depend on which evaluator asks first.
            seed, model = derive_seed(self.seed, "encode", split), self.model
            if model.has_iterative_posterior and model.has_gaussian_posterior:
                x, size = self.splits[split].x, self._chunk(split)
                scratch = scratch_of(self.directory, split, model, x, size)
                self._encoded[split] = refined(model, self._data(split), seed, scratch, self.check_stop)
            else:
                with torch.no_grad(), seeded(seed):
                    parts = [model.encode(x) for x in self._data(split)]
                self._encoded[split] = parts[0].cat(parts)
        return self._encoded[split]

    def data(self, split: SplitName) -> Tensor:
        """A split as the model sees it, `[N, *shape]`; what `encoded(split)` encodes."""
        return torch.cat(list(self._data(split)))

    @cached_property
    def test_data(self) -> Tensor:
        """`data("test")`, kept."""
        return self.data("test")

    def _data(self, split: SplitName) -> Iterator[Tensor]:
        """A split in its order; stochastic data are drawn once, by the seed."""
        return in_order(self.splits[split], self._chunk(split), derive_seed(self.seed, "evaluation", "data"))

    def _chunk(self, split: SplitName) -> int:
        """How many data of a split are encoded at once."""
        # A posterior that refines itself decodes what it encodes, and sentences have many parameters.
        lengths = self.splits[split].lengths
        return ENCODE_BATCH if lengths is None else min(ENCODE_BATCH, self.rows_per_chunk())

    def subset(self, num: int | None, which: Subset) -> Tensor:
        """Indices of `num` test data in their order, the first or a seeded choice; of all for None."""
        n = len(self.splits.test)
        if num is None or num >= n:
            return torch.arange(n)
        if which == "first":
            return torch.arange(num)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "subset"))
        return torch.randperm(n, generator=generator)[:num].sort().values

    def rows_per_chunk(self) -> int:
        """How many data may be decoded at once within the memory set for it.

        It is 64 at least, where those take no more than SLACK times that memory: fewer would leave the
        processor idle.
        """
        # Decoded parameters, their exponentials and two temporaries, in float32.
        bytes_per_row = 4 * 4 * self.model.parameters_per_datum
        rows = int(self.batch_bytes / bytes_per_row)
        return max(1, rows, min(MIN_ROWS, int(SLACK * self.batch_bytes / bytes_per_row)))

    def track(self, items: range, name: str) -> Iterator[int]:
        """Iterate with a bar, and end where the process was asked to stop."""
        for item in tqdm(items, desc=name, disable=not self.show_bar, leave=False, dynamic_ncols=True):
            self.check_stop()
            yield item

    def close(self) -> None:
        """Remove what was kept of the encodings. To be called once no evaluation is left to do."""
        forget(self.directory)

    def save_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """File arrays as `arrays/<name>.npz`."""
        save_npz(self.filing.path(f"arrays/{name}.npz"), arrays)

    def save_text(self, name: str, text: str) -> None:
        """File a text as `<name>.txt`."""
        write_text(self.filing.path(f"{name}.txt"), text)

    def save_figure(self, name: str, figure: Any) -> None:
        """File a matplotlib figure as `figures/<name>.png`."""
        import io

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        write_bytes(self.filing.path(f"figures/{name}.png"), buffer.getvalue())


def require_data(num: int, least: int) -> None:
    """Raises NotApplicableError where there are fewer test data than `least`, below which an estimate says
    nothing."""
    if num < least:
        raise NotApplicableError(f"too few test data: {num}, and at least {least} are needed")


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """Mean and its standard error over independent values `[N]`, in float64; one value shows no error."""
    values = values.cpu().double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def scaled(error: float | None, factor: float) -> float | None:
    """The standard error of `factor` times as much."""
    return None if error is None else factor * error
