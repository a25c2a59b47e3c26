"""Polyak averaging: what a training judges and keeps are averages of the weights that it moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


@runtime_checkable
class Averages(Protocol):
    """An optimiser that keeps averages of the weights it moves, in its `state_dict`."""

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the weights are their averages."""
        ...


def weights_to_keep(optimizer: Optimizer) -> AbstractContextManager[None]:
    """Within, the model has the weights to validate and keep: averages, where the optimiser has them."""
    return optimizer.averaged() if isinstance(optimizer, Averages) else nullcontext()


class AveragedAdam(Adam):
    """Adam that averages the weights w which it moves: after step t, a <- a + (1 - d) / (1 - d^t) (w - a).

    That is the mean of the weights after the steps so far, each counted `decay` = d times as much as the next
    (Polyak & Juditsky 1992, as in PixelCNN++'s code, whose average also keeps d^t of what is before the first
    step). Buffers, as the running moments of batch normalisation, are not averaged.
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
        """Copied in and out, so that whoever holds the weights' memory, as a CUDA graph does, sees them."""
        moved = [weights for group in self.param_groups for weights in self._moved(group)]
        before = [weights.detach().clone() for weights in moved]
        _copy(moved, self._averages(moved))
        try:
            yield
        finally:
            _copy(moved, before)

    def _moved(self, group: dict[str, Any]) -> list[Tensor]:
        """Those weights of a group that had a gradient so far."""
        return [weights for weights in group["params"] if weights in self.state]

    def _averages(self, moved: list[Tensor]) -> list[Tensor]:
        return [self.state[weights]["average"] for weights in moved]


@torch.no_grad()
def _copy(weights: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(weights, values)
