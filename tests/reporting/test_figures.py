"""Figures of runs with known numbers."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imsave

from tests.reporting.madeup import paper, put_both, put_run
from vaebench.reporting.figures import DRAWN_BY, draw
from vaebench.reporting.montage import montage
from vaebench.reporting.papers import Figure, load_papers
from vaebench.reporting.plots import bars, layers, lines, over_models, plane
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs

PROPAGATION = load_papers()["propagation"]
RNG = np.random.default_rng(0)


def put_models(outputs: Path, estimates: np.ndarray) -> None:
    """Write a run per model; estimates are `[models, classifiers, decoders, layers]`."""
    for seed, estimate in enumerate(estimates):
        folder = put_run(outputs, PROPAGATION.rows["fig1"], seed=seed, propagation_kl_code=1.0)
        kinds = dict.fromkeys(("kl", "marginal_kl", "mi", "kl_exact"), estimate)
        np.savez(folder / "arrays/propagation.npz", decoders=["trained", "random"], **kinds)


def test_models_are_independent_and_classifiers_of_one_are_not(tmp_path: Path) -> None:
    model_means = RNG.normal(4, 1, (3, 1, 2, 4))
    estimates = model_means + RNG.normal(0, 0.01, (3, 5, 2, 4))
    put_models(tmp_path, estimates)
    report = make_report({"propagation": PROPAGATION}, list(find_runs(tmp_path))).targets["propagation-fig1"]
    assert report.target.figure is not None
    canvas = layers(report, report.target.figure)
    assert canvas is not None
    trained = canvas.axes[0].containers[0]
    means = [np.mean([estimates[m, :, 0, k].mean() for m in range(3)]) for k in range(4)]
    errors = [np.std([estimates[m, :, 0, k].mean() for m in range(3)], ddof=1) / 3**0.5 for k in range(4)]
    assert np.allclose(trained[0].get_ydata(), means)
    bars = [(high - low) / 2 for (_, low), (_, high) in trained[2][0].get_segments()]
    assert np.allclose(bars, errors)


def test_of_one_model_the_error_is_over_its_classifiers() -> None:
    estimates = RNG.normal(size=(5, 2, 4))
    mean, error = over_models([estimates])
    assert np.allclose(mean, estimates.mean(0))
    assert error is not None
    assert error[1, 2] == pytest.approx(estimates[:, 1, 2].std(ddof=1) / 5**0.5)
    assert over_models([estimates[:1]])[1] is None


@pytest.mark.parametrize("stacked", [True, False])
def test_a_montage_has_a_column_for_each_row_of_the_table_or_a_line_if_stacked(
    tmp_path: Path, stacked: bool
) -> None:
    """SCVAE has one of two pictures; the place of the other stays empty."""
    put_both(tmp_path, 90.0, 88.0, seeds=1)
    grey = {("vae", "wide"): 0.2, ("vae", "tall"): 0.4, ("scvae", "tall"): 0.8}
    for (row, name), value in grey.items():
        (folder,) = tmp_path.glob(f"*/{row}/*/*/v0")
        (folder / "figures").mkdir(exist_ok=True)
        size = (10, 40) if name == "wide" else (40, 10)
        imsave(folder / f"figures/{name}.png", np.full(size, value), cmap="gray", vmin=0, vmax=1)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path))).targets["mine-table1"]
    canvas = montage(
        report, Figure(kind="montage", rows=("vae", "scvae"), pictures=("wide", "tall"), stacked=stacked)
    )
    assert canvas is not None
    shown = {}
    for axis in canvas.axes:
        spec = axis.get_subplotspec()
        assert spec is not None
        place = (
            (spec.rowspan.start, spec.colspan.start) if stacked else (spec.colspan.start, spec.rowspan.start)
        )
        for image in axis.images:
            values = np.asarray(image.get_array())
            shown[place] = (values.shape[:2], round(float(values[0, 0, 0]), 1))
    assert shown == {(0, 0): ((10, 40), 0.2), (0, 1): ((40, 10), 0.4), (1, 1): ((40, 10), 0.8)}


def test_lines_keep_the_papers_axis_whatever_has_run(tmp_path: Path) -> None:
    """The figure shows points that have run, and no series without points."""
    put_run(tmp_path, paper().rows["vae"], nll_nats=90.0)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path))).targets["mine-table1"]
    series = {"not run": {1.0: "scvae"}, "in part": {3.0: "vae", 11.0: "scvae"}}
    canvas = lines(report, Figure(kind="lines", measures=("nll_nats",), x="layers", series=series))
    assert canvas is not None
    (axis,) = canvas.axes
    (drawn,) = axis.containers
    assert drawn.get_label() == "in part"
    assert drawn[0].get_xydata().tolist() == [[3, 90]]
    assert axis.get_xticks().tolist() == [1, 3, 11]
    low, high = axis.get_xlim()
    assert low < 1 < 11 < high


def test_bars_are_the_numbers_of_the_rows_that_have_them(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=90.0, kl=5.0, error=0.25)
    put_run(tmp_path, paper().rows["scvae"], nll_nats=88.0)  # without a KL: no group
    report = make_report({"mine": paper()}, list(find_runs(tmp_path))).targets["mine-table1"]
    canvas = bars(report, Figure(kind="bars", rows=("vae", "scvae"), measures=("nll_nats", "kl")))
    assert canvas is not None
    (axis,) = canvas.axes
    assert [patch.get_height() for patch in axis.patches] == [90, 5]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["VAE"]
    segments = [line for line in axis.collections if isinstance(line, LineCollection)]
    assert np.allclose(segments[0].get_segments()[0][:, 1], [89.75, 90.25])


def test_a_figure_is_of_one_tier_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure shows the tier with most rows; a tie goes to the better tier."""
    figure = Figure(kind="bars", rows=("vae", "scvae"), measures=("nll_nats",))
    target = paper().targets["table1"].model_copy(update={"figure": figure})
    mine = paper().model_copy(update={"targets": {"table1": target}})

    def drawn() -> tuple[list[float], str]:
        report = make_report({"mine": mine}, list(find_runs(tmp_path))).targets["mine-table1"]
        kept: list[Canvas] = []
        monkeypatch.setitem(DRAWN_BY, "bars", lambda *args: kept.append(bars(*args)) or kept[-1])
        assert draw(report)
        heights = [patch.get_height() for patch in kept[0].axes[0].patches]
        return heights, kept[0].get_suptitle()

    put_run(tmp_path, paper().rows["vae"], "full", nll_nats=70.0)
    assert drawn() == ([70], "")
    put_run(tmp_path, paper().rows["scvae"], "reduced", nll_nats=88.0)
    assert drawn() == ([70], "without SCVAE, which has run at tier reduced")
    put_run(tmp_path, paper().rows["vae"], "reduced", nll_nats=90.0)
    assert drawn() == ([90, 88], "tier reduced")
    put_run(tmp_path, paper().rows["scvae"], "full", nll_nats=69.0)
    assert drawn() == ([70, 69], "")


def test_a_row_is_in_the_plane_where_its_numbers_are(tmp_path: Path) -> None:
    """Isotropic Gaussians lie on the curve N tr J = D, here with D = 50."""
    put_run(tmp_path, paper().rows["vae"], posterior_fisher=100.0, entropy_power=0.5)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path))).targets["mine-table1"]
    canvas = plane(report, Figure(kind="plane", rows=("vae", "scvae")))
    assert canvas is not None
    left, _ = canvas.axes
    (point,) = (container[0].get_xydata() for container in left.containers)
    assert point.tolist() == [[100, 0.5]]
    (curve,) = (line.get_xydata() for line in left.lines if line.get_linestyle() == "--")
    assert np.allclose(curve[:, 0] * curve[:, 1], 50)
