"""The whole report, with and without runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.cli import ROOT
from tests.reporting.madeup import put, put_run, remeasure
from vaebench import report as report_module
from vaebench import reproduce as reproduce_module
from vaebench.report import load_runs, main
from vaebench.reporting.papers import Paper, load_papers
from vaebench.reproduce import main as reproduce_main
from vaebench.reproduce import quoted

PAPERS = load_papers()
ROWS = PAPERS["scvae"].rows


ONE = {"scvae": PAPERS["scvae"]}
"""The paper that the runs are of: composing the rows of all takes half a minute."""


def call(monkeypatch: pytest.MonkeyPatch, program: str, *words: str, papers: dict[str, Paper] = ONE) -> int:
    monkeypatch.setattr(sys, "argv", [program, *words])
    for module in (report_module, reproduce_module):
        monkeypatch.setattr(module, "load_papers", lambda: papers)
    with pytest.raises(SystemExit) as stop:
        {"report": main, "reproduce": reproduce_main}[program]()
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write nine runs; one failed with a reason that looks like markup."""
    folder = tmp_path_factory.mktemp("outputs")
    for i, row in enumerate(("vae_1l", "vae_11l", "scvae", "scvae_long")):
        for seed in (0, 1):
            put_run(
                folder,
                ROWS[row],
                "reduced",
                seed,
                nll_nats=90.0 - 3 * i + seed / 10,
                svm_linear_accuracy=0.9,
                kl=5.0 + i,
            )
    failed = put_run(folder, ROWS["vae_qpp"], "reduced", kl=1.0)
    (failed / "results.json").unlink()
    (failed / "status.json").write_text('{"state": "failed", "reason": "</script><b id=broken>"}')
    return folder


@pytest.fixture(scope="module")
def report(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, "report", str(outputs), "--out", str(folder)) == 1  # much is missing
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("program", ["report", "reproduce"])
def test_of_nothing_every_table_says_what_is_missing(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if program == "reproduce":
        monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    words = (
        ["all", "--outputs", str(tmp_path)]
        if program == "reproduce"
        else [str(tmp_path), "--out", str(tmp_path / "r")]
    )
    assert call(monkeypatch, program, *words, papers=PAPERS) == 1
    captured = capsys.readouterr()
    text = captured.out + captured.err
    missing = "\n".join(line for line in text.splitlines() if "ot run: " in line)
    for name, paper in PAPERS.items():
        for target, content in paper.targets.items():
            assert f"{name}-{target}" in text
            assert all(paper.rows[row].label in missing for row in content.cells)


@pytest.mark.slow
def test_a_target_whose_rows_are_all_there_is_a_success(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(outputs, tmp_path / "o")
    put_run(tmp_path / "o", ROWS["vae_qpp"], "reduced", 5, nll_nats=90.0, svm_linear_accuracy=0.9)
    last = put_run(tmp_path / "o", ROWS["vae_ppp"], "reduced", 5, nll_nats=90.0, svm_linear_accuracy=0.9)
    words = [str(tmp_path / "o"), "--out", str(tmp_path / "r"), "--targets", "scvae-table1"]
    assert call(monkeypatch, "report", *words) == 0
    results = json.loads((last / "results.json").read_text())
    nll, accuracy = results["evaluations"]
    for evaluations, status in (
        ([nll], 1),
        ([nll, accuracy | {"status": "not_applicable", "measurements": []}], 0),
        ([nll, accuracy | {"status": "failed", "measurements": []}], 1),
    ):
        put(last / "results.json", results | {"evaluations": evaluations})
        capsys.readouterr()
        assert call(monkeypatch, "report", *words) == status
        expected = "scvae-table1: not run: VAE(p++): Acc\n"
        assert (expected in capsys.readouterr().err) == bool(status)
        summary = (tmp_path / "r/report.md").read_text()
        assert f"| scvae-table1 | {6 - status} of 6 |" in summary
    put(last / "results.json", results)
    remeasure(last, "svm_linear_accuracy", value=None)
    assert call(monkeypatch, "report", *words) == 1


@pytest.mark.slow
def test_the_files_of_a_report(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "Reproduction of published numbers" in text
    assert "| VAE(1L) | 90.05 ± 0.05 (87.89, +2.16): not comparable |" in text
    assert "Reproduced: SCVAE has a better NLL than a VAE of one layer" in text
    table = pd.read_csv(report / "tables/scvae-table1.csv")
    scvae = table[(table["row"] == "SCVAE") & (table["column"] == "NLL")].iloc[0]
    assert (scvae["theirs"], scvae["verdict"], scvae["tier"]) == (80.19, "direction agrees", "reduced")
    assert scvae["difference"] == pytest.approx(84.05 - 80.19)
    assert (scvae["n"], scvae["num_samples"]) == (200, 500)
    assert (report / "figures/scvae-fig3.png").exists() is False  # nothing recorded of it
    _, of_papers, of_targets, *_ = text.split("\n\n")
    head, _, *lines = of_targets.splitlines()
    keys, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines)]
    (line,) = [dict(zip(keys, row, strict=True)) for row in rows if row[0] == "scvae-table1"]
    assert (line["date"], line["commits"], line["hardware"]) == ("2026-01-31", "c0ffee", "abacus, cpu")
    assert line["time"] == "96 s"  # of eight runs
    degeneration = load_papers()["scvae"]
    (line_of_paper,) = [line for line in of_papers.splitlines() if degeneration.title in line]
    *counts, tiers = [cell.strip() for cell in line_of_paper.strip("|").split("|")][1:]
    reproduced, _, _, not_run = map(int, counts)
    assert reproduced >= 1
    assert sum(map(int, counts)) == sum(len(target.claims) for target in degeneration.targets.values())
    assert (not_run > 0, tiers) == (True, "reduced")


@pytest.mark.slow
def test_runs_as_a_table_for_notebooks(outputs: Path) -> None:
    frame = load_runs(outputs)
    assert len(frame) == 9
    row = frame[(frame["model"] == "scvae") & (frame["seed"] == 1)].iloc[0]
    assert (row["nll_nats"], row["nll_nats_se"], row["tier"]) == (pytest.approx(84.1), 0.1, "reduced")
    assert row["model.latent_dim"] == 50
    assert (frame["state"] == "failed").sum() == 1


@pytest.mark.slow
def test_hundreds_of_runs_take_seconds_and_no_torch(outputs: Path, report: Path, tmp_path: Path) -> None:
    assert report.exists()  # so that every row is composed already
    for i in range(25):
        shutil.copytree(outputs, tmp_path / "o", dirs_exist_ok=True)
        for seed in (0, 1):
            for folder in [*(tmp_path / "o").glob(f"*/*/*/seed{seed}")]:
                folder.rename(folder.with_name(f"seed{100 * (i + 1) + seed}"))
    watch = (
        "import os, sys\n"
        "from vaebench import report\n"
        "papers = report.load_papers()\n"
        "report.load_papers = lambda: {'scvae': papers['scvae']}\n"
        "try: report.main()\n"
        "finally: print('torch' in sys.modules, os.times().user)"
    )
    command = [sys.executable, "-c", watch, str(tmp_path / "o"), "--out", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    torch, seconds = done.stdout.split()[-2:]
    assert torch == "False", done.stderr
    assert float(seconds) < 20  # of a processor; 5 or so on an idle one


def test_reproduce_reads_runs_from_the_folder_that_it_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["reproduce", "zhao-fig6", "--dry-run", "--overrides", "paths.outputs=elsewhere"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="--outputs"):
        reproduce_main()


def test_seeds_that_are_no_integers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce", "zhao-fig6", "--dry-run", "--seeds", "0-2"])
    with pytest.raises(SystemExit, match="--seeds=0-2: expected integers separated by commas"):
        reproduce_main()


@pytest.mark.parametrize(
    "folder", ["my runs", "a,b", "x (2)", "k=v", "müller", "it's", "[1]", "plain-1.0_x", "/abs/path"]
)
def test_any_folder_goes_through_the_overrides_as_it_is(folder: str) -> None:
    parsed = OverridesParser.create().parse_override(f"paths.outputs={quoted(folder)}")
    assert not parsed.is_sweep_override()
    assert parsed.value() == folder


@pytest.mark.slow
def test_claims_as_a_table(report: Path) -> None:
    claims = pd.read_csv(report / "claims.csv")
    better = claims[claims["claim"] == "SCVAE has a better NLL than a VAE of one layer"].iloc[0]
    assert (better["target"], better["verdict"], better["seeds"]) == ("scvae-table1", "reproduced", "0 1")
    assert better["numbers"] == "vae_1l 90.05; scvae 84.05"


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "report", str(tmp_path / "outputz"), "--out", str(tmp_path / "r")) == 1
    assert "outputz: no such folder" in capsys.readouterr().err
