"""Matching of runs to rows, and the choice between several runs of a row and seed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.reporting.madeup import cell, paper, put, put_run, remeasure
from vaebench.reporting.match import match
from vaebench.reporting.papers import load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs


def test_a_run_matches_a_row_by_its_settings_except_for_newer_options(tmp_path: Path) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    config = folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("latent_dim: 50", "latent_dim: 51"))
    assert cell(tmp_path, "vae", vae=88.0).verdict == "not run"
    config.write_text(text.replace("    bridge: identity\n", ""))
    found = cell(tmp_path, "vae", vae=88.0)
    assert found.verdict == "agrees"
    assert any(
        note.startswith("the run is older than these options: model.decoder.bridge") for note in found.notes
    )


@pytest.mark.slow
def test_an_old_run_matches_rows_that_set_a_newer_option_to_the_former_behaviour(tmp_path: Path) -> None:
    """init_from_data was added later; older runs behave like `false`."""
    zhao, skipvae = (load_papers()[name] for name in ("zhao", "skipvae"))
    rows = {"fig5_elbo": zhao, "table1_vae_d20": skipvae}
    for row, paper_of in rows.items():
        folder = put_run(tmp_path, paper_of.rows[row], kl=3.0)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["model"]["decoder"].pop("init_from_data") == (row == "fig5_elbo")
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    matches = match({"zhao": zhao, "skipvae": skipvae}, list(find_runs(tmp_path)))
    assert not matches.of("zhao", "fig5_elbo", "full").runs
    found = matches.of("skipvae", "table1_vae_d20", "full")
    assert list(found.runs) == [0]
    assert found.notes == ("the run is older than these options: model.decoder.init_from_data",)


def test_a_run_without_measurements_is_not_a_seed_of_a_row(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, nll_nats=90.0)
    put_run(tmp_path, row, seed=1)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path)))
    assert list(report.targets["mine-table1"].runs["vae"].runs) == [0]


def test_a_complete_run_comes_before_a_newer_incomplete_one(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, version="v0", nll_nats=1.0)
    put_run(tmp_path, row, version="v1", nll_nats=2.0)
    put_run(tmp_path, row, version="v2")
    put_run(tmp_path, row, version="v10", nll_nats=3.0, kl=1.0, elbo=-4.0, state="interrupted")
    assert cell(tmp_path, "vae", vae=88.0).ours == 2.0


def test_the_incomplete_run_with_most_measurements_is_used(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, version="v0", nll_nats=1.0, state="interrupted")
    put_run(tmp_path, row, version="v1", nll_nats=2.0, kl=1.0, state="failed")
    put_run(tmp_path, row, version="v2", nll_nats=3.0, kl=1.0, state="interrupted")
    put_run(tmp_path, row, version="v3", nll_nats=4.0, state="interrupted")
    assert cell(tmp_path, "vae", vae=88.0).ours == 3.0


@pytest.mark.parametrize("newer", ["before", "after"])
def test_the_run_that_started_last_is_used(tmp_path: Path, newer: str) -> None:
    """One run is older than an option, so it has another hash and both are v0."""
    row = paper().rows["vae"]
    after = put_run(tmp_path, row, nll_nats=88.0)
    before = after.parents[2] / "ffffffff/seed0/v0"
    shutil.copytree(after, before)
    config = before / "config.yaml"
    config.write_text(config.read_text().replace("    bridge: identity\n", ""))
    remeasure(before, "nll_nats", value=99.0)
    for folder, year in ((before, {"before": 2027, "after": 2025}[newer]), (after, 2026)):
        (attempt,) = json.loads((folder / "provenance.json").read_text())
        put(folder / "provenance.json", [attempt | {"time": f"{year}-01-01T12:00:00+00:00"}])
    assert cell(tmp_path, "vae").ours == {"before": 99.0, "after": 88.0}[newer]
