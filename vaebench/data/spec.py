"""What a dataset is, before and after it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vaebench.errors import UserError

Kind = Literal["binary", "unit", "uint8", "real", "tokens"]
"""What x may be: 0/1; real in [0, 1]; one of 256 levels scaled to [0, 1]; any real; token ids."""

SplitName = Literal["train", "valid", "test"]


class DataError(UserError):
    """A dataset that is missing, incomplete or corrupt; the message names the file and says what to do."""


@dataclass(frozen=True)
class DataSpec:
    """The facts about a dataset that models and evaluators are built from."""

    name: str
    """The variant's own name: a stand-in never carries the name of what it stands in for."""
    shape: tuple[int, ...]
    """Shape of one datum: `(C, H, W)` for images."""
    kind: Kind
    num_classes: int | None
    """None where there are no labels."""
    vocabulary: tuple[str, ...] | None = field(default=None, repr=False)
    """The V tokens by id (vaebench.text), where data are sentences `[L]`; None elsewhere."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What networks and likelihoods are told of a datum: its shape, and `(L, V)` of a sentence."""
        return self.shape if self.vocabulary is None else (*self.shape, len(self.vocabulary))


@dataclass(frozen=True)
class DataPaths:
    """Where data are found (may be read-only) and where what is derived from them is kept."""

    root: Path
    cache: Path


@dataclass(frozen=True)
class Split:
    """Data at rest on a device: `x` as stored, and how a stored value becomes what the model sees."""

    x: Tensor
    """Stored data, `[N, *shape]`, uint8 for images, int32 for sentences."""
    y: Tensor | None
    """Labels, `[N]`, int64."""
    scale: float = 1.0
    """Stored value times scale is what the model sees: 1/255 for grey levels."""
    stochastic: bool = False
    """Whether x * scale is a probability from which a binary image is drawn anew at each look."""
    lengths: Tensor | None = None
    """Tokens of each sentence, `[N]`, on the host, where data are sentences; None elsewhere."""
    mixes_lengths: bool = False
    """Whether a training batch may have sentences of several lengths."""

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Split:
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))

    def gather(self, index: Tensor | slice, generator: torch.Generator) -> Tensor:
        """The data at `index` as the model sees them, `[B, *shape]`, float32; token ids are int64."""
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
    """A dataset in its three parts."""

    train: Split
    valid: Split
    test: Split
    origin: dict[str, Any] = field(default_factory=dict)
    """Where the data came from: files, hashes, binarisation seed. Goes into the provenance."""

    def __getitem__(self, name: SplitName) -> Split:
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    def to(self, device: torch.device) -> Splits:
        return replace(
            self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device)
        )


class Dataset(Protocol):
    """Constructed with `DataPaths` and its options; reads no more before `load()` than its spec needs.

    A class that must read data for its spec says their `kind` itself.
    """

    @property
    def spec(self) -> DataSpec: ...

    def load(self) -> Splits:
        """Read the data. Raises DataError with the file's name where they are missing or corrupt."""
        ...
