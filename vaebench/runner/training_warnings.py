"""What a training that goes wrong says of itself, while there is time to stop it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

COLLAPSED_KL = 0.1  # nats
OVERFLOWN_KL = 1e6  # nats, mean over an epoch: of 20 units, means of 300 standard deviations


def warn(epoch: int, train: Mapping[str, float], valid: Mapping[str, float]) -> None:
    """Log an epoch's alarms, given its training means and its validation.

    An overflow is told whenever there is one, a collapse, which stays, at the epochs 1, 2, 4, 8, ...
    """
    if train.get("kl", 0) > OVERFLOWN_KL:
        log.warning(
            "epoch %d: the mean KL of the training data was %.1e nats: means or log variances overflow; "
            "model.posterior.logvar_range=[-6,2] limits the latter",
            epoch, train["kl"],
        )  # fmt: skip
    if "active_units" not in valid:  # no code, or one datum
        return
    collapsed = valid["kl"] < COLLAPSED_KL or valid["active_units"] == 0
    if collapsed and epoch & (epoch - 1) == 0:
        log.warning(
            "epoch %d: the code hardly depends on the data (KL %.3f nats, %d active units): collapse?",
            epoch, valid["kl"], valid["active_units"],
        )  # fmt: skip
