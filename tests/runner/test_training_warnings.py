"""A training says when it goes wrong."""

import pytest

from vaebench.runner.training_warnings import warn

HEALTHY = {"kl": 20.0, "active_units": 12}


@pytest.mark.parametrize(
    ("train", "valid", "told"),
    [
        ({"kl": 20.0}, HEALTHY, []),
        ({"loss": 90.0}, {"elbo": -90.0}, []),  # no code
        ({"kl": 20.0}, {"kl": 0.05, "active_units": 3}, ["collapse?"]),
        ({"kl": 20.0}, {"kl": 5.0, "active_units": 0}, ["KL 5.000 nats, 0 active units"]),
        ({"kl": 3e11}, HEALTHY, ["3.0e+11 nats: posterior means or log variances overflow"]),
        ({"kl": 3e11}, {"kl": 2.0, "active_units": 0}, ["logvar_range", "collapse?"]),
    ],
)
def test_alarms(
    train: dict[str, float], valid: dict[str, float], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    warn(1, train, valid)
    assert len(caplog.records) == len(told)
    for record, part in zip(caplog.records, told, strict=True):
        assert part in record.getMessage()


def test_an_overflow_is_told_at_every_epoch_and_a_collapse_is_not(caplog: pytest.LogCaptureFixture) -> None:
    for epoch in range(1, 10):
        warn(epoch, {"kl": 20.0 if epoch < 7 else 3e11}, {"kl": 0.0, "active_units": 0})
    told = [record.getMessage() for record in caplog.records]
    assert [text[:7] for text in told if "collapse?" in text] == ["epoch 1", "epoch 2", "epoch 4", "epoch 8"]
    assert [text[:7] for text in told if "overflow" in text] == ["epoch 7", "epoch 8", "epoch 9"]
