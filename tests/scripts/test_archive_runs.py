"""What a repository keeps of its runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from scripts import archive_runs
from scripts.archive_runs import keep, strays, without_paths
from tests.reporting.madeup import put_run
from vaebench.errors import UserError
from vaebench.report import in_markdown
from vaebench.reporting.papers import Tier, load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import PNG_END, find_runs

PAPERS = {"scvae": load_papers()["scvae"]}  # composing the rows of all takes half a minute
ROWS = PAPERS["scvae"].rows
TIERS = ("full", "reduced")


@pytest.fixture(autouse=True)
def _one_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_runs, "load_papers", lambda: PAPERS)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Runs of the one-layer row, which Figure 1 shows, at every tier, and of two other rows; one failed."""
    folder = tmp_path / "outputs"
    points = np.random.default_rng(0).normal(90, 5, 200)
    runs: tuple[tuple[int, Tier], ...] = ((0, "full"), (0, "reduced"), (1, "reduced"), (2, "smoke"))
    for seed, tier in runs:
        run = put_run(folder, ROWS["vae_1l"], tier, seed, points=points + seed, kl=5.0)
        config = yaml.safe_load((run / "config.yaml").read_text())
        paths = {"data_root": str(tmp_path / "data"), "paths": {"outputs": str(folder), "cache": None}}
        (run / "config.yaml").write_text(yaml.safe_dump(config | paths))
        command = f'[{{"command": "vaebench paths.outputs={folder}", "git": {{"commit": "c0ffee"}}}}]'
        (run / "provenance.json").write_text(command)
        for name in ("checkpoints/last.pt", "figures/tsne.png", "figures/samples.png", "run.log"):
            (run / name).parent.mkdir(exist_ok=True)
            end = PNG_END if name.endswith("png") else b""
            (run / name).write_bytes(name.encode() + end)
    put_run(folder, ROWS["scvae"], "reduced", nll_nats=80.0)
    put_run(folder, ROWS["scvae_long"], "reduced", state="failed", nll_nats=80.0)
    return folder


def verdicts(folder: Path) -> str:
    return in_markdown(make_report(PAPERS, list(find_runs(folder))))


@pytest.mark.slow
def test_a_report_of_what_is_kept_says_the_same(outputs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert len(keep(outputs, kept, TIERS)) == 4
    for left_out in (*outputs.glob("*/scvae_long/*"), *outputs.glob("*/*/*/seed2")):
        shutil.rmtree(left_out)
    text = verdicts(outputs)
    # A claim takes the best tier that all of its rows have, not each row's best.
    assert "Reproduced: SCVAE has a better NLL than a VAE of one layer" in text
    assert verdicts(kept) == text
    assert strays(kept) == []


@pytest.mark.slow
def test_only_the_wanted_tiers_are_kept(outputs: Path, tmp_path: Path) -> None:
    for tiers, number in ((("full",), 1), (("reduced",), 3), (("smoke",), 1)):
        runs = keep(outputs, tmp_path / "kept" / tiers[0], tiers)
        assert [run.tier for run in runs] == [*tiers] * number


@pytest.mark.slow
def test_no_more_is_kept_than_that_takes(outputs: Path, tmp_path: Path) -> None:
    keep(outputs, tmp_path / "kept", ("reduced",))
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    (picture,) = (path for path in files if path.suffix == ".png")
    assert (picture.name, picture.parents[2].name) == ("tsne.png", "seed0")
    assert {path.name for path in files if path.parent.name == "v0"} == {
        "config.yaml", "metrics.jsonl", "provenance.json", "results.json", "status.json",
    }  # fmt: skip
    for path in files:
        assert str(tmp_path).encode() not in path.read_bytes()
    commands = [path.read_text() for path in (tmp_path / "kept").glob("*/vae/*/*/*/provenance.json")]
    assert all("vaebench paths.outputs=outputs" in command for command in commands)


def test_paths_are_replaced_whole() -> None:
    config = {"data_root": "/data", "paths": {"outputs": "/data/runs", "cache": "cache"}}
    text = "a=/data b=/data/x c=/data/runs/y /data2/z /home/me/data/w d=/now/runs"
    told = "a=data b=data/x c=outputs/y /data2/z /home/me/data/w d=outputs"
    assert without_paths(text, config, Path("/now/runs")) == told


@pytest.mark.slow
def test_what_was_kept_stays_and_what_ran_again_is_replaced(outputs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(outputs, kept, ("reduced",))
    first, second = sorted(kept.glob("*/vae/*/seed?/v0"))
    (first / "arrays/stale.npz").touch()
    shutil.rmtree(outputs / second.relative_to(kept))
    assert len(keep(outputs, kept, ("reduced",))) == 2
    assert second.exists()
    assert not (first / "arrays/stale.npz").exists()


@pytest.mark.slow
def test_an_interruption_leaves_what_was_kept(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    keep(outputs, kept, TIERS)
    before = verdicts(kept)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", stop)
        with pytest.raises(KeyboardInterrupt):
            keep(outputs, kept, TIERS)
    assert verdicts(kept) == before
    keep(outputs, kept, TIERS)
    assert not list(kept.rglob("*.new"))


@pytest.mark.slow
def test_runs_that_are_no_longer_a_tables_are_named(outputs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(outputs, kept, TIERS)
    (run,) = kept.glob("*/scvae/*/seed0/v0")
    shutil.copytree(run, run.with_name("v1"))
    (superseded,) = strays(kept)[:1]
    assert superseded.endswith("seed0/v1 (same row and seed); ignored")
    shutil.rmtree(run)
    config = yaml.safe_load((run.with_name("v1") / "config.yaml").read_text())
    config["model"]["latent_dim"] = 3
    (run.with_name("v1") / "config.yaml").write_text(yaml.safe_dump(config))
    assert [stray.rpartition(": ")[2] for stray in strays(kept)] == ["not a row of a table"]


@pytest.mark.parametrize("kept", ["outputs", "outputs/kept", "."])
def test_runs_are_not_kept_in_their_own_place(kept: str, outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a folder of runs that neither"):
        keep(outputs, tmp_path / kept, TIERS)
    with pytest.raises(UserError, match="otputs: expected a folder of runs"):
        keep(tmp_path / "otputs", tmp_path / "kept", TIERS)
