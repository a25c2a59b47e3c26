"""Rate and distortion of probabilistic PCA, and what the figure's plane holds."""

import numpy as np
import pytest

from tests.evaluation.likelihood.test_bound import TOY, WRONG, kl, reconstruction
from vaebench.evaluation.likelihood.rate_distortion import RateDistortion, draw, limits
from vaebench.testing import make_context, measure, saved


def line(epoch: int) -> dict:
    """Lines of training with a loss of its own; in the validation split D = 90 / epoch and R = epoch."""
    train = {"loss": 7.0, "elbo": -7.0, "kl": 0.5}
    return {"epoch": epoch, "train": train, "valid": {"elbo": -90.0 / epoch - epoch, "kl": float(epoch)}}


def test_rate_and_distortion_equal_their_closed_forms(tmp_path):
    x = TOY.sample(200)
    numbers = measure(RateDistortion(num_samples=500), make_context(TOY.model(**WRONG), x, tmp_path))
    assert set(numbers) == {"rate_nats", "distortion_nats"}
    rate, distortion = kl(x, **WRONG).sum(1), -reconstruction(x, **WRONG)
    for name, values, draws_error in (("rate_nats", rate, 1e-5), ("distortion_nats", distortion, 0.03)):
        assert numbers[name].value == pytest.approx(float(values.mean()), abs=draws_error)
        assert numbers[name].standard_error == pytest.approx(float(values.std()) / 200**0.5, rel=0.02)
        assert numbers[name].n == 200


@pytest.mark.slow
@pytest.mark.parametrize("num_epochs", [0, 1, 12])
def test_the_validation_sets_epochs_are_filed_and_drawn(num_epochs, tmp_path):
    history = [line(epoch) for epoch in range(1, num_epochs + 1)]
    context = make_context(TOY.model(), TOY.sample(20), tmp_path, history=history)
    numbers = measure(RateDistortion(num_samples=5), context)
    arrays = saved(context, "rate_distortion")
    epochs = np.arange(1, num_epochs + 1)
    np.testing.assert_array_equal(arrays["epoch"], epochs)
    np.testing.assert_allclose(arrays["rate"], epochs)
    np.testing.assert_allclose(arrays["distortion"], 90 / epochs)
    assert (tmp_path / "figures/rate_distortion.png").read_bytes().startswith(b"\x89PNG")
    assert numbers["rate_nats"].n == 20


def test_lines_of_equal_elbo_join_points_whose_halves_have_one_sum():
    epochs = np.arange(1, 13)
    axis = draw({"epoch": epochs, "rate": epochs, "distortion": 90 / epochs}, 12.0, 7.0).axes[0]
    path, final, contours = axis.collections
    np.testing.assert_allclose(path.get_offsets(), np.stack([90 / epochs, epochs], 1))
    np.testing.assert_allclose(path.get_array(), epochs)
    np.testing.assert_allclose(final.get_offsets(), [[7.0, 12.0]])
    drawn = [
        (p.vertices, level) for p, level in zip(contours.get_paths(), contours.levels, strict=True) if len(p)
    ]
    assert len(drawn) > 3
    for points, level in drawn:
        np.testing.assert_allclose(points.sum(1), -level, atol=1e-3 * abs(level))


def test_the_first_epochs_may_lie_outside_and_the_end_never_does():
    epochs = np.arange(1, 21)
    path = {"epoch": epochs, "rate": 1.0 * epochs, "distortion": np.where(epochs < 3, 1000.0, 50.0)}
    found = limits(path, rate=25.0, distortion=40.0)
    np.testing.assert_allclose(found["xlim"], (39.0, 51.0))
    np.testing.assert_allclose(found["ylim"], (3 - 2.2, 25 + 2.2))
    alone = limits({name: np.zeros(0) for name in path}, rate=25.0, distortion=40.0)
    np.testing.assert_allclose(alone["xlim"], (39.9, 40.1))
