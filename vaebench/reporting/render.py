"""Tables of ours beside theirs, in Markdown, CSV and LaTeX, and the report's words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from vaebench.reporting.claims import ClaimVerdict
from vaebench.reporting.footnotes import remarks
from vaebench.reporting.provenance import origin
from vaebench.reporting.published_values import CELL_VERDICTS, Cell
from vaebench.reporting.report import CLAIM_VERDICTS, Report, TargetReport

MISSING = "not run"
DAGGER = r"$^\dagger$"
ERRORS = "Standard errors are over seeds, of one seed over test data."
LEGEND = f"""A number is ours ± its standard error (theirs, ours - theirs). {ERRORS}
It `agrees` within the tolerance, at the full tier, on the published data, with an error no larger than that.
Else what counts is how its row stands to the one that the paper compares it with: the `direction agrees`, or
the number `differs`, if that holds in 95 % of draws over seeds and test points, at any tier; so a number of a
lower tier `differs` in its direction, not in its value. Where that cannot be told it `differs` at the full
tier on the published data, and is `not comparable` elsewhere. A claim is `reproduced` if all of it holds in
95 % of draws, `not reproduced` if one of its K parts holds in 5 % / K or fewer, else `inconclusive`;
claims.csv has the numbers. A star on the page, or a remark, marks published numbers that are doubted.
"""


def frame(report: TargetReport) -> pd.DataFrame:
    """A row for each cell: ours, theirs, the verdict and what goes with it."""
    cells = pd.DataFrame(
        {
            "row": report.paper.rows[cell.row].label,
            "experiment": report.paper.rows[cell.row].experiment,
            "column": cell.column,
            "measure": cell.measure,
            "ours": cell.ours,
            "standard_error": cell.standard_error,
            "theirs": cell.published,
            "difference": cell.difference,
            "verdict": cell.verdict,
            "tier": cell.tier or "",
            "data": cell.variant,
            "seeds": " ".join(map(str, cell.seeds)),
            "n": cell.n,
            "num_samples": cell.num_samples,
            "notes": "; ".join(cell.notes),
        }
        for cell in report.cells.values()
    )
    return cells.astype({"n": "Int64", "num_samples": "Int64"})  # whole numbers, where some are missing too


def markdown(report: TargetReport) -> str:
    """The table as the paper has it, then its verdicts, claims and remarks."""
    lines = [f"### {report.name}: {report.target.title}", ""]
    columns = list(report.target.columns)
    lines += _pipes(["", *columns, "tier, seeds"])
    for row in report.target.cells:
        cells = report.cells_of(row)
        ours = [told(cell, report.target.columns[cell.column].digits) for cell in cells]
        line = [report.paper.rows[row].label, *ours, about_runs(cells)]
        lines.append(f"| {' | '.join(map(_md, line))} |")
    lines += ["", *(f"- {line}" for line in [*tolerances(report), *remarks(report)])]
    if report.claims:
        lines += ["", *_pipes(["claim", "verdict", "confidence", "seeds", "remarks"])]
        lines += [f"| {' | '.join(map(_md, claim_cells(claim)))} |" for claim in report.claims]
    return "\n".join(lines) + "\n"


def claims_frame(report: Report) -> pd.DataFrame:
    """A row for each claim: the verdict, how sure it is, and the numbers that it is about."""
    return pd.DataFrame(
        {
            "target": name,
            "claim": found.claim.says,
            "where": found.claim.where,
            "verdict": found.verdict,
            "confidence": found.confidence,
            "tier": found.tier or "",
            "seeds": " ".join(map(str, found.seeds)),
            "measure": found.claim.statement.measure,
            "numbers": "; ".join(f"{row} {value:.6g}" for row, value in found.numbers.items()),
            "notes": "; ".join(note for note in (found.claim.note, *found.notes) if note),
        }
        for name, target in report.targets.items()
        for found in target.claims
    )


def latex(report: TargetReport) -> str:
    """A booktabs table: ours with its error, theirs in brackets; a dagger where they are not of a kind."""
    columns = list(report.target.columns)
    lines = [
        f"% {report.name}: ours (theirs)",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}l}}",
        r"\toprule",
        " & ".join(["", *map(_tex, columns), "tier, seeds"]) + r" \\",
        r"\midrule",
    ]
    for row in report.target.cells:
        cells = report.cells_of(row)
        ours = [
            _tex(numbers(cell, report.target.columns[cell.column].digits)) + DAGGER * bool(cell.reservations)
            for cell in cells
        ]
        about = _tex(about_runs(cells))
        lines.append(" & ".join([_tex(report.paper.rows[row].label), *ours, about]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", "", ERRORS]
    if why := dict.fromkeys(mark for cell in report.cells.values() for mark in cell.reservations):
        lines += [
            "",
            rf"{DAGGER} Not at the full tier, or not on the published data: {_tex(', '.join(why))}.",
        ]
    return "\n".join(lines) + "\n"


def tolerances(report: TargetReport) -> list[str]:
    """Within what a number of ours agrees with theirs, of a table with published numbers."""
    if all(cell.published is None for cell in report.cells.values()):
        return []
    every = (f"{name} {column.tolerance:g}" for name, column in report.target.columns.items())
    return [f"Agrees within: {', '.join(every)}."]


def about_runs(cells: Sequence[Cell]) -> str:
    """Tier, number of seeds and stand-in data of a row's numbers."""
    known = [cell for cell in cells if cell.ours is not None]
    about = dict.fromkeys(
        f"{cell.tier}, {len(cell.seeds)}{f', {cell.variant}' if cell.variant else ''}" for cell in known
    )
    return "; ".join(about) or MISSING


def told(cell: Cell, digits: int) -> str:
    """`87.9 ± 0.1 (87.89, +0.01): agrees`."""
    told = numbers(cell, digits, with_difference=True)
    return told if cell.published is None else f"{told}: {cell.verdict}"


def numbers(cell: Cell, digits: int, with_difference: bool = False) -> str:
    """`87.9 ± 0.1 (87.89)`: ours with its error, theirs in brackets, perhaps with what ours has more."""
    ours = "–"
    if cell.ours is not None:
        ours = f"{cell.ours:.{digits}f}"
        if cell.standard_error is not None:
            ours += f" ± {cell.standard_error:.{max(digits, 1)}f}"
    if cell.published is None:
        return ours
    more = cell.difference if with_difference else None
    return f"{ours} ({cell.published:g}{'' if more is None else f', {more:+.{digits}f}'})"


def claim_cells(claim: ClaimVerdict) -> list[str]:
    """Claim, verdict, confidence, seeds, remarks."""
    confidence = "" if claim.confidence is None else f"{claim.confidence:.3f}"
    notes = [note for note in (claim.claim.note, *claim.notes) if note]
    where = f"{claim.claim.says} ({claim.claim.where})"
    return [where, claim.verdict, confidence, " ".join(map(str, claim.seeds)), "; ".join(notes)]


def words(report: Report, paper: str) -> list[str]:
    """What of a paper reproduces and how sure that is: the counts, then a sentence for each claim."""
    targets = report.of(paper)
    claims = [claim for target in targets for claim in target.claims]
    # A figure, or another table, may repeat a number: it counts once, where most can be said of it.
    published: dict[tuple[str, str, float], str] = {}
    for cell in (cell for target in targets for cell in target.cells.values()):
        if cell.published is not None:
            key = cell.row, cell.measure, cell.published
            published[key] = min(published.get(key, MISSING), cell.verdict, key=CELL_VERDICTS.index)
    cells = Counter(published.values())
    opening = f"Of {len(claims)} claims {_counted(report.claims(paper), CLAIM_VERDICTS)}"
    if total := sum(cells.values()):
        opening += f"; of {total} published numbers {_counted(cells, CELL_VERDICTS)}"
    text = [f"{opening}."]
    for verdict in CLAIM_VERDICTS[:3]:
        text += [_sentence(claim) for claim in claims if claim.verdict == verdict and claim.tier != "smoke"]
    if smoke := sum(claim.tier == "smoke" for claim in claims):
        text.append(f"{smoke} claims have run at the smoke tier only, which decides nothing.")
    return text


def by_paper(report: Report) -> str:
    """A line for each paper: how many of its claims have which verdict, at which tiers."""
    lines = _pipes(["claims of", *CLAIM_VERDICTS, "tiers"])
    for paper, content in report.papers.items():
        count = report.claims(paper)
        cells = [content.title, *(str(count[verdict]) for verdict in CLAIM_VERDICTS), report.tiers(paper)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary(targets: Sequence[TargetReport]) -> str:
    """A line for each target: how much has run, with which verdicts, when, where and how long."""
    lines = _pipes(
        ["target", "rows run", "tiers", "seeds", *CLAIM_VERDICTS, "published numbers", *origin([])]
    )
    for target in targets:
        cells, claims = target.counts()
        measured = [cell for cell in target.cells.values() if cell.seeds]
        tiers = " ".join(sorted({str(cell.tier) for cell in measured}))
        seeds = sorted({len(cell.seeds) for cell in measured})
        fewest_and_most = dict.fromkeys([*seeds[:1], *seeds[-1:]])
        runs = [run for found in target.runs.values() for run in found.runs.values()]
        row = [str(target.name), f"{len(target.runs) - len(target.lacking)} of {len(target.runs)}", tiers,
               " to ".join(map(str, fewest_and_most)), *(str(claims[v]) for v in CLAIM_VERDICTS),
               _counted(cells, CELL_VERDICTS) if cells else "",
               *origin(runs).values()]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _sentence(claim: ClaimVerdict) -> str:
    seeds = "one seed" if len(claim.seeds) == 1 else f"{len(claim.seeds)} seeds"
    sure = "" if claim.confidence is None else f"it holds in {100 * claim.confidence:.1f} % of draws, "
    marks = "".join(f", {note}" for note in claim.notes if note.startswith(("tier ", "data: ")))
    return f"{claim.verdict.capitalize()}: {claim.claim.says} ({sure}{seeds}{marks})."


def _counted(count: Counter[str], verdicts: Sequence[str]) -> str:
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in verdicts if count[verdict]) or "none"


def _pipes(head: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]


def _md(text: str) -> str:
    return text.replace("|", "&#124;")


def _tex(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$").replace("–", "--")
