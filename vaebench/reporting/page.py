"""The report as one HTML page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from vaebench.reporting.collect import Run
from vaebench.reporting.compare import Cell, Report, TargetReport
from vaebench.reporting.papers import TIERS, Tier
from vaebench.reporting.tables import claim_cells, numbers, remarks, words

ASSETS = Path(__file__).parent / "assets"
PICTURE_BYTES = 20 * 2**20
"""Of the runs' own pictures; those that do not fit are named by their path."""
PICTURE_WIDTH = 640
CURVES = ("elbo", "kl", "active_units")
POINTS = 120


def page(report: Report, figures: Mapping[str, bytes], outputs: Path) -> str:
    """The whole page."""
    body = [head_of(report, outputs), *(paper_of(report, name, figures) for name in report.papers)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,"><title>vaebench report</title>',
            f"<style>{(ASSETS / 'page.css').read_text()}</style></head><body>",
            *body,
            (ASSETS / "runs.html").read_text(),
            f'<script id="data" type="application/json">{data_of(report)}</script>',
            f"<script>{(ASSETS / 'page.js').read_text()}</script>",
            "</body></html>",
        ]
    )


def head_of(report: Report, outputs: Path) -> str:
    """Title, counts of runs by state, what is missing or unreadable, where to go."""
    states = Counter(run.state for run in report.runs)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "no run yet"
    made = datetime.now(UTC).isoformat(timespec="minutes")
    links = "".join(f'<a href="#{name}">{_text(name)}</a>' for name in (*report.papers, "runs", "compare"))
    problems = [*report.problems]
    problems += [f"no experiment of that name yet: {name}" for name in report.missing_experiments]
    unfinished = [f"{run}: {run.state} {run.note}" for run in report.runs if run.state not in ("complete", "unreadable")]
    return (
        f"<header><h1>vaebench</h1><p>{_text(str(outputs))}: {_text(told)}; made {made}</p><nav>{links}</nav></header>"
        + _listed("Could not be used", problems)
        + _listed("Not complete", unfinished)
    )


def paper_of(report: Report, paper: str, figures: Mapping[str, bytes]) -> str:
    """A paper's words, then its tables and figures."""
    content = report.papers[paper]
    targets = [target for target in report.targets.values() if target.name.paper == paper]
    return (
        f'<section id="{paper}"><h2>{_text(content.title)}</h2><p class="dim">{_text(content.authors)}</p>'
        f"<p>{_text(words(report, paper))}</p>"
        + "".join(target_of(target, figures.get(str(target.name))) for target in targets)
        + "</section>"
    )


def target_of(report: TargetReport, figure: bytes | None) -> str:
    """A table or figure: numbers with verdicts, claims, picture, remarks, commands; folded while nothing has run."""
    columns = list(report.target.columns)
    head = "".join(f"<th>{_text(column)}</th>" for column in ("", *columns, "runs"))
    rows = "".join(row_of(report, row, columns) for row in report.target.cells)
    is_there = len(report.missing) < len(report.runs)
    cells, claims = report.counts()
    count = ", ".join(f"{n} {verdict}" for verdict, n in (claims + cells).items())
    parts = [f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>']
    if report.claims:
        lines = "".join(
            f"<tr><td>{_text(says)}</td><td>{_chip(verdict)}</td><td>{sure}</td><td>{_text(seeds)}</td><td>{_text(notes)}</td></tr>"
            for says, verdict, sure, seeds, notes in map(claim_cells, report.claims)
        )
        titles = "".join(f"<th>{title}</th>" for title in ("claim", "verdict", "confidence", "seeds", "remarks"))
        parts.append(f'<div class="wide"><table class="claims"><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>')
    if figure is not None:
        source = f"data:image/png;base64,{base64.b64encode(figure).decode()}"
        parts.append(f'<img src="{source}" alt="{_text(report.target.title, quote=True)}">')
    parts.append(_listed("Remarks", list(remarks(report)), is_open=False))
    parts.append(f"<pre>make {report.name} TIER=full SEEDS=0,1,2</pre>")
    return (
        f'<details class="target" id="{report.name}"{" open" if is_there else ""}><summary>{_text(report.target.title)} '
        f'<span class="dim">{_text(count)}</span></summary>{"".join(parts)}</details>'
    )


def row_of(report: TargetReport, row: str, columns: Sequence[str]) -> str:
    cells = "".join(_cell(report.cells[row, name], report.target.columns[name].digits) for name in columns)
    found = report.runs[row]
    about = f"{found.tier}, seeds {', '.join(map(str, found.runs))}" if found.runs else "not run"
    if found.variant:
        about += f", {found.variant}"
    label = report.paper.rows[row]
    return f'<tr><th title="{_text(label.experiment, quote=True)}">{_text(label.label)}</th>{cells}<td class="dim">{_text(about)}</td></tr>'


def data_of(report: Report) -> str:
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
            **{name: getattr(run, name) for name in ("dataset", "model", "seed", "version", "tier", "state", "note")},
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
    return json.dumps(_finite(runs), allow_nan=False, default=str).replace("</", "<\\/")


def curves_of(run: Run) -> dict[str, list[list[float]]]:
    """`split name` -> (epoch, value), thinned to what a small picture shows."""
    step = max(1, -(-len(run.epochs) // POINTS))
    lines = [*run.epochs[::step], *([run.epochs[-1]] if (len(run.epochs) - 1) % step else [])] if run.epochs else []
    return {
        f"{split} {name}": points
        for name in CURVES
        for split in ("train", "valid")
        if (points := [[line["epoch"], line[split][name]] for line in lines if name in line.get(split, {})])
    }


def attempt_of(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Of a record of provenance what a reader asks for first."""
    git, hardware = attempt.get("git") or {}, attempt.get("hardware") or {}
    commit = f"{git.get('commit', '?')[:10]}{' with changes' if git.get('dirty') else ''}"
    where = [str(hardware[key]) for key in ("cpu", "gpu", "device") if hardware.get(key)]
    packages = attempt.get("packages") or {}
    return {
        "time": attempt.get("time", ""),
        "command": attempt.get("command", ""),
        "commit": commit,
        "hardware": ", ".join(where),
        "torch": packages.get("torch", ""),
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


def _cell(cell: Cell, digits: int) -> str:
    title = _text("; ".join(cell.notes), quote=True)
    chip = _chip(cell.verdict) if cell.published is not None else ""
    doubted = any(note.startswith("published value doubted") for note in cell.notes)
    return f'<td title="{title}">{_text(numbers(cell, digits))}{" *" if doubted else ""} {chip}</td>'


def _chip(verdict: str) -> str:
    return f'<span class="chip {verdict.replace(" ", "-")}">{verdict}</span>'


def _listed(title: str, lines: Iterable[str], is_open: bool = True) -> str:
    lines = list(lines)
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<details{' open' if is_open and len(lines) < 8 else ''}><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>"


def _text(value: str, quote: bool = False) -> str:
    return html.escape(value, quote=quote)


def _finite(value: Any) -> Any:
    """Without NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
