"""Context of an evaluator: the trained model, the data, and helpers for numbers and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vaebench import layout
from vaebench.atomic import write_bytes, write_text
from vaebench.data.batches import in_order
from vaebench.data.spec import DataSpec, SplitName, Splits
from vaebench.distributions import Distribution, Posterior
from vaebench.evaluation.encoding_cache import forget, refined, scratch_of
from vaebench.evaluation.output_files import OutputFiles
from vaebench.evaluation.partial_results import save_npz
from vaebench.model import Model
from vaebench.parts import Measurement as Measurement  # evaluators import it from here
from vaebench.seeding import derive_seed, seeded

ENCODE_BATCH = 1000
MIN_ROWS = 64
SLACK = 16

Subset = Literal["random", "first"]
"""Which test examples are used: MNIST's first half is some six nats easier than its second."""


class NotApplicableError(Exception):
    """The measure does not apply to this model or dataset; the message is the reason."""


@dataclass
class Context:
    """The trained model, the data, and one encoding of each split, shared by all evaluators of a suite."""

    model: Model
    splits: Splits
    spec: DataSpec
    seed: int
    directory: Path
    """The run directory; arrays, figures and partial results are folders in it."""
    history: list[dict[str, Any]]
    """The lines of metrics.jsonl."""
    batch_bytes: float = 16 * 2**20
    show_bar: bool = False
    check_stop: Callable[[], None] = lambda: None
    """Raises if a stop was requested."""
    outputs: OutputFiles | None = None
    """Paths of the files that this evaluation saves; `with_outputs` sets it."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Results that all evaluators of a suite share: encodings, the prior, the test data."""

    def with_outputs(self, outputs: OutputFiles) -> Context:
        """Return a context for one evaluation: it shares everything with this one except the output files."""
        return replace(self, outputs=outputs)

    @property
    def device(self) -> torch.device:
        return self.splits.test.x.device

    def require(
        self, *, density: bool = False, latent: bool = False, labels: bool = False, test_data: int = 1
    ) -> None:
        """Raise NotApplicableError where the model or the data lack what a measure needs."""
        if density and not self.model.has_density:
            raise NotApplicableError("the model has no likelihood")
        if latent and not self.model.has_latent:
            raise NotApplicableError("the model has no latent code")
        if labels and self.spec.num_classes is None:
            raise NotApplicableError(f"{self.spec.name} has no labels")
        require_data(len(self.splits.test), test_data)

    @property
    def prior(self) -> Distribution:
        """p(z), computed once per suite."""
        if "prior" not in self.shared:
            with torch.no_grad():
                self.shared["prior"] = self.model.prior_distribution()
        return self.shared["prior"]

    def encoded(self, split: SplitName) -> Posterior:
        """Return q(z|x) of every example of a split, encoded once for all evaluators.

        An iterative posterior takes long, so that its encodings are also saved for later attempts.
        """
        key = f"encoded {split}"
        if key not in self.shared:
            # A stochastic posterior must not depend on which evaluator asks first.
            seed, model = derive_seed(self.seed, "encode", split), self.model
            if model.has_iterative_posterior and model.has_gaussian_posterior:
                x, size = self.splits[split].x, self._chunk(split)
                scratch = scratch_of(self.directory, split, model, x, size)
                self.shared[key] = refined(model, self._data(split), seed, scratch, self.check_stop)
            else:
                with torch.no_grad(), seeded(seed):
                    parts = [model.encode(x) for x in self._data(split)]
                self.shared[key] = parts[0].cat(parts)
        return self.shared[key]

    def data(self, split: SplitName) -> Tensor:
        """Return a split as the model sees it, `[N, *shape]`; `encoded(split)` encodes the same numbers."""
        return torch.cat(list(self._data(split)))

    @property
    def test_data(self) -> Tensor:
        """`data("test")`, computed once."""
        if "test data" not in self.shared:
            self.shared["test data"] = self.data("test")
        return self.shared["test data"]

    def _data(self, split: SplitName) -> Iterator[Tensor]:
        """Yield a split in its order; stochastic binarisation is sampled once, from the seed."""
        return in_order(self.splits[split], self._chunk(split), derive_seed(self.seed, "evaluation", "data"))

    def _chunk(self, split: SplitName) -> int:
        """Return the number of examples of a split to encode at once."""
        # Sentences have many parameters.
        lengths = self.splits[split].lengths
        return ENCODE_BATCH if lengths is None else min(ENCODE_BATCH, self.rows_per_chunk())

    def subset(self, num: int | None, which: Subset) -> Tensor:
        """Return ascending indices of the first `num` test examples or a seeded random choice; None: all."""
        n = len(self.splits.test)
        if num is None or num >= n:
            return torch.arange(n)
        if which == "first":
            return torch.arange(num)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "subset"))
        return torch.randperm(n, generator=generator)[:num].sort().values

    def rows_per_chunk(self) -> int:
        """Return the number of codes to decode at once within the memory limit `batch_bytes`.

        The limit may be exceeded, by at most SLACK times, to reach 64 codes: fewer leave the processor idle.
        """
        # Decoded parameters, their exponentials and two temporaries, in float32.
        bytes_per_row = 4 * 4 * self.model.parameters_per_datum
        rows = int(self.batch_bytes / bytes_per_row)
        return max(1, rows, min(MIN_ROWS, int(SLACK * self.batch_bytes / bytes_per_row)))

    def track(self, items: range, name: str) -> Iterator[int]:
        """Yield `items` with a progress bar; raise if a stop was requested."""
        for item in tqdm(items, desc=name, disable=not self.show_bar, leave=False, dynamic_ncols=True):
            self.check_stop()
            yield item

    def close(self) -> None:
        """Remove the saved encodings; call it once no evaluation is left to do."""
        forget(self.directory)

    def save_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Save arrays as `arrays/<name>.npz`."""
        save_npz(self._path(f"{layout.ARRAYS}/{name}.npz"), arrays)

    def save_text(self, name: str, text: str) -> None:
        """Save a text as `<name>.txt`."""
        write_text(self._path(f"{name}.txt"), text)

    def save_figure(self, name: str, figure: Any) -> None:
        """Save a matplotlib figure as `figures/<name>.png`."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        write_bytes(self._path(f"{layout.FIGURES}/{name}.png"), buffer.getvalue())

    def _path(self, name: str) -> Path:
        return self.directory / name if self.outputs is None else self.outputs.path(name)


def require_data(num: int, least: int) -> None:
    """Raise NotApplicableError if there are fewer test examples than the `least` that an estimate needs."""
    if num < least:
        raise NotApplicableError(f"too few test data: {num}, and at least {least} are needed")


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """Return the mean and its standard error over independent values `[N]`, in float64; the error is None for
    a single value."""
    values = values.cpu().double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def scaled(error: float | None, factor: float) -> float | None:
    """Return the standard error of a quantity multiplied by `factor`."""
    return None if error is None else factor * error
