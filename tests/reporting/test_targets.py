"""Targets of make: the sweeps that they run and the generated lists of targets."""

from itertools import product
from pathlib import Path

import pytest

from vaebench.reporting.papers import TIERS, PaperError, Tier, chosen, forced, load_papers
from vaebench.reproduce import listing, rows_of, rules, sweeps

PAPERS = load_papers()
MAKE = Path(__file__).parents[2] / "tables.mk"


def test_every_table_and_figure_is_a_target_of_make() -> None:
    expected = {
        "scvae": "table1 table2 fig1 fig2 fig3 fig4 fig5",
        "skipvae": "table1 table2 table3 table4 probe fig1 fig2",
        "fae": "table1 fig1 fig2 fig3",
        "propagation": "fig1",
        "zhao": "fig2 fig4 fig5 fig6",
    }
    assert {name: " ".join(paper.targets) for name, paper in PAPERS.items()} == expected
    assert MAKE.read_text().strip() == rules(PAPERS).strip(), (
        "python -m vaebench.reproduce --make > tables.mk"
    )
    readme = MAKE.with_name("README.md").read_text()
    assert listing(PAPERS) in readme, "python -m vaebench.reproduce --list"


JOBS = {
    "scvae-table1": 6, "scvae-table2": 6, "scvae-fig1": 4, "scvae-fig2": 21, "scvae-fig3": 6, "scvae-fig4": 5,
    "scvae-fig5": 7, "skipvae-table1": 10, "skipvae-table2": 16, "skipvae-table3": 6, "skipvae-table4": 7,
    "skipvae-probe": 4, "skipvae-fig1": 8, "skipvae-fig2": 2, "fae-table1": 7, "fae-fig1": 7, "fae-fig2": 5,
    "fae-fig3": 4, "propagation-fig1": 1, "zhao-fig2": 1, "zhao-fig4": 3, "zhao-fig5": 2, "zhao-fig6": 2,
}  # fmt: skip
"""Number of models that each target trains."""


@pytest.mark.parametrize(
    "target", [f"{name}-{key}" for name, paper in PAPERS.items() for key in paper.targets]
)
@pytest.mark.parametrize("tier", TIERS)
def test_a_target_expands_to_its_rows_times_seeds(target: str, tier: Tier) -> None:
    rows = rows_of(PAPERS, chosen(PAPERS, [target]))
    assert len(rows) == JOBS[target]
    started = sweeps(rows.values(), tier)
    jobs = sorted(job for sweep in started for job in expanded(sweep.words(tier, [0, 1, 2])))
    expected = {row.words(tier) for row in rows.values()}  # two rows with the same words run once
    assert jobs == sorted((*sorted(words), f"seed={seed}") for words in expected for seed in (0, 1, 2))


def expanded(words: list[str]) -> list[tuple[str, ...]]:
    """Expand a sweep of `vaebench -m`: a job per combination of values, with its seed last."""
    multirun, *overrides = words
    assert multirun == "-m"
    values = []
    for key, _, value in (override.partition("=") for override in overrides):
        choices = [value] if "[" in value else value.split(",")
        values.append([f"{key}={choice}" for choice in choices])
    return [
        (
            *sorted(word for word in job if not word.startswith("seed=")),
            *(w for w in job if w.startswith("seed=")),
        )
        for job in product(*values)
    ]


def test_at_full_tier_most_targets_are_one_sweep() -> None:
    for target in (
        "scvae-table1",
        "scvae-table2",
        "skipvae-table1",
        "skipvae-table2",
        "skipvae-table3",
        "fae-table1",
    ):
        assert len(sweeps(rows_of(PAPERS, chosen(PAPERS, [target])).values(), "full")) == 1


def test_keys_are_forced_and_groups_are_not() -> None:
    words = [
        "model.latent_dim=3",
        "dataset=digits",
        "model/encoder=mlp",
        "++seed=1",
        "model/decoder@model.decoder.base=mlp",
    ]
    assert [*map(forced, words)] == ["++model.latent_dim=3", *words[1:]]


def test_an_unknown_target_is_an_error() -> None:
    with pytest.raises(PaperError, match="scvae-table9: no such target"):
        chosen(PAPERS, ["scvae-table9"])
