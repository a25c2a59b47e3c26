"""Content of the page, and its behaviour in a browser."""

import json
import re
from pathlib import Path

import pytest

from tests.browser import Browser, browser
from tests.reporting.madeup import paper, put, put_both, put_run
from vaebench.report import write_report
from vaebench.reporting.page import page as render
from vaebench.reporting.papers import Row, load_papers
from vaebench.reporting.report import make_report
from vaebench.reporting.runs import find_runs

REASON = "<!-- <script></script><b id=broken>"
CLICK_NLL = "document.querySelector('#table thead button[data-column=nll_nats]').click()"
ROUND_ALIKE = ["0.00012345", "0.00012346"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of nine runs, with seeds 1 and 10; one failed with a reason that looks like markup."""
    folder = tmp_path_factory.mktemp("page")
    for i, lr in enumerate(ROUND_ALIKE):
        words = {"label": "VAE", "experiment": "scvae/vae_1l", "with": [f"training.optimizer.lr={lr}"]}
        for seed in (0, 1, 10, 11):
            numbers = {"nll_nats": 90 - i - seed / 100, "svm_linear_accuracy": 0.9}
            put_run(folder / "o", Row.model_validate(words), seed=seed, **numbers)
    failed = put_run(folder / "o", paper().rows["scvae"], seed=2)
    (failed / "results.json").unlink()
    put(failed / "status.json", {"state": "failed", "reason": REASON})
    report = make_report({"scvae": load_papers()["scvae"], "mine": paper()}, list(find_runs(folder / "o")))
    write_report(report, folder / "o", folder / "r")
    return folder / "r/index.html"


@pytest.mark.slow
def test_data_have_nothing_that_html_could_take_for_markup(page: Path) -> None:
    data = page.read_text().partition('type="application/json">')[2].partition("</script>")[0]
    assert "<" not in data
    assert REASON in [run["note"] for run in json.loads(data)]


def test_the_claims_of_a_paper_are_counted_at_the_top(tmp_path: Path) -> None:
    better = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]]}}
    worse = {"greater": {"measure": "nll_nats", "pairs": [["scvae", "vae"]]}}
    absent = {"greater": {"measure": "kl", "pairs": [["vae", "scvae"]]}}
    put_both(tmp_path, vae=88.0, scvae=84.0)
    report = make_report({"mine": paper(better, worse, better, absent)}, list(find_runs(tmp_path)))
    cells = "<td>2</td><td>1</td><td></td><td>1</td><td>full</td>"
    link = '<a href="#mine">mine</a> <span class="dim">A paper</span>'
    assert f"<tr><th>{link}</th>{cells}</tr>" in render(report, {}, tmp_path)


def test_a_run_and_a_paper_that_look_like_markup_are_escaped(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], dataset="<script>", nll_nats=88.0, state="failed")
    titled = paper().model_copy(update={"title": "<b id=broken>", "authors": "A & B"})
    text = render(make_report({"mine": titled}, list(find_runs(tmp_path))), {}, tmp_path)
    assert text.count("<script") == 2  # the data and the program
    assert "&lt;script&gt;" in text
    assert "<h2>&lt;b id=broken&gt;</h2>" in text
    assert "A &amp; B" in text


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.slow
def test_the_page_in_a_browser(page: Path, tmp_path: Path) -> None:
    assert not re.search(r"(src|href)=\"(https?:)?//", page.read_text())
    with browser(tmp_path) as b:
        for width, height in ((1280, 900), (390, 844)):
            b.open(page, width, height)
            assert b.run("document.getElementById('count').textContent") == "9 of 9 runs"
            assert b.run("document.getElementById('broken')") is None
            assert b.run("document.documentElement.scrollWidth <= innerWidth"), (
                "the page is wider than its window"
            )

            names = b.run("[...document.querySelectorAll('#table thead button')].map(n => n.dataset.column)")
            place = names.index("nll_nats") + 1
            b.run(CLICK_NLL)
            rising = [float(text.split()[0]) for text in column(b, place) if text]
            assert rising == sorted(rising)
            assert len(rising) == 8
            b.run(CLICK_NLL)
            assert [float(text.split()[0]) for text in column(b, place) if text] == rising[::-1]
            assert column(b, place)[-1] == ""  # what was not measured stays last

            assert count_with(b, "filter", "VAE seed1") == "2 of 9 runs"
            assert count_with(b, "filter", "seed1/v0") == "2 of 9 runs"
            assert count_with(b, "filter", "VAE seed10") == "2 of 9 runs"
            assert count_with(b, "filter", "scvae") == "1 of 9 runs"
            assert count_with(b, "filter", "seed") == "9 of 9 runs"
            assert count_with(b, "filter", "") == "9 of 9 runs"
            assert count_with(b, "state", "failed") == "1 of 9 runs"
            assert count_with(b, "state", "") == "9 of 9 runs"

            b.run("document.querySelectorAll('#table tbody button')[0].click()")
            assert "c0ffee" in b.run("document.querySelector('.inside').textContent")
            assert b.run("document.querySelectorAll('.inside svg polyline').length") >= 2
            b.picture(tmp_path / f"{width}.png")
        assert b.complaints == []
        assert b.requests == []


@pytest.mark.slow
@pytest.mark.slow
def test_chosen_runs_are_compared_with_the_one_that_was_ticked_first_by_what_they_are(
    page: Path, tmp_path: Path
) -> None:
    with browser(tmp_path) as b:
        b.open(page, 1280, 900)
        count_with(b, "filter", "seed10")
        shown = b.run("[...document.querySelectorAll('#table tr[data-run]')].map(r => r.dataset.run)")
        assert len(shown) == 2
        ticked = shown[::-1]
        for run in ticked:
            b.run(f"document.querySelector('tr[data-run=\"{run}\"] input').click()")
        head, *lines = b.run(
            "[...document.querySelectorAll('#side tr')].map(r => [...r.cells].map(c => c.textContent))"
        )
        assert head == ["run", *ticked]
        of = {line[0]: line[1:] for line in lines}
        assert "(" not in of["nll_nats"][0]
        first, second = (float(text.split()[0]) for text in of["nll_nats"])
        change = re.search(r"\((.*)\)", of["nll_nats"][1])
        assert change is not None
        assert float(change[1]) == pytest.approx(second - first, abs=0.01)
        assert sorted(of["training.optimizer.lr"]) == ROUND_ALIKE
        assert [name for name in of if "." in name] == [
            "training.optimizer.lr"
        ]  # what is the same is left out
        assert b.complaints == []


def column(b: Browser, number: int) -> list[str]:
    """Return the texts of a column of the table of runs, from top to bottom."""
    return b.run(f"[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{number}].textContent)")


def count_with(b: Browser, control: str, value: str) -> str:
    """Set a filter and return the number of runs that the page states."""
    b.run(f"document.getElementById('{control}').value = '{value}'")
    b.run(f"document.getElementById('{control}').dispatchEvent(new Event('input'))")
    b.run(f"document.getElementById('{control}').dispatchEvent(new Event('change'))")
    return b.run("document.getElementById('count').textContent")


def test_a_number_is_labelled_with_its_own_tier_and_seeds(tmp_path: Path) -> None:
    """The full run has no NLL, so the page shows the one of the reduced tier."""
    rows = paper().rows
    put_run(tmp_path, rows["vae"], "full", kl=5.0)
    put_run(tmp_path, rows["vae"], "reduced", seed=3, nll_nats=87.9)
    report = make_report({"mine": paper(vae=87.89)}, list(find_runs(tmp_path)))
    text = render(report, {}, tmp_path)
    assert "87.90" in text
    assert '<td class="dim">reduced, 1</td>' in text


def test_a_table_has_the_command_of_what_it_shows(tmp_path: Path) -> None:
    mine = paper(vae=87.89, scvae=80.19)
    assert "make mine-table1 TIER=full SEEDS=0,1,2" in render(make_report({"mine": mine}, []), {}, tmp_path)
    for seed in (1, 3):
        put_run(tmp_path, mine.rows["vae"], "reduced", seed, nll_nats=88.0)
    text = render(make_report({"mine": mine}, list(find_runs(tmp_path))), {}, tmp_path)
    assert "<pre>make mine-table1 TIER=reduced SEEDS=1,3</pre>" in text
    assert "88.00 ± 0.00 (87.89, +0.11)" in text


def test_a_claim_has_its_numbers_and_a_table_its_tolerance(tmp_path: Path) -> None:
    better = {"greater": {"measure": "nll_nats", "pairs": [["vae", "scvae"]]}}
    put_both(tmp_path, vae=88.0, scvae=84.25)
    mine = paper(better, vae=87.89)
    report = make_report({"mine": mine}, list(find_runs(tmp_path)))
    text = render(report, {}, tmp_path)
    numbers = f"<li>{mine.rows['vae'].label}: 88</li><li>{mine.rows['scvae'].label}: 84.25</li>"
    assert f"<summary>nll_nats (2)</summary><ul>{numbers}</ul>" in text
    assert "<li>Tolerance: NLL 0.5.</li>" in text
