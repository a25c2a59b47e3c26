"""Verdicts on made-up runs: a number, sign, seed, tier or dataset is changed, and the verdict with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting.madeup import TEST_POINTS, paper, put_run
from vaebench.reporting.claims import ClaimVerdict
from vaebench.reporting.collect import find_runs
from vaebench.reporting.compare import Cell, make_report
from vaebench.reporting.papers import Tier, load_papers

PAPERS = load_papers()
BOTH = ["vae", "scvae"]
RNG = np.random.default_rng(0)
BETTER = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]]}}


def put_both(
    outputs: Path,
    vae: float,
    scvae: float,
    seeds: int = 3,
    spread: float = 0.1,
    tier: Tier = "full",
    dataset: str | None = None,
    **numbers: float,
) -> None:
    """Runs of both rows; over seeds their NLLs move against each other, `spread` from one to the next."""
    rows = paper().rows
    for seed in range(seeds):
        shift = spread * (seed - (seeds - 1) / 2)
        put_run(outputs, rows["vae"], tier, seed, dataset=dataset, nll_nats=vae + shift, **numbers)
        put_run(outputs, rows["scvae"], tier, seed, dataset=dataset, nll_nats=scvae - shift, **numbers)


def cell(outputs: Path, row: str, **published: float) -> Cell:
    report = make_report({"mine": paper(**published)}, list(find_runs(outputs)))
    return report.targets["mine-table1"].cells[row, "NLL"]


def claim(outputs: Path, statement: dict[str, Any]) -> ClaimVerdict:
    report = make_report({"mine": paper(statement)}, list(find_runs(outputs)))
    (found,) = report.targets["mine-table1"].claims
    return found


@pytest.mark.parametrize(
    ("vae", "scvae", "how", "verdict"),
    [
        (88.0, 80.4, {}, "agrees"),
        (88.0, 80.8, {}, "direction agrees"),
        (88.0, 90.0, {}, "differs"),
        (79.0, 80.4, {}, "agrees"),  # what is within the tolerance agrees, whatever the baseline does
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


def test_a_baseline_at_a_lower_tier_has_nothing_to_agree_with(tmp_path: Path) -> None:
    put_both(tmp_path, 87.9, 80.2, tier="reduced")
    assert cell(tmp_path, "vae", vae=87.89, scvae=80.19).verdict == "not comparable"


def test_a_figure_has_nothing_to_compare_with(tmp_path: Path) -> None:
    put_both(tmp_path, 87.9, 80.2)
    found = cell(tmp_path, "vae")
    assert (found.verdict, found.published) == ("not comparable", None)


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


@pytest.mark.parametrize(
    ("vae", "scvae", "how", "verdict"),
    [
        (88.0, 85.0, {}, "reproduced"),
        (85.0, 88.0, {}, "not reproduced"),
        (88.0, 87.99, {"spread": 1.0}, "inconclusive"),
        (88.0, 85.0, {"tier": "reduced"}, "reproduced"),
        (88.0, 85.0, {"tier": "smoke"}, "inconclusive"),
        (88.0, 85.0, {"seeds": 1}, "reproduced"),
    ],
)
def test_a_claim(tmp_path: Path, vae: float, scvae: float, how: dict, verdict: str) -> None:
    put_both(tmp_path, vae, scvae, **how)
    found = claim(tmp_path, BETTER)
    assert found.verdict == verdict
    assert found.tier == how.get("tier", "full")
    assert ("tier reduced" in found.notes) == (found.tier == "reduced")
    assert any("one seed" in note for note in found.notes) == (how.get("seeds") == 1)


def test_a_claim_without_one_of_its_rows_has_not_run(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    found = claim(tmp_path, BETTER)
    assert (found.verdict, found.confidence, found.notes) == ("not run", None, ("missing: scvae",))


def test_rows_at_different_tiers_are_not_compared(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], "full", nll_nats=88.0)
    put_run(tmp_path, paper().rows["scvae"], "reduced", nll_nats=80.0)
    assert claim(tmp_path, BETTER).verdict == "not run"


def test_seeds_that_only_one_row_has_do_not_count(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], seed=0, nll_nats=88.0)
    put_run(tmp_path, paper().rows["scvae"], seed=1, nll_nats=80.0)
    found = claim(tmp_path, BETTER)
    assert (found.verdict, found.seeds) == ("inconclusive", ())
    put_run(tmp_path, paper().rows["scvae"], seed=0, nll_nats=80.0)
    assert claim(tmp_path, BETTER).seeds == (0,)


def test_one_seed_without_any_error_decides_nothing(tmp_path: Path) -> None:
    for row, value in (("vae", 88.0), ("scvae", 80.0)):
        put_run(tmp_path, paper().rows[row], nll_nats=value, error=None)
    assert claim(tmp_path, BETTER).verdict == "inconclusive"


def test_test_points_decide_what_their_mean_could_not(tmp_path: Path) -> None:
    points = RNG.normal(88, 12, TEST_POINTS)
    put_run(tmp_path, paper().rows["vae"], points=points, error=12 / TEST_POINTS**0.5)
    put_run(tmp_path, paper().rows["scvae"], points=points - 0.1, error=12 / TEST_POINTS**0.5)
    assert claim(tmp_path, BETTER).verdict == "reproduced"
    for file in tmp_path.rglob("nll_*.npz"):
        file.unlink()
    assert claim(tmp_path, BETTER).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ({"within": {"measure": "nll_nats", "rows": ["vae"], "low": 87, "high": 89}}, "reproduced"),
        ({"within": {"measure": "nll_nats", "rows": ["vae"], "low": 89}}, "not reproduced"),
        ({"within": {"measure": "nll_nats", "rows": ["vae", "scvae"], "high": 87}}, "not reproduced"),
        ({"ordered": {"measure": "nll_nats", "rows": ["vae", "scvae"], "direction": "falls"}}, "reproduced"),
        ({"ordered": {"measure": "nll_nats", "rows": BOTH, "direction": "rises"}}, "not reproduced"),
        ({"steady": {"measure": "nll_nats", "rows": ["vae", "scvae"], "factor": 1.2}}, "reproduced"),
        ({"steady": {"measure": "nll_nats", "rows": ["vae", "scvae"], "factor": 1.01}}, "not reproduced"),
        ({"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]], "by": 5}}, "not reproduced"),
        ({"within": {"measure": "nll_nats / kl", "rows": ["vae"], "low": 21, "high": 23}}, "reproduced"),
        ({"within": {"measure": "nll_nats / kl", "rows": ["vae"], "high": 1}}, "not reproduced"),
        ({"within": {"measure": "nll_nats - kl", "rows": ["vae"], "low": 83, "high": 85}}, "reproduced"),
    ],
)  # fmt: skip
def test_each_kind_of_statement(tmp_path: Path, statement: dict, verdict: str) -> None:
    put_both(tmp_path, 88.0, 85.0, kl=4.0)
    assert claim(tmp_path, statement).verdict == verdict


def test_a_run_with_another_setting_is_no_row_and_one_from_before_an_option_is(tmp_path: Path) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    config = folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("latent_dim: 50", "latent_dim: 51"))
    assert cell(tmp_path, "vae", vae=88.0).verdict == "not run"
    config.write_text(text.replace("    bridge: identity\n", ""))
    found = cell(tmp_path, "vae", vae=88.0)
    assert found.verdict == "agrees"
    assert any(note.startswith("run before there was model.decoder.bridge") for note in found.notes)


def test_what_cannot_be_read_or_is_there_twice_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    put_both(tmp_path, 88.0, 80.2)
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, version="v1", nll_nats=87.9)
    newer = put_run(tmp_path, row, seed=7, nll_nats=1.0)
    (newer / "results.json").write_text(
        (newer / "results.json").read_text().replace('"schema_version": 1', '"schema_version": 99')
    )
    half = put_run(tmp_path, row, seed=8, nll_nats=1.0)
    (half / "results.json").write_text((half / "results.json").read_text()[:100])
    lacking = put_run(tmp_path, row, seed=9, nll_nats=1.0)
    (lacking / "results.json").write_text('{"schema_version": 1}')
    report = make_report({"mine": paper(vae=87.89, scvae=80.19)}, list(find_runs(tmp_path)))
    told = "\n".join(report.problems)
    for folder, why in ((newer, "schema version 99"), (half, "not valid JSON"), (lacking, "incomplete")):
        assert str(folder.relative_to(tmp_path)) in told
        assert why in told
    assert "seed0/v0: the same row and seed as" in told
    found = report.targets["mine-table1"].cells["vae", "NLL"]
    assert set(found.seeds) == {0, 1, 2}
    assert found.ours == pytest.approx((87.9 + 88.0 + 88.1) / 3)


def test_the_measurement_over_the_most_data_counts(tmp_path: Path) -> None:
    from vaebench.reporting.collect import numbers_of

    def entry(name: str, value: float, n: int, samples: int) -> dict:
        measurement = {"name": "nll_nats", "value": value, "standard_error": 0.1, "unit": "nats", "n": n}
        return {"name": name, "settings": {"num_samples": samples}, "measurements": [measurement]}

    easy = entry("nll_5000", 90.5, 1000, 5000)
    whole, longer = entry("nll", 91.6, 10000, 500), entry("nll", 91.2, 10000, 5000)
    assert numbers_of({"evaluations": [whole, easy]})["nll_nats"].value == 91.6
    assert numbers_of({"evaluations": [easy, longer, whole]})["nll_nats"].value == 91.2


def test_a_run_that_has_no_number_yet_is_no_seed(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, nll_nats=90.0)
    put_run(tmp_path, row, seed=1)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path)))
    assert list(report.targets["mine-table1"].runs["vae"].runs) == [0]
