"""What is committed under results/: that its words are those of the runs it keeps."""

import re

import pytest

from tests.cli import ROOT
from vaebench.report import in_markdown
from vaebench.reporting.collect import find_runs
from vaebench.reporting.compare import Report, make_report
from vaebench.reporting.papers import load_papers
from vaebench.reporting.tables import summary

RESULTS = ROOT / "results"
AGAIN = "python -m vaebench.report results/runs --out report; cp report/report.md results/verdicts.md"


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report(load_papers(), list(find_runs(RESULTS / "runs")))


def test_every_run_that_is_kept_is_a_row_of_a_table(report: Report) -> None:
    """It no longer is where its experiment has changed since: then the row has to run again."""
    assert report.problems == ()
    shown = {
        run.path
        for target in report.targets.values()
        for found in target.runs.values()
        for run in found.runs.values()
    }
    assert {run.path for run in report.runs} == shown


def test_the_table_of_tables_is_what_the_runs_say(report: Report) -> None:
    page = (RESULTS / "README.md").read_text()
    head, rule, *rows = summary(list(report.targets.values())).splitlines()
    assert f"{head}\n{rule}\n" in page
    for row in rows:
        name, rows_run = (cell.strip() for cell in row.split("|")[1:3])
        if rows_run.startswith("0 of"):
            assert f"`{name}`" in page.partition("Not run at a tier that means anything:")[2]
        else:
            assert f"{row}\n" in page


def test_the_verdicts_are_what_the_runs_say(report: Report) -> None:
    assert (RESULTS / "verdicts.md").read_text() == in_markdown(report), AGAIN


def test_nothing_names_a_machine() -> None:
    texts = [path for path in RESULTS.rglob("*") if path.suffix in (".md", ".json", ".jsonl", ".yaml")]
    named = [path for path in texts if re.search(r"/(home|root|tmp|work|Users)/", path.read_text())]
    assert texts
    assert not named
