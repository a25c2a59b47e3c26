"""What is committed under results/: that its words are those of the runs it keeps."""

import re

import pytest

from scripts.archive_runs import strays
from tests.cli import ROOT
from vaebench.report import in_markdown
from vaebench.reporting.papers import load_papers
from vaebench.reporting.render import by_paper, summary
from vaebench.reporting.report import Report, make_report
from vaebench.reporting.runs import find_runs

RESULTS = ROOT / "results"
AGAIN = "python -m vaebench.report results/runs --out report; cp report/report.md results/verdicts.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RESULTS.exists(), reason="a source distribution has no results/"),
]


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report(load_papers(), list(find_runs(RESULTS / "runs")))


def test_every_run_that_is_kept_is_a_row_of_a_table() -> None:
    """It no longer is where its experiment has changed since: then the row has to run again."""
    assert strays(RESULTS / "runs") == []


def test_the_table_of_tables_is_what_the_runs_say(report: Report) -> None:
    assert report.problems == ()
    page = (RESULTS / "README.md").read_text()
    head, rule, *rows = summary(list(report.targets.values())).splitlines()
    run = [row for row in rows if "| 0 of " not in row]
    assert "\n".join([head, rule, *run]) in page
    _, _, after = page.partition("Not run at a tier that means anything: ")
    not_run = re.findall(r"`(\S+)`", after.partition(".")[0])
    assert not_run == [row.split()[1] for row in rows if row not in run]


def test_the_table_of_papers_is_what_the_runs_say(report: Report) -> None:
    assert by_paper(report) in (ROOT / "README.md").read_text()


def test_the_verdicts_are_what_the_runs_say(report: Report) -> None:
    assert (RESULTS / "verdicts.md").read_text() == in_markdown(report), AGAIN


def test_no_path_of_a_machine_is_named() -> None:
    texts = [path for path in (RESULTS / "runs").rglob("*") if path.suffix in (".json", ".jsonl", ".yaml")]
    assert texts
    for path in texts:
        assert not re.search(r"""(^|[\s="':\[,])/\w""", path.read_text(), re.MULTILINE), path
    for path in RESULTS.glob("*.md"):
        assert not re.search(r"/(home|root|tmp|work|Users|mnt)/", path.read_text()), path
