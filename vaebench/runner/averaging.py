"""Polyak averaging: training validates and keeps averages of the weights that it optimises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


@runtime_checkable
class Averages(Protocol):
    """Optimiser that keeps averages of the weights it optimises, in its `state_dict`."""

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context within which the model has the averaged weights."""
        ...


def weights_to_keep(optimizer: Optimizer) -> AbstractContextManager[None]:
    """Return a context within which the model has the weights to validate and keep.

    These are the averages if the optimiser keeps averages, otherwise the current weights.
    """
    return optimizer.averaged() if isinstance(optimizer, Averages) else nullcontext()


class AveragedAdam(Adam):
    """Adam that averages its weights w: after step t, a <- a + (1 - d) / (1 - d^t) (w - a), d = `decay`.

    The average a is the weighted mean of the weights after each step so far; each step has d times the weight
    of the next (Polyak & Juditsky 1992). PixelCNN++'s code does the same, but also gives weight d^t to the
    initial weights. Buffers, such as the running moments of batch normalisation, are not averaged.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float, **options: Any) -> None:
        super().__init__(parameters, **options)
        for group in self.param_groups:
            group |= {"decay": decay, "num_averaged": 0}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            group["num_averaged"] += 1  # on the host: Adam's own count is on the device
            share = (1 - group["decay"]) / (1 - group["decay"] ** group["num_averaged"])
            moved = self._moved(group)
            for weights in moved:
                if "average" not in self.state[weights]:
                    self.state[weights]["average"] = weights.clone()
            torch._foreach_lerp_(self._averages(moved), moved, share)
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages into the model within the context, and the current weights back after it.

        They are copied in place, so that a CUDA graph, which holds the weights' memory, reads them.
        """
        moved = [weights for group in self.param_groups for weights in self._moved(group)]
        before = [weights.detach().clone() for weights in moved]
        _copy(moved, self._averages(moved))
        try:
            yield
        finally:
            _copy(moved, before)

    def _moved(self, group: dict[str, Any]) -> list[Tensor]:
        """Return the weights of a group that have had a gradient so far."""
        return [weights for weights in group["params"] if weights in self.state]

    def _averages(self, moved: list[Tensor]) -> list[Tensor]:
        return [self.state[weights]["average"] for weights in moved]


@torch.no_grad()
def _copy(weights: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(weights, values)
