"""Seeded batches: a batch is a pure function of (seed, epoch, index), so training can resume anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vaebench.data.spec import Split
from vaebench.seeding import derive_seed


class Batches:
    """Shuffled training batches, gathered and binarised on the device that holds the data.

    The sentences of a batch all have the same length, as in the papers, unless `split.mixes_lengths` is set:
    then a batch is as long as its longest sentence. The host knows the lengths, so that no batch has to wait
    for the device.
    """

    def __init__(self, split: Split, batch_size: int, seed: int) -> None:
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.device = split.x.device
        self._generator = torch.Generator(self.device)
        self._epoch: int | None = None
        self._order = torch.empty(0)
        self._stops: list[int] = []
        """Positions in the order at which a batch ends and the next one begins."""
        self._longest: list[int] = []
        """Tokens of the longest sentence of each batch; empty if the data are not sentences."""
        self._num = sum(-(-size // self.batch_size) for size in self._group_sizes())

    def __len__(self) -> int:
        """Return the number of batches per epoch; the last one (of each length) may be smaller."""
        return self._num

    def __call__(self, epoch: int, index: int) -> Tensor:
        """Return batch `index` of `epoch`, `[B, *shape]`; sentences are cut to the longest of the batch."""
        if epoch != self._epoch:
            self._plan(epoch)
            self._epoch = epoch
        start = self._stops[index - 1] if index else 0
        chosen = self._order[start : self._stops[index]]
        if self.split.stochastic:
            self._generator.manual_seed(derive_seed(self.seed, "binarise", epoch, index))
        x = self.split.gather(chosen, self._generator)
        return x[:, : self._longest[index]].contiguous() if self._longest else x

    def _group_sizes(self) -> list[int]:
        """Return the sizes of the groups of examples that may share a batch."""
        if self.split.lengths is None or self.split.mixes_lengths:
            return [len(self.split)]
        return self.split.lengths.unique(return_counts=True)[1].tolist()

    def _plan(self, epoch: int) -> None:
        """Shuffle the examples of the epoch and divide them into batches."""
        shuffle = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.split), generator=shuffle)
        lengths = self.split.lengths
        if lengths is None or self.split.mixes_lengths:
            parts = list(order.split(self.batch_size))
        else:
            order = order[lengths[order].argsort(stable=True)]
            groups = order.split(self._group_sizes())
            parts = [part for group in groups for part in group.split(self.batch_size)]
            parts = [parts[i] for i in torch.randperm(len(parts), generator=shuffle).tolist()]
        self._order = torch.cat(parts).to(self.device)
        self._stops = torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
        self._longest = [] if lengths is None else [int(lengths[part].max()) for part in parts]


def in_order(split: Split, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of all examples in order; stochastic data are sampled once, with the seed."""
    generator = torch.Generator(split.x.device).manual_seed(derive_seed(seed, "in_order"))
    for start in range(0, len(split), batch_size):
        yield split.gather(slice(start, start + batch_size), generator)
