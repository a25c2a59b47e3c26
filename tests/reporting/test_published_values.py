"""Verdicts on published numbers, by number, sign, seeds, tier and dataset."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.madeup import TEST_POINTS, cell, paper, put, put_both, put_run, remeasure
from vaebench.reporting.papers import load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs

PAPERS = load_papers()
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("vae", "scvae", "how", "verdict"),
    [
        (88.0, 80.4, {}, "agrees"),
        (88.0, 80.8, {}, "direction agrees"),
        (88.0, 90.0, {}, "differs"),
        (79.0, 80.4, {}, "agrees"),  # a number within the tolerance agrees, whatever the reference row does
        (88.0, 80.4, {"seeds": 1}, "agrees"),
        (88.0, 80.2, {"tier": "reduced"}, "direction agrees"),
        (79.0, 80.2, {"tier": "reduced"}, "differs"),
        (88.0, 80.2, {"tier": "smoke"}, "not comparable"),
        (88.0, 80.2, {"dataset": "elsewhere"}, "not run"),
    ],
)
def test_a_cell(tmp_path: Path, vae: float, scvae: float, how: dict, verdict: str) -> None:
    put_both(tmp_path, vae, scvae, **how)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert found.verdict == verdict
    if verdict != "not run":
        assert found.ours == pytest.approx(scvae)
        assert found.difference == pytest.approx(scvae - 80.19)
        assert found.standard_error == pytest.approx(0.1 / 3**0.5 if len(found.seeds) == 3 else 0.1)


@pytest.mark.parametrize(
    ("scvae", "spread", "verdict"),
    [
        (80.2, 0.86, "agrees"),  # the standard error is spread / sqrt(3), the tolerance 0.5
        (80.2, 0.87, "not comparable"),
        (81.2, 0.87, "direction agrees"),
        (97.0, 0.87, "differs"),
        (89.0, 0.87, "not comparable"),  # one standard error from the VAE: direction undecided
    ],
)
def test_a_number_that_is_less_certain_than_the_tolerance_cannot_agree(
    tmp_path: Path, scvae: float, spread: float, verdict: str
) -> None:
    put_both(tmp_path, 88.0, scvae, spread=spread)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert found.verdict == verdict
    assert ("the standard error exceeds the tolerance" in found.notes) == (spread == 0.87)


@pytest.mark.parametrize(("better_by", "verdict"), [(5.0, "direction agrees"), (0.1, "not comparable")])
def test_a_direction_is_as_sure_as_a_claim(tmp_path: Path, better_by: float, verdict: str) -> None:
    """Each NLL has an error of 1 nat; the paired difference is much more certain."""
    points = RNG.normal(88, 14, TEST_POINTS)
    noise = RNG.normal(0, 2.8, TEST_POINTS)
    for row, values in (("vae", points), ("scvae", points - better_by + noise - noise.mean())):
        put_run(tmp_path, paper().rows[row], "reduced", points=values, error=1.0)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert found.verdict == verdict
    assert any("% of draws have the published direction" in note for note in found.notes) == (
        verdict == "not comparable"
    )


def test_one_seed_without_any_error_has_no_direction(tmp_path: Path) -> None:
    for row, value in (("vae", 88.0), ("scvae", 80.0)):
        put_run(tmp_path, paper().rows[row], "reduced", nll_nats=value, error=None)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert found.verdict == "not comparable"
    assert "direction undecided: one seed, and no standard error over test examples" in found.notes
    for row, value in (("vae", 88.0), ("scvae", 80.0)):
        put_run(tmp_path, paper().rows[row], "reduced", seed=1, nll_nats=value + 1, error=None)
    assert cell(tmp_path, "scvae", vae=87.89, scvae=80.19).verdict == "direction agrees"


def test_rows_without_a_seed_in_common_have_no_direction(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], "reduced", seed=0, nll_nats=88.0)
    put_run(tmp_path, paper().rows["scvae"], "reduced", seed=1, nll_nats=80.0)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert found.verdict == "not comparable"
    assert "no seed in common with the reference row" in found.notes


def test_the_error_of_one_seed_counts_too_and_none_is_exact(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    folder = put_run(tmp_path, row, nll_nats=87.9, error=0.6)
    assert cell(tmp_path, "vae", vae=87.89).verdict == "not comparable"
    remeasure(folder, "nll_nats", standard_error=float("nan"))
    assert cell(tmp_path, "vae", vae=87.89).verdict == "not comparable"
    remeasure(folder, "nll_nats", standard_error=None)
    assert cell(tmp_path, "vae", vae=87.89).verdict == "agrees"


def test_a_number_over_fewer_data_says_so(tmp_path: Path) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=87.9, elbo=-88.0)
    found = cell(tmp_path, "vae", vae=87.89)
    assert (found.n, found.num_samples) == (TEST_POINTS, 500)
    assert not any("n = " in note for note in found.notes)
    remeasure(folder, "nll_nats", n=TEST_POINTS // 2)
    assert not any("n = " in note for note in cell(tmp_path, "vae", vae=87.89).notes)  # n of what?
    results = json.loads((folder / "results.json").read_text())
    results["evaluations"][0]["settings"]["num_data"] = TEST_POINTS // 2
    put(folder / "results.json", results)
    found = cell(tmp_path, "vae", vae=87.89)
    assert found.n == TEST_POINTS // 2
    assert "S = 500, n = 100 of the row's 200 test examples" in found.notes


def test_a_baseline_at_a_lower_tier_has_nothing_to_agree_with(tmp_path: Path) -> None:
    put_both(tmp_path, 87.9, 80.2, tier="reduced")
    assert cell(tmp_path, "vae", vae=87.89, scvae=80.19).verdict == "not comparable"


def test_a_figure_has_nothing_to_compare_with(tmp_path: Path) -> None:
    put_both(tmp_path, 87.9, 80.2)
    found = cell(tmp_path, "vae")
    assert (found.verdict, found.published) == ("not comparable", None)


@pytest.mark.slow
def test_a_stand_in_for_the_data_is_marked_and_never_agrees(tmp_path: Path) -> None:
    content = PAPERS["skipvae"]
    for row, kl in (("table3_skip_l2", 26.35), ("table3_vae_l2", 24.23)):
        put_run(tmp_path, content.rows[row], dataset="mnist_static_seeded", kl=kl)
    report = make_report({"skipvae": content}, list(find_runs(tmp_path)))
    found = report.targets["skipvae-table3"].cells["table3_skip_l2", "KL"]
    assert (found.verdict, found.variant) == ("direction agrees", "mnist_static_seeded")
    claim = report.targets["skipvae-table3"].claims[0]
    assert claim.verdict == "not run"  # of three depths one is there


def test_the_best_tier_counts(tmp_path: Path) -> None:
    put_both(tmp_path, 88.0, 80.2, tier="reduced")
    put_both(tmp_path, 88.0, 85.0)
    found = cell(tmp_path, "scvae", vae=87.89, scvae=80.19)
    assert (found.tier, found.ours) == ("full", pytest.approx(85.0))
