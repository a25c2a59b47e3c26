"""Measurements against a setting: means and errors over seeds, and only the runs that were asked for."""

import sys
from pathlib import Path

import pytest

from scripts.plot_runs import main
from tests.reporting.madeup import put_run
from vaebench.reporting.papers import Row


def row(depth: int) -> Row:
    return Row.model_validate(
        {"label": "", "experiment": "scvae/vae_1l", "with": [f"model.encoder.depth={depth}"]}
    )


def run(outputs: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    arguments = ["draw", str(outputs), "--x", "model.encoder.depth", "--y", "nll_nats", *words]
    monkeypatch.setattr(sys, "argv", arguments)
    main()


def test_points_are_means_over_seeds_with_their_errors(tmp_path, monkeypatch, capsys):
    put_run(tmp_path, row(1), nll_nats=90.0, error=0.25)
    for seed, value in enumerate((80.0, 82.0)):
        put_run(tmp_path, row(2), seed=seed, nll_nats=value)
    run(tmp_path, monkeypatch, "--out", str(tmp_path / "depth.png"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["| vae | 1 | 1 | 90 ± 0.25 |", "| vae | 2 | 2 | 81 ± 1 |"]
    assert (tmp_path / "depth.png").read_bytes().startswith(b"\x89PNG")


def test_conditions_choose_the_runs_and_mistakes_are_named(tmp_path, monkeypatch, capsys):
    for depth in (1, 2):
        put_run(tmp_path, row(depth), nll_nats=90.0)
    run(tmp_path, monkeypatch, "--where", "model.encoder.depth=2")
    assert len(capsys.readouterr().out.splitlines()) == 3
    put_run(tmp_path, row(4), nll_nats=90.0).joinpath("config.yaml").unlink()  # whole numbers become floats
    run(tmp_path, monkeypatch, "--where", "model.encoder.depth=2")
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(SystemExit, match="depht: no such column"):
        run(tmp_path, monkeypatch, "--where", "depht=2")
    with pytest.raises(SystemExit, match="no run"):
        run(tmp_path, monkeypatch, "--where", "model.encoder.depth=3")


def test_runs_that_differ_in_more_than_their_seeds_are_not_passed_off_as_seeds(tmp_path, monkeypatch, capsys):
    put_run(tmp_path, row(1), nll_nats=90.0)
    put_run(tmp_path, row(1), seed=1, nll_nats=91.0)
    run(tmp_path, monkeypatch)
    assert capsys.readouterr().err == ""
    put_run(tmp_path, row(1), version="v1", nll_nats=95.0)
    run(tmp_path, monkeypatch)
    assert "vae, model.encoder.depth = 1: mean over runs that differ in version" in capsys.readouterr().err
    put_run(tmp_path, row(1), tier="smoke", nll_nats=200.0)
    run(tmp_path, monkeypatch)
    assert "runs that differ in tier, hash; see --where" in capsys.readouterr().err
