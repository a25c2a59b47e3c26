"""Warnings about divergence and posterior collapse, logged during training."""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

COLLAPSED_KL = 0.1  # nats
OVERFLOWN_KL = (
    1e6  # nats, mean over an epoch; of 20 units, each posterior mean 300 standard deviations from 0
)


def warn(epoch: int, train: Mapping[str, float], valid: Mapping[str, float]) -> None:
    """Log the warnings of an epoch, from its training means and its validation numbers.

    An overflow is logged at every epoch that has one, a collapse, which persists, at epochs 1, 2, 4, 8, ...
    """
    if train.get("kl", 0) > OVERFLOWN_KL:
        log.warning(
            "epoch %d: the mean KL of the training data was %.1e nats: posterior means or log variances "
            "overflow; model.posterior.logvar_range=[-6,2] bounds the log variances",
            epoch, train["kl"],
        )  # fmt: skip
    if "active_units" not in valid:  # no code, or a single validation example
        return
    collapsed = valid["kl"] < COLLAPSED_KL or valid["active_units"] == 0
    if collapsed and epoch & (epoch - 1) == 0:
        log.warning(
            "epoch %d: posterior collapse? The code hardly depends on the data (KL %.3f nats, %d active "
            "units); a longer KL warm-up or free bits (model.objective) may prevent it",
            epoch, valid["kl"], valid["active_units"],
        )  # fmt: skip
