"""The table of estimates beside truths: what its rows say, and that its quick groups still run."""

import pytest
import torch

from scripts import check_estimators
from scripts.known_answers.rows import Relation, Row
from scripts.known_answers.toys import chi_square

ON_ONE_THREAD = ["--threads", str(torch.get_num_threads())]


@pytest.mark.parametrize(
    ("relation", "holds"),
    [("=", "-2 0 2"), ("<=", "-4 -2 0 2"), (">=", "-2 0 2 4"), ("<", "-4"), (">", "4")],
)
def test_a_row_holds_where_its_estimate_is_as_stated(relation: Relation, holds: str) -> None:
    rows = {z: Row("m", "s", 5.0, 5.0 + 0.1 * z, 0.1, relation) for z in (-4, -2, 0, 2, 4)}
    assert [z for z, row in rows.items() if row.holds] == [int(z) for z in holds.split()]
    assert all(row.z == pytest.approx(z) for z, row in rows.items())
    assert all(("WRONG" in row.cells()[-2]) == (not row.holds) for row in rows.values())


def test_what_is_exact_may_only_round() -> None:
    assert Row("m", "s", 2.0, 2.00001, None).holds
    assert not Row("m", "s", 2.0, 2.0001, None).holds
    assert not Row("m", "s", 2.0, float("nan"), None).holds
    assert not Row("m", "s", 2.0, 2.0, float("nan")).holds


def test_chi_square_is_that_of_the_counts() -> None:
    """Of two pixels: three times 00, once 01, twice 11, none of 10."""
    images = torch.tensor([[0, 0]] * 3 + [[0, 1]] + [[1, 1]] * 2).view(6, 1, 1, 2).float()
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    statistic, mean, deviation = chi_square(images, probabilities)
    assert statistic == pytest.approx(0 + 0.25 / 1.5 + 0.5625 / 0.75 + 1.5625 / 0.75)
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(probabilities, 6 * 20_000, replacement=True, generator=generator).view(-1, 6)
    counts = torch.stack([(draws == cell).sum(1) for cell in range(4)], 1)
    statistics = ((counts - 6 * probabilities).square() / (6 * probabilities)).sum(1)
    assert mean == pytest.approx(float(statistics.mean()), rel=0.02)
    assert deviation == pytest.approx(float(statistics.std()), rel=0.02)


@pytest.mark.slow
def test_quick_groups_find_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_estimators.main(["mixture", "plane", "chains", *ON_ONE_THREAD]) == 0
    out, err = capsys.readouterr()
    assert "10 rows, 0 wrong" in out
    assert len([line for line in out.splitlines() if line.startswith("|")]) == 2 + 10
    assert [line.split(":")[0] for line in err.splitlines()] == ["mixture", "plane", "chains"]


def test_a_wrong_row_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row("right", "s", 1.0, 1.01, 0.01), Row("wrong", "s", 1.0, 1.05, 0.01, "<=")]
    monkeypatch.setattr(check_estimators, "GROUPS", {"two": lambda: iter(rows)})
    assert check_estimators.main(ON_ONE_THREAD) == 1
    out = capsys.readouterr().out
    assert "| wrong | s | 1.0000 | 1.0500 | 0.0100 | +5.0 | at most: WRONG |  |" in out
    assert "2 rows, 1 wrong" in out


def test_an_unknown_group_is_refused_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_estimators.main(["likelyhood"])
    assert "no group likelyhood (choices: likelihood, " in capsys.readouterr().err
