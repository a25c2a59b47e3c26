"""Types of datasets: the spec, known before loading, and the splits, after loading."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vaebench.errors import UserError

Kind = Literal["binary", "unit", "uint8", "real", "tokens"]
"""Values of x. binary: 0 or 1. unit: real in [0, 1]. uint8: one of 256 levels, scaled to [0, 1]. real: any
real number. tokens: token ids."""

SplitName = Literal["train", "valid", "test"]


class DataError(UserError):
    """Error of a missing, incomplete or corrupt dataset; the message names the file and says what to do."""


@dataclass(frozen=True)
class DataSpec:
    """Description of a dataset, from which models and evaluators are built."""

    name: str
    """Name of this variant; a replacement of a dataset has its own name."""
    shape: tuple[int, ...]
    """Shape of one example: `(C, H, W)` for images, `(L,)` for sentences."""
    kind: Kind
    num_classes: int | None
    """None if there are no labels."""
    vocabulary: tuple[str, ...] | None = field(default=None, repr=False)
    """The V tokens of sentences, by id (see vaebench.text); None for other data."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape that networks and likelihoods get: the shape of one example, or `(L, V)` for sentences."""
        return self.shape if self.vocabulary is None else (*self.shape, len(self.vocabulary))


@dataclass(frozen=True)
class DataPaths:
    """Folders of datasets (`root`, may be read-only) and of files derived from them (`cache`)."""

    root: Path
    cache: Path


@dataclass(frozen=True)
class Split:
    """One split, stored on a device, and how stored values are converted to the model's input."""

    x: Tensor
    """Stored data, `[N, *shape]`, uint8 for images, int32 for sentences."""
    y: Tensor | None
    """Labels, `[N]`, int64."""
    scale: float = 1.0
    """Factor from stored values to the model's input: 1/255 for grey levels."""
    stochastic: bool = False
    """If true, x * scale are Bernoulli probabilities, and binary images are resampled at every access."""
    lengths: Tensor | None = None
    """Number of tokens of each sentence, `[N]`, on the host; None if the data are not sentences."""
    mixes_lengths: bool = False
    """If true, a training batch may have sentences of different lengths."""

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Split:
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))

    def gather(self, index: Tensor | slice, generator: torch.Generator) -> Tensor:
        """Return the model's input at `index`, `[B, *shape]`: float32, or int64 for token ids."""
        chosen = self.x[index] if isinstance(index, slice) else self.x.index_select(0, index)
        if self.lengths is not None:
            return chosen.long()
        x = chosen.float()
        if self.scale != 1.0:
            x = x * self.scale
        if self.stochastic:
            x = torch.rand(x.shape, generator=generator, device=x.device).lt(x).float()
        return x


@dataclass(frozen=True)
class Splits:
    """Training, validation and test split of a dataset."""

    train: Split
    valid: Split
    test: Split
    origin: dict[str, Any] = field(default_factory=dict)
    """Origin of the data for the provenance: files, hashes, binarisation seed."""

    def __getitem__(self, name: SplitName) -> Split:
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    def to(self, device: torch.device) -> Splits:
        return replace(
            self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device)
        )


class Dataset(Protocol):
    """Dataset, constructed with `DataPaths` and its options.

    Before `load()` it reads only what its spec needs. A class that must read data for its spec has a class
    attribute `kind`.
    """

    @property
    def spec(self) -> DataSpec: ...

    def load(self) -> Splits:
        """Read the data. Raises DataError, naming the file, if they are missing or corrupt."""
        ...
