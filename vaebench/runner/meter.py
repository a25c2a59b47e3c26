"""Running means of what a step logs, kept on the device and read once an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaebench.errors import UserError


class NotFiniteError(UserError):
    """A quantity of the training became infinite or NaN; the message names it and the step."""


class Meter:
    """Means over the data of named scalars, and the first step at which each was not finite."""

    def __init__(self, device: torch.device) -> None:
        # MPS has no float64; a sum of a thousand float32 batches keeps five digits.
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.device = device
        self.names: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        size = len(self.names)
        self.sums = torch.zeros(size, dtype=self.dtype, device=self.device)
        self.bad_batches = torch.zeros(size, dtype=torch.int64, device=self.device)
        self.first_bad = torch.zeros(size, dtype=torch.int64, device=self.device)
        self.count = 0

    def add(self, values: Mapping[str, Tensor], size: int, step: Tensor) -> None:
        """Add the means over a batch of `size`, taken at `step`; waits for nothing."""
        if not self.names:
            self.names = tuple(values)
            self.reset()
        vector = torch.stack([values[name].detach() for name in self.names]).to(self.dtype)
        bad = ~torch.isfinite(vector)
        self.sums.add_(vector, alpha=size)
        self.first_bad = torch.where(bad & (self.bad_batches == 0), step, self.first_bad)
        self.bad_batches += bad
        self.count += size

    def read(self) -> dict[str, float]:
        """The means since the last reset. Raises NotFiniteError."""
        bad = self.bad_batches.tolist()
        if any(bad):
            steps = self.first_bad.tolist()
            step, name = min((s, name) for s, name, n in zip(steps, self.names, bad, strict=True) if n)
            raise NotFiniteError(
                f"{name} was not finite at step {step}. Usual remedies: a smaller training.optimizer.lr, "
                f"training.clip_grad_norm=1, model.posterior.logvar_range=[-6,2]."
            )
        means = (self.sums / max(self.count, 1)).tolist()
        return dict(zip(self.names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        tensors = {"sums": self.sums, "bad_batches": self.bad_batches, "first_bad": self.first_bad}
        return {"names": list(self.names), "count": self.count, **tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.names = tuple(state["names"])
        self.count = state["count"]
        for name in ("sums", "bad_batches", "first_bad"):
            setattr(self, name, state[name].to(self.device))
