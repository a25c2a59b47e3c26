"""Tables of ours and theirs in Markdown, CSV and LaTeX, and the sentences of the report."""

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
ERRORS = "Standard errors are over seeds; with one seed, over test examples."
LEGEND = f"""A cell shows ours ± standard error (theirs, ours - theirs).
{ERRORS} A number `agrees` if it is within the tolerance,
at the full tier, on the published data, with a standard error no larger than the tolerance; with a larger
standard error it is `not comparable`. Any other number is judged by its direction, at any tier: does the row
beat or lose to the paper's reference row, as published? If at least 95 % of the bootstrap draws over seeds
and test examples say so, the `direction agrees`; if at least 95 % say the opposite, the number `differs`. If
neither holds, the number `differs` if it has the full tier, the published data and a standard error no larger
than the tolerance; otherwise it is `not comparable`.
A claim is `reproduced` if all its parts hold together in at least 95 % of the draws,
`not reproduced` if one of its K parts holds in at most 5 % / K of the draws (Bonferroni), and
`inconclusive` otherwise; claims.csv has the numbers. A star on the page, or a remark, marks a published
number that we doubt.
"""


def frame(report: TargetReport) -> pd.DataFrame:
    """Return a DataFrame with a row per cell: ours, theirs, verdict and provenance."""
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
    return cells.astype({"n": "Int64", "num_samples": "Int64"})  # integers with missing values


def markdown(report: TargetReport) -> str:
    """Return the table with rows and columns of the paper, then remarks and claims."""
    lines = [f"### {report.name}: {report.target.title}", ""]
    columns = list(report.target.columns)
    lines += _pipes(["", *columns, "tier, seeds"])
    for row in report.target.cells:
        cells = report.cells_of(row)
        ours = [cell_text(cell, report.target.columns[cell.column].digits) for cell in cells]
        line = [report.paper.rows[row].label, *ours, about_runs(cells)]
        lines.append(f"| {' | '.join(map(_md, line))} |")
    lines += ["", *(f"- {line}" for line in [*tolerances(report), *remarks(report)])]
    if report.claims:
        lines += ["", *_pipes(["claim", "verdict", "confidence", "seeds", "remarks"])]
        lines += [f"| {' | '.join(map(_md, claim_cells(claim)))} |" for claim in report.claims]
    return "\n".join(lines) + "\n"


def claims_frame(report: Report) -> pd.DataFrame:
    """Return a DataFrame with a row per claim: verdict, confidence and numbers."""
    return pd.DataFrame(
        {
            "target": name,
            "claim": judged.claim.says,
            "where": judged.claim.where,
            "verdict": judged.verdict,
            "confidence": judged.confidence,
            "tier": judged.tier or "",
            "seeds": " ".join(map(str, judged.seeds)),
            "measure": judged.claim.statement.measure,
            "numbers": "; ".join(f"{row} {value:.6g}" for row, value in judged.numbers.items()),
            "notes": "; ".join(note for note in (judged.claim.note, *judged.notes) if note),
        }
        for name, target in report.targets.items()
        for judged in target.claims
    )


def latex(report: TargetReport) -> str:
    """Return a booktabs table: ours ± standard error (theirs), with a dagger where the setups differ."""
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
    if marks := dict.fromkeys(mark for cell in report.cells.values() for mark in cell.reservations):
        reasons = _tex(", ".join(marks))
        lines += ["", rf"{DAGGER} Not at the full tier, or not on the published data: {reasons}."]
    return "\n".join(lines) + "\n"


def tolerances(report: TargetReport) -> list[str]:
    """Return a line with the tolerance of each column, if the table has published numbers."""
    if all(cell.published is None for cell in report.cells.values()):
        return []
    columns = (f"{name} {column.tolerance:g}" for name, column in report.target.columns.items())
    return [f"Tolerance: {', '.join(columns)}."]


def about_runs(cells: Sequence[Cell]) -> str:
    """Return tier, number of seeds and stand-in dataset of a row's numbers."""
    known = [cell for cell in cells if cell.ours is not None]
    about = dict.fromkeys(
        f"{cell.tier}, {len(cell.seeds)}{f', {cell.variant}' if cell.variant else ''}" for cell in known
    )
    return "; ".join(about) or MISSING


def cell_text(cell: Cell, digits: int) -> str:
    """Format a cell: `87.9 ± 0.1 (87.89, +0.01): agrees`."""
    text = numbers(cell, digits, with_difference=True)
    return text if cell.published is None else f"{text}: {cell.verdict}"


def numbers(cell: Cell, digits: int, with_difference: bool = False) -> str:
    """Format ours and theirs: `87.9 ± 0.1 (87.89)`, or `87.9 ± 0.1 (87.89, +0.01)` with the difference."""
    ours = "–"
    if cell.ours is not None:
        ours = f"{cell.ours:.{digits}f}"
        if cell.standard_error is not None:
            ours += f" ± {cell.standard_error:.{max(digits, 1)}f}"
    if cell.published is None:
        return ours
    difference = cell.difference if with_difference else None
    return f"{ours} ({cell.published:g}{'' if difference is None else f', {difference:+.{digits}f}'})"


def claim_cells(claim: ClaimVerdict) -> list[str]:
    """Return the columns claim, verdict, confidence, seeds and remarks."""
    confidence = "" if claim.confidence is None else f"{claim.confidence:.3f}"
    notes = [note for note in (claim.claim.note, *claim.notes) if note]
    says = f"{claim.claim.says} ({claim.claim.where})"
    return [says, claim.verdict, confidence, " ".join(map(str, claim.seeds)), "; ".join(notes)]


def words(report: Report, paper: str) -> list[str]:
    """Return sentences about a paper: the counts of verdicts, then one sentence per claim."""
    targets = report.of(paper)
    claims = [claim for target in targets for claim in target.claims]
    # A figure or another table may repeat a number: it counts once, with its most informative verdict.
    published: dict[tuple[str, str, float], str] = {}
    for cell in (cell for target in targets for cell in target.cells.values()):
        if cell.published is not None:
            key = cell.row, cell.measure, cell.published
            published[key] = min(published.get(key, MISSING), cell.verdict, key=CELL_VERDICTS.index)
    cells = Counter(published.values())
    opening = f"Of {len(claims)} claims: {_counted(report.claims(paper), CLAIM_VERDICTS)}."
    if total := sum(cells.values()):
        opening += f" Of {total} published numbers: {_counted(cells, CELL_VERDICTS)}."
    text = [opening]
    for verdict in CLAIM_VERDICTS[:3]:
        text += [_sentence(claim) for claim in claims if claim.verdict == verdict and claim.tier != "smoke"]
    if smoke := sum(claim.tier == "smoke" for claim in claims):
        text.append(f"Run at the smoke tier only, which decides nothing: {smoke} of the claims.")
    return text


def by_paper(report: Report) -> str:
    """Return a Markdown table with a line per paper: counts of the verdicts on its claims, and tiers."""
    lines = _pipes(["claims of", *CLAIM_VERDICTS, "tiers"])
    for paper, content in report.papers.items():
        count = report.claims(paper)
        cells = [content.title, *(str(count[verdict]) for verdict in CLAIM_VERDICTS), report.tiers(paper)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary(targets: Sequence[TargetReport]) -> str:
    """Return a Markdown table with a line per target: what has run, counts of verdicts, provenance."""
    lines = _pipes(
        ["target", "rows run", "tiers", "seeds", *CLAIM_VERDICTS, "published numbers", *origin([])]
    )
    for target in targets:
        cells, claims = target.counts()
        measured = [cell for cell in target.cells.values() if cell.seeds]
        tiers = " ".join(sorted({str(cell.tier) for cell in measured}))
        seeds = sorted({len(cell.seeds) for cell in measured})
        fewest_and_most = dict.fromkeys([*seeds[:1], *seeds[-1:]])
        runs = [run for row_runs in target.runs.values() for run in row_runs.runs.values()]
        row = [str(target.name), f"{len(target.runs) - len(target.lacking)} of {len(target.runs)}", tiers,
               " to ".join(map(str, fewest_and_most)), *(str(claims[v]) for v in CLAIM_VERDICTS),
               _counted(cells, CELL_VERDICTS) if cells else "",
               *origin(runs).values()]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _sentence(claim: ClaimVerdict) -> str:
    """Format `Reproduced: the claim (holds in 99.9 % of draws, 3 seeds)`."""
    seeds = "one seed" if len(claim.seeds) == 1 else f"{len(claim.seeds)} seeds"
    confidence = "" if claim.confidence is None else f"holds in {100 * claim.confidence:.1f} % of draws, "
    marks = "".join(f", {note}" for note in claim.notes if note.startswith(("tier ", "data: ")))
    return f"{claim.verdict.capitalize()}: {claim.claim.says} ({confidence}{seeds}{marks})."


def _counted(count: Counter[str], verdicts: Sequence[str]) -> str:
    """Format `2 reproduced, 1 not run`, in the order of `verdicts`."""
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in verdicts if count[verdict]) or "none"


def _pipes(head: Sequence[str]) -> list[str]:
    """Return the head of a Markdown table."""
    return [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]


def _md(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return text.replace("|", "&#124;")


def _tex(text: str) -> str:
    """Escape text for LaTeX."""
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$").replace("–", "--")
