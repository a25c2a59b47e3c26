"""The report as one HTML page without links to other files or to the network."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vaebench.reporting.claims import ClaimVerdict
from vaebench.reporting.footnotes import remarks
from vaebench.reporting.page_data import run_records
from vaebench.reporting.papers import Paper
from vaebench.reporting.render import LEGEND, about_runs, claim_cells, numbers, tolerances, words
from vaebench.reporting.report import CLAIM_VERDICTS, Report, TargetReport

ASSETS = Path(__file__).parent / "assets"


def page(report: Report, figures: Mapping[str, bytes], outputs: Path) -> str:
    """Return the page; `figures` maps the name of a target to its picture as PNG."""
    states = Counter(run.state for run in report.runs)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            figures={str(name): figures.get(str(name)) for name in report.targets},
            outputs=outputs,
            states=", ".join(f"{count} {state}" for state, count in states.most_common()) or "no run yet",
            time=datetime.now(UTC).isoformat(timespec="minutes"),
            legend=LEGEND.replace("`", ""),
            claim_verdicts=CLAIM_VERDICTS,
            unfinished=[
                f"{run}: {run.state} {run.note}"
                for run in report.runs
                if run.state not in ("complete", "unreadable")
            ],
            runs=run_records(report),
        )
    )


def verdict_counts(report: TargetReport) -> str:
    """Return `claims: 2 reproduced; numbers: 1 agrees, 3 not run`."""
    cells, claims = report.counts()
    return "; ".join(
        f"{name}: {', '.join(f'{n} {verdict}' for verdict, n in counter.items())}"
        for name, counter in (("claims", claims), ("numbers", cells))
        if counter
    )


def numbers_of_claim(claim: ClaimVerdict, paper: Paper) -> list[str]:
    """Return `label: mean over seeds` for each row of the claim."""
    return [f"{paper.rows[row].label}: {number:.5g}" for row, number in claim.numbers.items()]


def commands(report: TargetReport) -> list[str]:
    """Return the commands that produce the runs shown, or the full target if none has run."""
    runs = {(row_runs.tier, tuple(row_runs.runs)) for row_runs in report.runs.values() if row_runs.runs}
    return [
        f"make {report.name} TIER={tier} SEEDS={','.join(map(str, seeds))}"
        for tier, seeds in sorted(runs or {("full", (0, 1, 2))})
    ]


def _environment() -> Environment:
    """Return the environment in which the template is rendered."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "default": str}
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.globals |= {
        "asset": lambda name: Markup((ASSETS / name).read_text()),
        "about_runs": about_runs,
        "claim_cells": claim_cells,
        "commands": commands,
        "numbers": numbers,
        "numbers_of_claim": numbers_of_claim,
        "remarks": remarks,
        "tolerances": tolerances,
        "verdict_counts": verdict_counts,
        "words": words,
    }
    return environment
