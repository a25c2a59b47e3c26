"""`python -m vaebench.report outputs --out report/`: write tables, verdicts, figures and an HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vaebench.atomic import write_bytes, write_text
from vaebench.errors import UserError
from vaebench.reporting.figures import draw
from vaebench.reporting.page import page
from vaebench.reporting.papers import chosen, load_papers
from vaebench.reporting.render import LEGEND, by_paper, claims_frame, frame, latex, markdown, summary, words
from vaebench.reporting.report import Report, make_report
from vaebench.reporting.runs import find_runs, load_runs

__all__ = ["load_runs", "main", "write_report"]


def write_report(report: Report, outputs: Path, out: Path) -> None:
    """Write index.html, report.md, runs.csv, claims.csv and the folders tables/ and figures/ into `out`."""
    figures = {}
    for name, target in report.targets.items():
        write_text(out / "tables" / f"{name}.csv", frame(target).to_csv(index=False))
        write_text(out / "tables" / f"{name}.tex", latex(target))
        if (picture := draw(target)) is not None:
            figures[name] = picture
            write_bytes(out / "figures" / f"{name}.png", picture)
    write_text(out / "report.md", in_markdown(report))
    write_text(out / "claims.csv", claims_frame(report).to_csv(index=False))
    write_text(out / "runs.csv", load_runs(outputs).to_csv(index=False))
    write_text(out / "index.html", page(report, figures, outputs))


def in_markdown(report: Report) -> str:
    """Return the report as Markdown: summaries, the sentences and tables of each paper, problems."""
    by_target = summary(list(report.targets.values()))
    parts = ["# Reproduction of published numbers and claims\n", by_paper(report), by_target, LEGEND]
    for paper, content in report.papers.items():
        parts += [f"## {content.title}\n", f"{content.authors}\n", *_bulleted(words(report, paper))]
        parts += map(markdown, report.of(paper))
    if report.problems:
        parts += ["## Problems\n", "\n".join(f"- {problem}" for problem in report.problems)]
    return "\n".join(parts) + "\n"


def _bulleted(lines: list[str]) -> list[str]:
    """Return the first line as a paragraph and the others as a list."""
    first, *rest = lines
    return [f"{first}\n", "".join(f"- {line}\n" for line in rest)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("outputs", nargs="?", default=Path("outputs"), type=Path, help="folder of runs")
    parser.add_argument("--out", default=Path("report"), type=Path, help="folder for the report")
    parser.add_argument(
        "--targets", nargs="*", default=["all"], help="targets that must be complete for exit status 0"
    )
    options = parser.parse_args()
    try:
        papers = load_papers()
        names = [str(name) for name in chosen(papers, options.targets)]
        report = make_report(papers, list(find_runs(options.outputs)))
        write_report(report, options.outputs, options.out)
    except UserError as error:
        sys.exit(str(error))
    targets = [report.targets[name] for name in names]
    if not options.outputs.is_dir():
        print(f"{options.outputs}: no such folder; pass the folder that contains your runs", file=sys.stderr)
    print(summary(targets))
    for problem in report.problems:
        print(problem, file=sys.stderr)
    for target in targets:
        if target.missing:
            print(f"{target.name}: not run: {'; '.join(target.missing)}", file=sys.stderr)
    print(f"{options.out}/index.html")
    sys.exit(int(any(target.missing for target in targets)))


if __name__ == "__main__":
    main()
