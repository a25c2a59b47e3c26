"""Tables of ours and theirs in Markdown, CSV and LaTeX."""

from pathlib import Path

from tests.reporting.madeup import paper, put_both, put_run
from vaebench.reporting.papers import load_papers
from vaebench.reporting.render import frame, latex, markdown, summary, words
from vaebench.reporting.report import TargetReport, make_report
from vaebench.reporting.runs import find_runs

SKIPVAE = load_papers()["skipvae"]


def report_of(outputs: Path) -> TargetReport:
    report = make_report({"mine": paper(vae=87.89, scvae=80.19)}, list(find_runs(outputs)))
    return report.targets["mine-table1"]


def test_markdown_shows_the_difference_with_its_sign(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=87.5)
    put_run(tmp_path, paper().rows["scvae"], nll_nats=84.0)
    text = markdown(report_of(tmp_path))
    assert "| VAE | 87.50 ± 0.10 (87.89, -0.39): agrees |" in text
    assert "| SCVAE | 84.00 ± 0.10 (80.19, +3.81): direction agrees |" in text
    assert "| VAE | – (87.89): not run |" in markdown(report_of(tmp_path / "nothing"))


def test_latex_marks_what_is_not_of_the_published_kind_and_says_why(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=87.5)
    assert "dagger" not in latex(report_of(tmp_path))
    put_run(tmp_path, paper().rows["scvae"], "reduced", nll_nats=84.0)
    text = latex(report_of(tmp_path))
    assert r"VAE & 87.50 $\pm$ 0.10 (87.89) & full, 1 \\" in text
    assert r"SCVAE & 84.00 $\pm$ 0.10 (80.19)$^\dagger$ & reduced, 1 \\" in text
    *_, end, _, errors, _, line = text.splitlines()
    assert errors == "Standard errors are over seeds; with one seed, over test examples."
    assert end == r"\end{tabular}"
    assert line == r"$^\dagger$ Not at the full tier, or not on the published data: tier reduced."


def test_latex_marks_other_data_too(tmp_path: Path) -> None:
    put_run(tmp_path, SKIPVAE.rows["table3_vae_l2"], dataset="mnist_static_seeded", kl=24.0)
    report = make_report({"skipvae": SKIPVAE}, list(find_runs(tmp_path)))
    text = latex(report.targets["skipvae-table3"])
    assert r"24.00 $\pm$ 0.10 (24.23)$^\dagger$" in text
    assert text.count("dagger") == 2  # a cell that has not run has no mark
    assert text.splitlines()[-1].endswith(r": data mnist\_static\_seeded.")


def test_a_number_that_two_tables_print_counts_once_where_most_can_be_said_of_it(tmp_path: Path) -> None:
    """In the second table SCVAE is the reference row, so it has no direction."""
    mine = paper(vae=87.89, scvae=80.19)
    second = mine.targets["table1"].model_copy(update={"against": "scvae"})
    both = mine.model_copy(update={"targets": {**mine.targets, "table2": second}})
    put_both(tmp_path, 90.0, 84.0)
    report = make_report({"mine": both}, list(find_runs(tmp_path)))
    verdicts = [report.targets[f"mine-table{i}"].cells["scvae", "NLL"].verdict for i in (1, 2)]
    assert verdicts == ["direction agrees", "differs"]
    assert "Of 2 published numbers: 2 direction agrees." in words(report, "mine")[0]


def test_the_csv_has_how_many_data_and_draws(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=87.5)
    ran, other = frame(report_of(tmp_path)).to_csv(index=False).splitlines()[1:]
    assert ",0,200,500," in ran
    assert other.endswith(",,,,,")


def test_the_summary_counts_the_seeds_that_have_the_measure(tmp_path: Path) -> None:
    row = paper().rows["vae"]
    put_run(tmp_path, row, seed=0, nll_nats=87.5)
    put_run(tmp_path, row, seed=1, elbo=-91.0)
    *_, line = summary([report_of(tmp_path)]).splitlines()
    assert line.startswith("| mine-table1 | 1 of 2 | full | 1 |")


def test_a_number_that_a_figure_repeats_counts_once_in_a_papers_words(tmp_path: Path) -> None:
    put_run(tmp_path, paper().rows["vae"], nll_nats=87.5)
    one = paper(vae=87.89, scvae=80.19)
    both = one.model_copy(update={"targets": one.targets | {"fig1": one.targets["table1"]}})
    opening, *_ = words(make_report({"mine": both}, list(find_runs(tmp_path))), "mine")
    assert opening.endswith("Of 2 published numbers: 1 agrees, 1 not run.")
