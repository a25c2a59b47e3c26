"""A training says when it goes wrong."""

import logging

import pytest

from vaebench.runner.alarms import alarms, warn

HEALTHY = {"kl": 20.0, "active_units": 12}


@pytest.mark.parametrize(
    ("train", "valid", "told"),
    [
        ({"kl": 20.0}, HEALTHY, []),
        ({"loss": 90.0}, {"elbo": -90.0}, []),  # no code
        ({"kl": 20.0}, {"kl": 0.05, "active_units": 3}, ["collapse?"]),
        ({"kl": 20.0}, {"kl": 5.0, "active_units": 0}, ["KL 5.000 nats, 0 active units"]),
        ({"kl": 3e11}, HEALTHY, ["3.0e+11 nats: log variances overflow"]),
        ({"kl": 3e11}, {"kl": 2.0, "active_units": 0}, ["diagonal_clamped", "collapse?"]),
    ],
)
def test_alarms(train: dict[str, float], valid: dict[str, float], told: list[str]) -> None:
    found = list(alarms(train, valid))
    assert len(found) == len(told)
    for text, part in zip(found, told, strict=True):
        assert part in text


def test_an_alarm_is_not_repeated_at_every_epoch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for epoch in range(1, 10):
            warn(epoch, {"kl": 20.0}, {"kl": 0.0, "active_units": 0})
    assert [record.getMessage()[:8] for record in caplog.records] == [f"epoch {k}:" for k in (1, 2, 4, 8)]
