"""Published numbers, typed a second time from the papers, and messages about mistakes in a file."""

import re
from pathlib import Path

import pytest

from tests.config.helpers import CONF, base_config, config_of
from vaebench.config.identity import scientific
from vaebench.reporting.papers import (
    Paper,
    PaperError,
    load_papers,
    read_paper,
)

PAPERS = load_papers()

SCVAE_1 = "87.89 .8421  206.09 .1135  91.13 .9352  81.59 .7120  80.19 .9588  84.02 .9216"
SCVAE_2 = "80.19 .9588  79.48 .5148  82.32 .9628  81.63 .9839  79.35 .7776  79.26 .9784"
SKIP_1 = """
-84.27 -84.30 3.13 3.54 3.09 3.46 2 2
-83.01 -82.87 8.29 9.41 7.35 7.81 9 10
-83.06 -82.55 7.14 9.33 6.55 7.80 8 13
-83.31 -82.58 6.22 8.67 5.81 7.49 8 12
-83.41 -82.52 5.82 8.45 5.53 7.38 5 9
"""
SKIP_2 = """
-89.64 -89.22 13.31 13.40 8.56 8.56 20 20
-84.38 -84.03 10.12 10.71 7.95 8.20 16 16
-83.19 -82.81 8.82 9.77 7.53 7.93 11 13
-83.06 -82.55 7.14 9.34 6.55 7.80 8 13
-97.69 -97.66 8.42 8.37 7.09 7.08 20 20
-93.95 -93.75 6.43 6.58 5.88 5.97 20 20
-93.23 -92.94 5.24 5.78 4.94 5.43 20 20
-92.79 -92.61 4.41 6.12 4.24 5.65 11 20
"""
SKIP_3 = """
-94.88 -94.80 24.23 26.35 9.21 9.20 17 24
-95.38 -94.17 21.87 26.15 9.20 9.21 13 21
-97.09 -93.79 20.95 25.63 9.21 9.21 11 21
"""
SKIP_4 = [
    (61.60, None, None, None, None),
    (62.38, -330.1, 0.005, 0.002, 0),
    (61.71, -330.5, 0.34, 0.31, 1),
    (59.85, -327.5, 5.47, 4.98, 14),
    (60.87, -330.3, 15.05, 7.47, 32),
    (60.20, -327.3, 3.09, 2.95, 10),
    (60.55, -330.8, 22.54, 9.15, 64),
]


def in_pairs(text: str) -> list[tuple[float, ...]]:
    numbers = [float(word) for word in text.split()]
    return [*zip(numbers[::2], numbers[1::2], strict=True)]


def of_both(text: str) -> list[tuple[float, ...]]:
    """Split printed rows, with VAE and SKIP side by side in each column, into a row each."""
    rows = [[float(word) for word in line.split()] for line in text.strip().splitlines()]
    return [tuple(row[side::2]) for row in rows for side in (0, 1)]


def keys_of(text: str) -> list[str]:
    """Expand braces: `vae_{2,3}` is two keys, in that order."""
    return [
        f"{first}{key}{last}"
        for word in text.split()
        for first, keys, last in [re.fullmatch(r"([^{]*)\{?([^}]*)\}?(.*)", word).groups()]  # type: ignore[union-attr]
        for key in keys.split(",")
    ]


AU = "active_units_0.01"
SCVAE_ROWS_1 = "vae_1l vae_11l vae_qpp vae_ppp scvae scvae_long"
SCVAE_ROWS_2 = "scvae pixel_vae vamp_vae scvae_vamp scvae_pixel scvae_pixel_vamp"
SKIP_ROWS_1 = " ".join(f"table1_{{vae,skip}}_d{size}" for size in (2, 10, 20, 50, 100))
SKIP_ROWS_2 = " ".join(
    "table1_{vae,skip}_d20" if (data, depth) == ("mnist", 9) else f"table2_{data}_{{vae,skip}}_l{depth}"
    for data in ("mnist", "omniglot")
    for depth in (1, 3, 6, 9)
)
SKIP_ROWS_3 = "table3_{vae,skip}_l2 table3_{vae,skip}_l3 table3_{vae,skip}_l4"
SKIP_ROWS_4 = "table4_{lm,vae,skip_vae,sa_vae,skip_sa_vae,sa_vae_d64,skip_sa_vae_d64}"
PROBE_ROWS = "table1_{vae,skip}_d50 table3_{vae,skip}_l2"
FAE_ROWS = "vae pixel_vae iaf_vae fae_f0 fae_f20 mae_m0 mae_m10"


@pytest.mark.parametrize(
    ("name", "columns", "rows", "expected"),
    [
        ("scvae-table1", ["nll_nats", "svm_linear_accuracy"], SCVAE_ROWS_1, in_pairs(SCVAE_1)),
        ("scvae-table2", ["nll_nats", "svm_linear_accuracy"], SCVAE_ROWS_2, in_pairs(SCVAE_2)),
        ("skipvae-table1", ["elbo", "kl", "mi_lower", AU], SKIP_ROWS_1, of_both(SKIP_1)),
        ("skipvae-table2", ["elbo", "kl", "mi_lower", AU], SKIP_ROWS_2, of_both(SKIP_2)),
        ("skipvae-table3", ["elbo", "kl", "mi_lower", AU], SKIP_ROWS_3, of_both(SKIP_3)),
        ("skipvae-table4", ["perplexity", "elbo", "kl", "mi_lower", AU], SKIP_ROWS_4, SKIP_4),
        ("skipvae-probe", ["mlp_accuracy"], PROBE_ROWS, [(0.9719,), (0.9810,), (0.9770,), (0.9825,)]),
        ("skipvae-fig1", ["kl", "mi_lower"], " ".join(SKIP_ROWS_2.split()[:4]),
         [row[1:3] for row in of_both(SKIP_2)[:8]]),
        ("fae-table1", ["nll_nats"], FAE_ROWS,
         [(85.56,), (79.21,), (79.85,), (83.2,), (79.30,), (81.58,), (80.86,)]),
    ],
)  # fmt: skip
def test_published_tables_are_complete(
    name: str, columns: list[str], rows: str, expected: list[tuple[float | None, ...]]
) -> None:
    paper, _, target = name.partition("-")
    found = PAPERS[paper].targets[target]
    assert [column.measure for column in found.columns.values()] == columns
    assert [*found.cells.items()] == [*zip(keys_of(rows), expected, strict=True)]


def test_no_other_target_has_published_numbers() -> None:
    published = {
        f"{name}-{target}"
        for name, paper in PAPERS.items()
        for target, content in paper.targets.items()
        if any(content.cells.values())
    }
    tables = "scvae-table{1,2} skipvae-table{1,2,3,4} skipvae-probe skipvae-fig1 fae-table1"
    assert published == {*keys_of(tables)}


ROWS = [(name, key) for name, paper in PAPERS.items() for key in paper.rows]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), ROWS)
def test_every_row_composes_binds_and_is_not_the_base(name: str, key: str) -> None:
    row = PAPERS[name].rows[key]
    header = (CONF / f"experiment/{row.experiment}.yaml").read_text().splitlines()[:3]
    assert header[0] == "# @package _global_"
    assert header[1].startswith(f"# vaebench experiment={row.experiment}")
    # Each experiment's own config is tested in tests/config/test_conf.py; CI runs each row at tier smoke.
    config = scientific(config_of(*row.words("reduced")))
    assert config["tier"] == "reduced"
    assert {**config, "tier": ""} != {**scientific(base_config()), "tier": ""}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_a_row_composes_at_tier_smoke(name: str) -> None:
    row = next(iter(PAPERS[name].rows.values()))
    assert config_of(*row.words("smoke"))["tier"] == "smoke"


def test_every_experiment_file_is_a_row_of_a_paper() -> None:
    files = {
        str(path.relative_to(CONF / "experiment").with_suffix(""))
        for name in PAPERS  # others, as savae, are of no table here
        for path in CONF.glob(f"experiment/{name}/*.yaml")
    }
    assert files <= {row.experiment for paper in PAPERS.values() for row in paper.rows.values()}


GOOD = """
title: t
authors: a
rows: {a: {label: A}, b: {label: B}}
targets:
  table1:
    title: t
    cost: {full: x, reduced: x, smoke: x}
    columns: {NLL: {measure: nll_nats, tolerance: 1}}
    cells: {a: [1.0], b: []}
    claims: [{says: s, where: w, greater: {measure: kl, pairs: [[a, b]]}}]
"""


def read(folder: Path, text: str) -> Paper:
    (folder / "mine.yaml").write_text(text)
    return read_paper(folder / "mine.yaml")


def test_a_good_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).rows["a"].experiment == "mine/a"


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("measure: nll_nats", "measure: nll nats", "'nll nats' is not a measure"),
        ("a: [1.0]", "a: [1.0, 2.0]", "2 values for 1 columns"),
        ("a: [1.0]", "c: [1.0]", "'c' is not a row"),
        ("[[a, b]]", "[[a, c]]", "'c' is not a row"),
        ("tolerance: 1}", "tolerence: 1}", "tolerence"),
        ("b: []}", "}\n    figure: {kind: montage, rows: [b], pictures: [tsne]}", "'b' is not a row"),
        ("greater: {measure: kl, pairs: [[a, b]]}", "note: n", "0 statements; expected one"),
        (
            "greater: {measure: kl, pairs: [[a, b]]}",
            "within: {measure: kl, rows: [a]}",
            "neither low nor high",
        ),
        ("title: t\nauthors", "title: [\nauthors", "mine.yaml"),
    ],
)
def test_a_mistake_in_a_file_is_an_error(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    assert right in GOOD
    with pytest.raises(PaperError, match=message) as caught:
        read(tmp_path, GOOD.replace(right, wrong, 1))
    assert "mine.yaml" in str(caught.value)
