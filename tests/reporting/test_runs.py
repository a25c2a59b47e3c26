"""Reading of run directories: measurements, files, tables, and messages about damaged files."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting.madeup import paper, put_both, put_run, remeasure
from vaebench.report import load_runs, write_report
from vaebench.reporting.measurements import numbers_of
from vaebench.reporting.papers import load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.row_values import per_datum
from vaebench.reporting.runs import COLUMNS, find_runs
from vaebench.status import table


def test_unreadable_and_duplicate_runs_are_named_and_the_others_are_used(tmp_path: Path) -> None:
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


def test_a_quick_measurement_does_not_replace_a_full_one() -> None:
    def entry(value: float, seconds: float, **settings: int | None) -> dict:
        measurement = {"name": "acc", "value": value, "standard_error": None, "unit": "fraction", "n": 1000}
        return {"name": "p", "settings": settings, "seconds": seconds, "measurements": [measurement]}

    short, long = entry(0.90, 9, epochs=10), entry(0.95, 5, epochs=100)
    part, everything = entry(0.91, 9, num_train=10000), entry(0.93, 5, num_train=None)
    for quick, full in ((short, long), (part, everything), (entry(0.90, 1), entry(0.92, 2))):
        for order in ([quick, full], [full, quick]):
            assert numbers_of({"evaluations": order})["acc"].value == full["measurements"][0]["value"]


@pytest.mark.parametrize("value", [None, "n/a", True, [1.0], float("nan"), float("inf")])
def test_values_that_are_not_finite_are_left_out_and_named(tmp_path: Path, value: Any) -> None:
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
def test_measurements_with_an_invalid_error_or_n_are_left_out(tmp_path: Path, facts: dict[str, Any]) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    remeasure(folder, "nll_nats", **facts)
    report = make_report({"mine": paper(vae=87.89)}, list(find_runs(tmp_path)))
    assert str(folder.relative_to(tmp_path)) in report.problems[0]
    assert report.targets["mine-table1"].cells["vae", "NLL"].verdict == "not run"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: [", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"- 1", "not a mapping"),
        (None, "cannot be read"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    folder = put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    (folder / "config.yaml").unlink()
    if content is not None:
        (folder / "config.yaml").write_bytes(content)
    report = make_report({"mine": paper(vae=87.89)}, list(find_runs(tmp_path)))
    (problem,) = report.problems
    assert problem.startswith(f"{folder.relative_to(tmp_path)}: config.yaml ")
    assert message in problem
    assert "\n" not in problem


def test_the_table_has_results_of_training_apart_from_settings(tmp_path: Path) -> None:
    folder = put_run(tmp_path, paper().rows["scvae"], "reduced", nll_nats=88.0)
    asked = load_runs(tmp_path).iloc[0]
    assert (asked["training.epochs"], asked["trained.epochs"], asked["trained.seconds"]) == (3, 1, 9)
    assert asked["path"] == str(folder)
    assert not any(name.startswith("training.seconds") for name in asked.index)


def test_a_table_of_no_runs_has_its_columns(tmp_path: Path) -> None:
    empty = load_runs(tmp_path)
    assert len(empty) == 0
    assert empty.columns.tolist() == ["run", *COLUMNS]
    assert (empty.columns[0], empty.columns[-1]) == ("run", "path")
    put_run(tmp_path, paper().rows["vae"], nll_nats=88.0)
    assert load_runs(tmp_path).columns.tolist()[: len(COLUMNS) + 1] == empty.columns.tolist()


@pytest.mark.slow
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
def test_a_truncated_or_invalid_file_does_not_stop_the_report(
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
