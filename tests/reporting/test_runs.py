"""Reading of run directories, the choice between several runs of a row, and messages about the others."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.reporting.madeup import cell, paper, put, put_both, put_run, remeasure
from vaebench.report import load_runs, write_report
from vaebench.reporting.match import match
from vaebench.reporting.measurements import numbers_of
from vaebench.reporting.papers import load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.row_values import per_datum
from vaebench.reporting.runs import COLUMNS, find_runs
from vaebench.status import table


def test_a_run_with_another_setting_is_no_row_and_one_from_before_an_option_is(tmp_path: Path) -> None:
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


def test_what_cannot_be_read_or_is_there_twice_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    put_both(tmp_path, 88.0, 80.2)
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, version="v1", nll_nats=87.9)
    newer = put_run(tmp_path, row, seed=7, nll_nats=1.0)
    (newer / "results.json").write_text(
        (newer / "results.json").read_text().replace('"schema_version": 1', '"schema_version": 99')
    )
    half = put_run(tmp_path, row, seed=8, nll_nats=1.0)
    (half / "results.json").write_text((half / "results.json").read_text()[:100])
    lacking = put_run(tmp_path, row, seed=9, nll_nats=1.0)
    (lacking / "results.json").write_text('{"schema_version": 1}')
    report = make_report({"mine": paper(vae=87.89, scvae=80.19)}, list(find_runs(tmp_path)))
    messages = "\n".join(report.problems)
    for folder, why in ((newer, "schema version 99"), (half, "not valid JSON"), (lacking, "incomplete")):
        assert str(folder.relative_to(tmp_path)) in messages
        assert why in messages
    assert "seed0/v0: duplicate of" in messages
    found = report.targets["mine-table1"].cells["vae", "NLL"]
    assert set(found.seeds) == {0, 1, 2}
    assert found.ours == pytest.approx((87.9 + 88.0 + 88.1) / 3)


def test_the_measurement_over_the_most_data_counts() -> None:
    def entry(name: str, value: float, n: int, samples: int) -> dict:
        measurement = {"name": "nll_nats", "value": value, "standard_error": 0.1, "unit": "nats", "n": n}
        return {"name": name, "settings": {"num_samples": samples}, "measurements": [measurement]}

    easy = entry("nll_5000", 90.5, 1000, 5000)
    whole, longer = entry("nll", 91.6, 10000, 500), entry("nll", 91.2, 10000, 5000)
    assert numbers_of({"evaluations": [whole, easy]})["nll_nats"].value == 91.6
    assert numbers_of({"evaluations": [easy, longer, whole]})["nll_nats"].value == 91.2


def test_files_are_those_of_the_measurement_that_counts(tmp_path: Path) -> None:
    """The full evaluation ran second, so its files have the names with a suffix."""
    row = paper().rows["vae"]
    folder = put_run(tmp_path, row, nll_nats=88.0)
    (run,) = find_runs(tmp_path)
    assert run.file("arrays/of_nll.npz") == folder / "arrays/of_nll.npz"  # as older results
    results = json.loads((folder / "results.json").read_text())
    (full,) = results["evaluations"]
    points = np.array([87.0, 89.0])
    full["measurements"][0]["n"] = len(points)
    quick = copy.deepcopy(full)
    quick["measurements"][0] |= {"n": 1, "value": 1.0}
    full["files"] = {"arrays/nll_500_2.npz": "arrays/nll_500_2_c0ffee.npz"}
    quick["files"] = {name: name for name in ("arrays/nll_500_2.npz", "arrays/of_quick.npz")}
    for entries in ([full, quick], [quick, full]):
        (folder / "results.json").write_text(json.dumps(results | {"evaluations": entries}))
        np.savez(folder / "arrays/nll_500_2_c0ffee.npz", log_px=-points, index=np.array([3, 5]))
        np.savez(folder / "arrays/nll_500_2.npz", log_px=-points, index=np.array([0, 1]))
        (run,) = find_runs(tmp_path)
        assert run.file("arrays/nll_500_2.npz") == folder / "arrays/nll_500_2_c0ffee.npz"
        assert run.file("arrays/of_quick.npz") == folder / "arrays/of_quick.npz"
        _, index = per_datum(run, "nll_nats", run.numbers["nll_nats"])
        assert index is not None
        assert index.tolist() == [3, 5]


def test_a_quick_look_hides_no_full_measurement() -> None:
    def entry(value: float, seconds: float, **settings: int | None) -> dict:
        measurement = {"name": "acc", "value": value, "standard_error": None, "unit": "fraction", "n": 1000}
        return {"name": "p", "settings": settings, "seconds": seconds, "measurements": [measurement]}

    short, long = entry(0.90, 9, epochs=10), entry(0.95, 5, epochs=100)
    some, every = entry(0.91, 9, num_train=10000), entry(0.93, 5, num_train=None)
    for quick, full in ((short, long), (some, every), (entry(0.90, 1), entry(0.92, 2))):
        for order in ([quick, full], [full, quick]):
            assert numbers_of({"evaluations": order})["acc"].value == full["measurements"][0]["value"]


def test_a_run_from_before_an_option_is_of_the_rows_that_want_what_it_did(tmp_path: Path) -> None:
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


def test_a_run_that_has_no_number_yet_is_no_seed(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, nll_nats=90.0)
    put_run(tmp_path, row, seed=1)
    report = make_report({"mine": paper()}, list(find_runs(tmp_path)))
    assert list(report.targets["mine-table1"].runs["vae"].runs) == [0]


@pytest.mark.parametrize("value", [None, "n/a", True, [1.0], float("nan"), float("inf")])
def test_what_is_no_finite_number_is_left_out_and_named(tmp_path: Path, value: Any) -> None:
    put_both(tmp_path / "o", 88.0, 80.2, seeds=2)
    row = paper().rows["vae"]
    odd = put_run(tmp_path / "o", row, seed=5, nll_nats=1.0, kl=3.0)
    remeasure(odd, "nll_nats", value=value)
    better = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]]}}
    runs = list(find_runs(tmp_path / "o"))
    report = make_report({"mine": paper(better, vae=87.89, scvae=80.19)}, runs)
    write_report(report, tmp_path / "o", tmp_path / "r")
    (messages,) = report.problems
    assert messages.startswith(f"{odd.relative_to(tmp_path / 'o')}: nll_nats of of_nll_nats is left out")
    found = report.targets["mine-table1"]
    assert found.cells["vae", "NLL"].seeds == found.claims[0].seeds == (0, 1)
    assert found.cells["vae", "NLL"].ours == pytest.approx(88.0)
    assert table(runs)["NLL"].isna().tolist() == [run.seed == 5 for run in runs]
    (line,) = [line for line in load_runs(tmp_path / "o").to_dict("records") if line["seed"] == 5]
    assert line["kl"] == 3.0
    assert line["nll_nats"] != line["nll_nats"]


@pytest.mark.parametrize("facts", [{"standard_error": "0.1"}, {"n": None}])
def test_neither_is_a_number_whose_error_or_size_is_none(tmp_path: Path, facts: dict[str, Any]) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    remeasure(folder, "nll_nats", **facts)
    report = make_report({"mine": paper(vae=87.89)}, list(find_runs(tmp_path)))
    assert str(folder.relative_to(tmp_path)) in report.problems[0]
    assert report.targets["mine-table1"].cells["vae", "NLL"].verdict == "not run"


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b"model: [", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"- 1", "not a mapping"),
        (None, "cannot be read"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, messages: str) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    (folder / "config.yaml").unlink()
    if content is not None:
        (folder / "config.yaml").write_bytes(content)
    report = make_report({"mine": paper(vae=87.89)}, list(find_runs(tmp_path)))
    (problem,) = report.problems
    assert problem.startswith(f"{folder.relative_to(tmp_path)}: config.yaml ")
    assert messages in problem
    assert "\n" not in problem


def test_an_older_complete_run_is_not_hidden_by_a_newer_one_that_is_not(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, version="v0", nll_nats=1.0)
    put_run(tmp_path, row, version="v1", nll_nats=2.0)
    put_run(tmp_path, row, version="v2")
    put_run(tmp_path, row, version="v10", nll_nats=3.0, kl=1.0, elbo=-4.0, state="interrupted")
    assert cell(tmp_path, "vae", vae=88.0).ours == 2.0


def test_of_runs_that_are_not_complete_the_one_with_most_measurements_is_used(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, version="v0", nll_nats=1.0, state="interrupted")
    put_run(tmp_path, row, version="v1", nll_nats=2.0, kl=1.0, state="failed")
    put_run(tmp_path, row, version="v2", nll_nats=3.0, kl=1.0, state="interrupted")
    put_run(tmp_path, row, version="v3", nll_nats=4.0, state="interrupted")
    assert cell(tmp_path, "vae", vae=88.0).ours == 3.0


def test_a_table_for_notebooks_tells_what_was_trained_from_what_was_asked_for(tmp_path: Path) -> None:
    folder = put_run(tmp_path, paper().rows["scvae"], "reduced", nll_nats=88.0)
    asked = load_runs(tmp_path).iloc[0]
    assert (asked["training.epochs"], asked["trained.epochs"], asked["trained.seconds"]) == (3, 1, 9)
    assert asked["path"] == str(folder)
    assert not any(name.startswith("training.seconds") for name in asked.index)


def test_of_no_run_the_table_has_its_columns(tmp_path: Path) -> None:
    empty = load_runs(tmp_path)
    assert len(empty) == 0
    assert empty.columns.tolist() == ["run", *COLUMNS]
    assert (empty.columns[0], empty.columns[-1]) == ("run", "path")
    put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    assert load_runs(tmp_path).columns.tolist()[: len(COLUMNS) + 1] == empty.columns.tolist()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("arrays/nll_500_200.npz", b"PK\x03\x04 cut"),
        ("arrays/nll_500_200.npz", b""),
        ("figures/reconstructions.png", b"\x89PNG\r\n\x1a\n"),
        ("figures/reconstructions.png", b""),
        ("status.json", b"[]"),
        ("provenance.json", b'{"a": 1}'),
        ("provenance.json", b'[{"git": {"commit": null}}, 3]'),
        ("metrics.jsonl", b'{"epoch": 1, "train": {}, "valid": null}\n'),
        ("metrics.jsonl", b'{"epoch": 1}\n'),
    ],
)
def test_one_file_that_is_cut_short_or_odd_does_not_cost_the_report(
    tmp_path: Path, file: str, content: bytes
) -> None:
    """The report names arrays and pictures that cannot be read, and shows everything else."""
    content_of = load_papers()["scvae"]
    points = np.random.default_rng(0).normal(88, 3, 200)
    folder = put_run(tmp_path / "o", content_of.rows["vae_1l"], points=points, svm_linear_accuracy=0.9)
    put_run(tmp_path / "o", content_of.rows["scvae"], nll_nats=80.0, svm_linear_accuracy=0.9)
    (folder / "figures").mkdir()
    (folder / file).write_bytes(content)
    report = make_report({"scvae": content_of}, list(find_runs(tmp_path / "o")))
    write_report(report, tmp_path / "o", tmp_path / "r")
    text = (tmp_path / "r/report.md").read_text()
    if file.startswith(("arrays", "figures")):
        assert f"{file} is truncated" in text
    if file != "status.json":
        assert "| VAE(1L) | 8" in text
    assert "| SCVAE | 80.00" in text
    assert (tmp_path / "r/index.html").exists()


@pytest.mark.parametrize("newer", ["before", "after"])
def test_of_two_runs_of_a_row_and_seed_the_last_begun_is_used(tmp_path: Path, newer: str) -> None:
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
