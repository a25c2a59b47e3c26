"""The report as one HTML page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from vaebench.atomic import finite
from vaebench.reporting.claims import ClaimVerdict
from vaebench.reporting.footnotes import remarks
from vaebench.reporting.markup import Markup, chip, element, folded_list, table
from vaebench.reporting.papers import Paper
from vaebench.reporting.provenance import attempt_of
from vaebench.reporting.published_values import Cell
from vaebench.reporting.render import LEGEND, about_runs, claim_cells, numbers, tolerances, words
from vaebench.reporting.report import CLAIM_VERDICTS, Report, TargetReport
from vaebench.reporting.runs import Run

ASSETS = Path(__file__).parent / "assets"
PICTURE_BYTES = 20 * 2**20
"""Of the runs' own pictures; those that do not fit are named by their path."""
PICTURE_WIDTH = 640
CURVES = ("elbo", "kl", "active_units")
POINTS = 120


def page(report: Report, figures: Mapping[str, bytes], outputs: Path) -> str:
    """The whole page."""
    assets = {path.name: Markup(path.read_text()) for path in ASSETS.iterdir() if path.is_file()}
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup('<link rel="icon" href="data:,">'),
        element("title", "vaebench report"),
        element("style", assets["page.css"]),
    )
    body = element(
        "body",
        head_of(report, outputs),
        *(paper_of(report, name, figures) for name in report.papers),
        assets["runs.html"],
        element("script", data_of(report), id="data", type="application/json"),
        element("script", assets["page.js"]),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def head_of(report: Report, outputs: Path) -> Markup:
    """Title, counts of runs by state, what is missing or unreadable, where to go."""
    states = Counter(run.state for run in report.runs)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "no run yet"
    made = datetime.now(UTC).isoformat(timespec="minutes")
    links = (element("a", name, href=f"#{name}") for name in ("runs", "compare"))
    unfinished = [run for run in report.runs if run.state not in ("complete", "unreadable")]
    return element(
        "header",
        element("h1", "vaebench"),
        element("p", f"{outputs}: {told}; made {made}"),
        element("nav", *links),
        table(("claims of", *CLAIM_VERDICTS, "tiers"), (counts_of(report, name) for name in report.papers)),
        element("details", element("summary", "How to read this"), element("p", LEGEND.replace("`", ""))),
        folded_list("Could not be used", report.problems, is_open=True),
        folded_list("Not complete", [f"{run}: {run.state} {run.note}" for run in unfinished], is_open=True),
    )


def counts_of(report: Report, paper: str) -> Markup:
    """How many of a paper's claims have which verdict, and where its tables are."""
    count = report.claims(paper)
    cells = [str(count[verdict] or "") for verdict in CLAIM_VERDICTS] + [report.tiers(paper)]
    title = element("span", report.papers[paper].title, class_="dim")
    link = element("a", paper, href=f"#{paper}")
    return element("tr", element("th", link, " ", title), *(element("td", cell) for cell in cells))


def paper_of(report: Report, paper: str, figures: Mapping[str, bytes]) -> Markup:
    """A paper's words, then its tables and figures."""
    content = report.papers[paper]
    first, *rest = words(report, paper)
    return element(
        "section",
        element("h2", content.title),
        element("p", content.authors, class_="dim"),
        element("p", first),
        element("ul", *(element("li", line) for line in rest)),
        *(target_of(target, figures.get(str(target.name))) for target in report.of(paper)),
        id=paper,
    )


def target_of(report: TargetReport, figure: bytes | None) -> Markup:
    """A table or figure: numbers with verdicts, claims, picture, remarks; folded if nothing has run."""
    columns = list(report.target.columns)
    parts = [
        table(["", *columns, "tier, seeds"], (row_of(report, row, columns) for row in report.target.cells))
    ]
    if report.claims:
        titles = ("claim", "verdict", "confidence", "seeds", "remarks")
        lines = (claim_of(claim, report.paper) for claim in report.claims)
        parts.append(table(titles, lines, class_="claims"))
    if figure is not None:
        source = f"data:image/png;base64,{base64.b64encode(figure).decode()}"
        parts.append(element("img", src=source, alt=report.target.title))
    parts.append(folded_list("Remarks", [*tolerances(report), *remarks(report)]))
    parts.append(element("pre", "\n".join(commands(report))))
    cells, claims = report.counts()
    counts = [
        f"{what}: {', '.join(f'{n} {verdict}' for verdict, n in counter.items())}"
        for what, counter in (("claims", claims), ("numbers", cells))
        if counter
    ]
    title = element("summary", report.target.title, " ", element("span", "; ".join(counts), class_="dim"))
    is_there = any(found.runs for found in report.runs.values())
    return element("details", title, *parts, class_="target", id=str(report.name), open=is_there)


def commands(report: TargetReport) -> list[str]:
    """What makes that which is shown; of a target of which nothing has run, the whole of it."""
    runs = {(found.tier, tuple(found.runs)) for found in report.runs.values() if found.runs}
    return [
        f"make {report.name} TIER={tier} SEEDS={','.join(map(str, seeds))}"
        for tier, seeds in sorted(runs or {("full", (0, 1, 2))})
    ]


def row_of(report: TargetReport, row: str, columns: Sequence[str]) -> Markup:
    """A line of the table: ours, theirs and verdict of each column, and which runs these are."""
    label, cells = report.paper.rows[row], [report.cells[row, name] for name in columns]
    told = (cell_of(cell, report.target.columns[cell.column].digits) for cell in cells)
    about = element("td", about_runs(cells), class_="dim")
    return element("tr", element("th", label.label, title=label.experiment), *told, about)


def cell_of(cell: Cell, digits: int) -> Markup:
    """Ours, theirs in brackets, a star where theirs is doubted, and the verdict; remarks on hovering."""
    doubted = any(note.startswith("published value doubted") for note in cell.notes)
    verdict = chip(cell.verdict) if cell.published is not None else ""
    told = numbers(cell, digits, with_difference=True) + " * " * doubted
    return element("td", told, " ", verdict, title="; ".join(cell.notes))


def claim_of(claim: ClaimVerdict, paper: Paper) -> Markup:
    """A line of the claims: what it says, with the numbers that it is about, and its verdict."""
    says, verdict, sure, seeds, notes = claim_cells(claim)
    about = [f"{paper.rows[row].label}: {number:.5g}" for row, number in claim.numbers.items()]
    first = element("td", says, folded_list(claim.claim.statement.measure, about))
    return element("tr", first, *(element("td", cell) for cell in (chip(verdict), sure, seeds, notes)))


def data_of(report: Report) -> Markup:
    """Every run as JSON, safe inside a script element."""
    rows: dict[str, list[str]] = {}
    for target in report.targets.values():
        for row, found in target.runs.items():
            for run in found.runs.values():
                rows.setdefault(str(run), []).append(f"{target.name}: {target.paper.rows[row].label}")
    first = sorted(report.runs, key=lambda run: str(run) not in rows)
    pictures, left = {}, PICTURE_BYTES
    for run in first:
        pictures[str(run)], left = pictures_of(run, left)
    runs = [
        {
            "id": str(run),
            **{
                name: getattr(run, name)
                for name in ("dataset", "model", "seed", "version", "tier", "state", "note")
            },
            "rows": rows.get(str(run), []),
            "numbers": {name: [n.value, n.standard_error, n.unit, n.n] for name, n in run.numbers.items()},
            "settings": run.settings,
            "training": run.results.get("training", {}),
            "curves": curves_of(run),
            "attempts": [attempt_of(attempt) for attempt in run.attempts],
            "pictures": pictures[str(run)],
            "path": str(run.path),
        }
        for run in report.runs
    ]
    return Markup(json.dumps(finite(runs), allow_nan=False, default=str).replace("<", "\\u003c"))


def curves_of(run: Run) -> dict[str, list[list[float]]]:
    """`split name` -> (epoch, value), thinned to what a small picture shows."""
    step = max(1, -(-len(run.epochs) // POINTS))
    lines = (
        [*run.epochs[::step], *([run.epochs[-1]] if (len(run.epochs) - 1) % step else [])]
        if run.epochs
        else []
    )
    return {
        f"{split} {name}": points
        for name in CURVES
        for split in ("train", "valid")
        if (points := [[line["epoch"], line[split][name]] for line in lines if name in line.get(split, {})])
    }


def pictures_of(run: Run, left: int) -> tuple[dict[str, str], int]:
    """The run's pictures as data, small, as long as there is room; then their paths."""
    found = {}
    for path in sorted((run.path / "figures").glob("*.png")):
        if left <= 0:
            found[path.stem] = str(path)
            continue
        try:
            with Image.open(path) as image:
                image.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, format="WEBP", quality=70)
        except (OSError, ValueError):
            found[path.stem] = str(path)
            continue
        left -= buffer.tell()
        found[path.stem] = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return found, left
