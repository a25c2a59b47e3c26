"""Running means of the numbers that each step logs, kept on the device and read once per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaebench.errors import UserError

REMEDIES = (
    "Usual remedies: a smaller training.optimizer.lr, training.clip_grad_norm=1, "
    "model.posterior.logvar_range=[-6,2]."
)


class NotFiniteError(UserError):
    """Infinite or NaN quantity of the training; the message names it and the step."""


class Meter:
    """Means of named scalars over the training examples, and the first step at which one was not finite."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        self.rows: list[Tensor] = []
        """The numbers of each batch, `[number of names]`, on the device."""
        self.sizes: list[int] = []
        self.steps: list[int] = []

    def add(self, values: Mapping[str, Tensor], size: int, step: int) -> None:
        """Add the means over a batch of `size` examples at `step`, without waiting for the device."""
        self.names = self.names or tuple(values)
        self.rows.append(torch.stack([values[name].detach() for name in self.names]))
        self.sizes.append(size)
        self.steps.append(step)

    def read(self) -> dict[str, float]:
        """Return the means since the last reset. Raises NotFiniteError if a value is not finite."""
        if not self.rows:
            return {}
        rows = torch.stack(self.rows).cpu().double()
        bad = (~torch.isfinite(rows)).nonzero()
        if len(bad):
            batch, name = bad[0].tolist()
            raise NotFiniteError(f"{self.names[name]} was not finite at step {self.steps[batch]}. {REMEDIES}")
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        means = (sizes @ rows / sizes.sum()).tolist()
        return dict(zip(self.names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        rows = torch.stack(self.rows).cpu() if self.rows else torch.empty(0)
        return {"names": list(self.names), "rows": rows, "sizes": self.sizes, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.names = tuple(state["names"])
        self.rows = list(state["rows"].to(self.device))
        self.sizes, self.steps = list(state["sizes"]), list(state["steps"])
