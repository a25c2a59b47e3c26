"""What a repository keeps of its runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from scripts.keep import keep
from tests.reporting.madeup import put_run
from vaebench.report import in_markdown
from vaebench.reporting.collect import find_runs
from vaebench.reporting.compare import make_report
from vaebench.reporting.papers import load_papers

PAPERS = load_papers()
ROWS = PAPERS["scvae"].rows
TIERS = ("full", "reduced")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three runs of the one-layer row, whose pictures Figure 1 shows, and a failed one of another row."""
    folder = tmp_path / "outputs"
    points = np.random.default_rng(0).normal(90, 5, 200)
    for seed, tier in ((0, "reduced"), (1, "reduced"), (2, "smoke")):
        run = put_run(folder, ROWS["vae_1l"], tier, seed, points=points + seed, kl=5.0)
        config = yaml.safe_load((run / "config.yaml").read_text())
        paths = {"data_root": str(tmp_path / "data"), "paths": {"outputs": str(folder), "cache": None}}
        (run / "config.yaml").write_text(yaml.safe_dump(config | paths))
        command = f'[{{"command": "vaebench paths.outputs={folder}", "git": {{"commit": "c0ffee"}}}}]'
        (run / "provenance.json").write_text(command)
        for name in ("checkpoints/last.pt", "figures/tsne.png", "figures/samples.png", "run.log"):
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_text(name)
    put_run(folder, ROWS["scvae"], "reduced", state="failed", nll_nats=80.0)
    return folder


def report_of(folder: Path) -> str:
    return in_markdown(make_report(PAPERS, list(find_runs(folder))))


def test_a_report_of_what_is_kept_says_the_same(outputs: Path, tmp_path: Path) -> None:
    assert keep(outputs, tmp_path / "kept", TIERS) == 2
    for left_out in (*outputs.glob("*/scvae/*"), *outputs.glob("*/*/*/seed2")):
        shutil.rmtree(left_out)
    assert "± 0.50" in report_of(outputs)  # over the two seeds of the better tier
    assert report_of(tmp_path / "kept") == report_of(outputs)


def test_no_more_is_kept_than_that_takes(outputs: Path, tmp_path: Path) -> None:
    keep(outputs, tmp_path / "kept", TIERS)
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    (picture,) = (path for path in files if path.suffix == ".png")
    assert (picture.name, picture.parents[2].name) == ("tsne.png", "seed0")
    assert {path.name for path in files if path.parent.name == "v0"} == {
        "config.yaml", "metrics.jsonl", "provenance.json", "results.json", "status.json",
    }  # fmt: skip
    for path in files:
        assert str(tmp_path).encode() not in path.read_bytes()
    (command,) = {(path / "provenance.json").read_text() for path in (tmp_path / "kept").glob("*/*/*/*/*")}
    assert "vaebench paths.outputs=outputs" in command


def test_what_was_kept_stays_and_what_ran_again_is_replaced(outputs: Path, tmp_path: Path) -> None:
    keep(outputs, tmp_path / "kept", TIERS)
    first, second = sorted((tmp_path / "kept").glob("*/*/*/seed?/v0"))
    (first / "arrays/stale.npz").touch()
    shutil.rmtree(outputs / second.relative_to(tmp_path / "kept"))
    assert keep(outputs, tmp_path / "kept", TIERS) == 1
    assert second.exists()
    assert not (first / "arrays/stale.npz").exists()
