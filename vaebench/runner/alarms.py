"""What a training that goes wrong says of itself, while there is time to stop it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

COLLAPSED_KL = 0.1  # nats
OVERFLOWN_KL = 1e6  # nats, mean over an epoch: what data of this size could never need


def warn(epoch: int, train: Mapping[str, float], valid: Mapping[str, float]) -> None:
    """Log every alarm, at the epochs 1, 2, 4, 8, ..."""
    if epoch & (epoch - 1) == 0:
        for alarm in alarms(train, valid):
            log.warning("epoch %d: %s", epoch, alarm)


def alarms(train: Mapping[str, float], valid: Mapping[str, float]) -> Iterator[str]:
    """Of an epoch's training means and its validation."""
    if train.get("kl", 0) > OVERFLOWN_KL:
        yield (
            f"the mean KL of the training data was {train['kl']:.1e} nats: log variances overflow; "
            "model/posterior=diagonal_clamped keeps them within limits"
        )
    if "active_units" not in valid:  # no code, or one datum
        return
    if valid["kl"] < COLLAPSED_KL or valid["active_units"] == 0:
        kl, units = valid["kl"], valid["active_units"]
        yield f"the code hardly depends on the data (KL {kl:.3f} nats, {units} active units): collapse?"
