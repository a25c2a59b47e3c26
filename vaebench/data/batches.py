"""Seeded batches: a batch is a pure function of (seed, epoch, index), so any position can be resumed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vaebench.data.spec import Split
from vaebench.seeding import derive_seed


class Batches:
    """Shuffled training batches, gathered and binarised on the device where the data live."""

    def __init__(self, split: Split, batch_size: int, seed: int) -> None:
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.device = split.x.device
        self._generator = torch.Generator(self.device)
        self._epoch: int | None = None
        self._order = torch.empty(0)

    def __len__(self) -> int:
        """Batches an epoch, the last one possibly smaller."""
        return -(-len(self.split) // self.batch_size)

    def __call__(self, epoch: int, index: int) -> Tensor:
        """Batch `index` of `epoch`, `[B, *shape]`."""
        if epoch != self._epoch:
            shuffle = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            self._order = torch.randperm(len(self.split), generator=shuffle).to(self.device)
            self._epoch = epoch
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        if self.split.stochastic:
            self._generator.manual_seed(derive_seed(self.seed, "binarise", epoch, index))
        return self.split.gather(chosen, self._generator)


def in_order(split: Split, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Every datum once, in its order; stochastic data are drawn once, by the seed."""
    generator = torch.Generator(split.x.device).manual_seed(derive_seed(seed, "in_order"))
    for start in range(0, len(split), batch_size):
        yield split.gather(slice(start, start + batch_size), generator)
