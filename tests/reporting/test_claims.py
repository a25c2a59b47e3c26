"""Verdicts on claims and their parts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting.madeup import TEST_POINTS, paper, put, put_both, put_run
from vaebench.reporting.claims import NO_RATIO, ClaimVerdict, holds
from vaebench.reporting.report import make_report
from vaebench.reporting.row_values import perplexity_by_datum
from vaebench.reporting.runs import find_runs
from vaebench.reporting.statements import Greater, Ordered, Statement, Steady, Widening, Within

BOTH = ["vae", "scvae"]
RNG = np.random.default_rng(0)
BETTER = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]]}}


def claim(outputs: Path, statement: dict[str, Any]) -> ClaimVerdict:
    report = make_report({"mine": paper(statement)}, list(find_runs(outputs)))
    (found,) = report.targets["mine-table1"].claims
    return found


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
    judged = claim(tmp_path, BETTER)
    assert judged.verdict == "reproduced"
    assert not any("all rows have" in note for note in judged.notes)
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
        ({"within": {"measure": "nll_nats / kl", "rows": ["vae"], "low": 20, "high": 24}}, "reproduced"),
        ({"within": {"measure": "nll_nats / kl", "rows": ["vae"], "high": 1}}, "not reproduced"),
        ({"within": {"measure": "kl", "rows": ["vae", "scvae"], "low": 4.0, "high": 4.0}}, "reproduced"),
        ({"within": {"measure": "nll_nats - kl", "rows": ["vae"], "low": 83, "high": 85}}, "reproduced"),
    ],
)  # fmt: skip
def test_each_kind_of_statement(tmp_path: Path, statement: dict, verdict: str) -> None:
    put_both(tmp_path, 88.0, 85.0, error=None, kl=4.0)
    assert claim(tmp_path, statement).verdict == verdict


VALUES = {"a": np.array([1.0, 1.0, 4.0, -1.0]), "b": np.array([2.0, 1.0, 2.0, 3.0])}


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        (Greater(measure="kl", pairs=(("b", "a"), ("a", "b"))), ["1001", "0010"]),
        (Greater(measure="kl", pairs=(("b", "a"),), by=1), ["0001"]),
        (Within(measure="kl", rows=("a", "b"), low=1.5, high=3), ["0010", "1011", "1101", "1111"]),
        (Within(measure="kl", rows=("a",), high=1), ["1101"]),
        (Ordered(measure="kl", rows=("a", "b", "a"), direction="rises"), ["1001", "0010"]),
        (Ordered(measure="kl", rows=("a", "b"), direction="falls"), ["0010"]),
        (Steady(measure="kl", rows=("a", "b"), factor=1.5), ["1101", "0110"]),
        (Widening(measure="kl", pairs=(("b", "a"), ("a", "b"), ("a", "a"))), ["0010", "1001"]),
    ],
)
def test_the_parts_of_a_statement(statement: Statement, parts: list[str]) -> None:
    found = holds(statement, VALUES)
    assert ["".join(str(int(draw)) for draw in part) for part in found] == parts


def test_what_never_holds_together_is_refuted_only_by_a_part_of_it(tmp_path: Path) -> None:
    put_both(tmp_path, 88.0, 88.0, spread=1.0)
    pairs = [["vae", "scvae"], ["scvae", "vae"]]
    found = claim(tmp_path, {"greater": {"measure": "nll_nats", "pairs": pairs}})
    assert (found.verdict, found.confidence) == ("inconclusive", 0.0)
    narrow = {"within": {"measure": "nll_nats", "rows": ["vae"], "low": 87.99, "high": 88.01}}
    found = claim(tmp_path, narrow)
    assert found.verdict == "inconclusive"
    assert found.confidence is not None
    assert found.confidence < 0.05


def test_a_part_that_is_false_refutes_the_rest_if_it_is_sure_enough_for_so_many(tmp_path: Path) -> None:
    put_both(tmp_path, 85.0, 86.5, spread=0.5)  # t = 2.6 with 2 degrees of freedom: p = 0.06
    put_both(tmp_path / "more", 85.0, 87.8, spread=0.5)  # t = 4.8: p = 0.02 > 0.05 / 6
    put_both(tmp_path / "most", 85.0, 95.0, spread=0.5)  # t = 17: p = 0.002
    for folder, one_part, six_parts in (
        (tmp_path, "inconclusive", "inconclusive"),
        (tmp_path / "more", "not reproduced", "inconclusive"),
        (tmp_path / "most", "not reproduced", "not reproduced"),
    ):
        for num, verdict in ((1, one_part), (6, six_parts)):
            statement = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]] * num}}
            assert claim(folder, statement).verdict == verdict


def test_a_ratio_to_nothing_decides_nothing(tmp_path: Path) -> None:
    for seed in (0, 1):
        put_run(tmp_path, paper().rows["vae"], seed=seed, nll_nats=88.0, kl=0.0, error=None)
    found = claim(tmp_path, {"within": {"measure": "nll_nats / kl", "rows": ["vae"], "low": 1}})
    assert (found.verdict, found.notes) == ("inconclusive", (NO_RATIO,))


def test_a_denominator_that_noise_puts_below_zero_makes_no_ratio_small(tmp_path: Path) -> None:
    """The ratio is 0.7 / 0.05 = 14; a fifth of the drawn denominators is negative."""
    put_run(tmp_path, paper().rows["vae"], nll_nats=0.7, kl=0.05, error=0.06)
    found = claim(tmp_path, {"within": {"measure": "nll_nats / kl", "rows": ["vae"], "high": 0.5}})
    assert (found.verdict, found.confidence) == ("not reproduced", 0.0)


def put_points(
    outputs: Path, row: str, points: np.ndarray, index: np.ndarray, num_samples: int = 500, seed: int = 0
) -> None:
    """Write a run whose NLL covers the test examples at `index`."""
    folder = put_run(outputs, paper().rows[row], seed=seed, points=points[index])
    results = json.loads((folder / "results.json").read_text())
    (entry,) = results["evaluations"]
    entry["settings"] = {"num_samples": num_samples, "num_data": len(index)}
    entry["measurements"][0] |= {"n": len(index), "standard_error": 12 / len(index) ** 0.5}
    put(folder / "results.json", results)
    (folder / "arrays" / f"nll_500_{len(index)}.npz").unlink()
    np.savez(folder / f"arrays/nll_{num_samples}_{len(index)}.npz", log_px=-points[index], index=index)


def test_rows_over_different_test_data_are_compared_on_those_that_both_have(tmp_path: Path) -> None:
    """The first half of the examples is easier by 10 nats; one model was measured on that half only."""
    points = RNG.normal(88, 3, TEST_POINTS) + 10 * (np.arange(TEST_POINTS) >= TEST_POINTS // 2)
    put_points(tmp_path, "vae", points, np.arange(TEST_POINTS))
    put_points(tmp_path, "scvae", points + 0.5, np.arange(TEST_POINTS // 2))
    judged = claim(tmp_path, BETTER)
    assert judged.verdict == "not reproduced"
    easy = points[: TEST_POINTS // 2].mean()
    assert judged.numbers == {"vae": pytest.approx(easy), "scvae": pytest.approx(easy + 0.5)}
    assert "on the 100 test examples that all rows have" in judged.notes
    report = make_report({"mine": paper(vae=70.0, scvae=75.0)}, list(find_runs(tmp_path)))
    found = report.targets["mine-table1"].cells["scvae", "NLL"]
    assert found.ours == pytest.approx(points[: TEST_POINTS // 2].mean() + 0.5)
    assert found.verdict == "direction agrees"  # worse, as published


@pytest.mark.parametrize("worse", [0.0, 1.0])
def test_rows_are_paired_within_each_seed_whose_examples_are_its_own(tmp_path: Path, worse: float) -> None:
    """A random choice of 40 of 200 examples leaves three seeds about one in common; examples differ by 25."""
    points = RNG.normal(88, 25, TEST_POINTS)
    for seed in range(3):
        index = np.sort(RNG.permutation(TEST_POINTS)[:40])
        put_points(tmp_path, "vae", points + RNG.normal(0, 0.1), index, seed=seed)
        put_points(tmp_path, "scvae", points + worse + RNG.normal(0, 0.1), index, seed=seed)
    judged = claim(tmp_path, BETTER)
    assert judged.verdict == ("not reproduced" if worse else "inconclusive")
    assert judged.numbers["scvae"] - judged.numbers["vae"] == pytest.approx(worse, abs=0.3)


@pytest.mark.parametrize(("shared", "verdict"), [(29, "inconclusive"), (30, "not reproduced")])
def test_too_few_examples_in_common_decide_nothing(tmp_path: Path, shared: int, verdict: str) -> None:
    points = RNG.normal(88, 3, TEST_POINTS)
    put_points(tmp_path, "vae", points, np.arange(100))
    put_points(tmp_path, "scvae", points + 5, np.arange(100 - shared, 200 - shared))
    judged = claim(tmp_path, BETTER)
    assert judged.verdict == verdict
    reason = "the rows have 29 test examples in common, and 30 are needed"
    assert (reason in judged.notes) == (verdict == "inconclusive")


def test_perplexities_are_paired_by_sentences(tmp_path: Path) -> None:
    """Each perplexity has an error of 8 %, but one model is better by 1 % on nearly all sentences."""
    tokens = RNG.integers(5, 15, TEST_POINTS)
    nll = tokens * RNG.normal(3, 0.3, TEST_POINTS) + RNG.normal(0, 12, TEST_POINTS)
    for row, values in (("vae", nll), ("scvae", nll - tokens * RNG.normal(0.01, 0.005, TEST_POINTS))):
        value = float(np.exp(values.sum() / tokens.sum()))
        folder = put_run(tmp_path, paper().rows[row], perplexity=value, error=0.08 * value)
        np.savez(folder / f"arrays/nll_500_{TEST_POINTS}.npz", log_px=-values, tokens=tokens)
    statement = {"greater": {"measure": "perplexity", "pairs": [["vae", "scvae"]]}}
    assert claim(tmp_path, statement).verdict == "reproduced"
    for file in tmp_path.rglob("nll_*.npz"):  # as in older runs, which did not save the tokens
        np.savez(file, log_px=np.load(file)["log_px"])
    assert claim(tmp_path, statement).verdict == "inconclusive"


def test_the_perplexity_of_one_sentence_more_is_that_of_all_to_first_order() -> None:
    tokens, nll = RNG.integers(5, 15, 400).astype(float), RNG.normal(30, 5, 400)
    by_datum = perplexity_by_datum(nll, tokens)
    assert by_datum.mean() == pytest.approx(np.exp(nll.sum() / tokens.sum()))
    without = np.exp(nll[1:].sum() / tokens[1:].sum())
    assert by_datum.mean() - without == pytest.approx((by_datum[0] - by_datum.mean()) / 399, rel=0.05)


def test_estimates_that_fall_with_the_draws_are_not_compared_over_different_numbers(tmp_path: Path) -> None:
    points = RNG.normal(88, 3, TEST_POINTS)
    put_points(tmp_path, "vae", points, np.arange(TEST_POINTS), num_samples=100)
    put_points(tmp_path, "scvae", points - 5, np.arange(TEST_POINTS), num_samples=500)
    found = claim(tmp_path, BETTER)
    assert found.verdict == "inconclusive"
    assert found.notes[0] == "nll_nats falls with the number of samples, here S = 100 to 500"
