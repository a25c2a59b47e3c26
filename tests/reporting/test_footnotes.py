"""Remarks name the cells to which they apply."""

from pathlib import Path

import pytest

from tests.reporting.madeup import put_run
from vaebench.reporting.footnotes import places, remarks
from vaebench.reporting.papers import load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs

SKIPVAE = load_papers()["skipvae"]
VAE, SKIP = "table3_vae_l2", "table3_skip_l2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([(VAE, "KL"), (VAE, "MI"), (VAE, "AU"), (SKIP, "KL"), (SKIP, "MI")], "All that have run"),
        ([(VAE, "KL"), (SKIP, "KL")], "KL"),
        ([(VAE, "AU")], "AU"),
        ([(VAE, "KL"), (VAE, "AU"), (SKIP, "KL")], "KL, AU"),
        ([(VAE, "KL")], "VAE, 2 layers (KL)"),
        ([(VAE, "KL"), (VAE, "MI"), (VAE, "AU")], "VAE, 2 layers"),
        ([(VAE, "AU"), (SKIP, "KL"), (SKIP, "MI")], "VAE, 2 layers (AU); SKIP-VAE, 2 layers"),
        ([(VAE, "KL"), ("table3_vae_l3", "KL")], "VAE, 2 layers (KL); VAE, 3 layers (KL)"),
    ],
)
def test_places(cells: list[tuple[str, str]], expected: str, tmp_path: Path) -> None:
    put_run(tmp_path, SKIPVAE.rows[VAE], kl=24.0, mi_lower=9.2, **{"active_units_0.01": 17})
    put_run(tmp_path, SKIPVAE.rows[SKIP], kl=26.0, mi_lower=9.2)
    report = make_report({"skipvae": SKIPVAE}, list(find_runs(tmp_path))).targets["skipvae-table3"]
    assert places(report, [report.cells[cell] for cell in cells]) == expected


def test_all_of_a_table_that_has_not_run(tmp_path: Path) -> None:
    report = make_report({"skipvae": SKIPVAE}, []).targets["skipvae-table3"]
    assert places(report, list(report.cells.values())) == "All"
    assert [line.partition(":")[0] for line in remarks(report)] == ["Not run"]
