"""What a reader of a table's numbers must know, and of which of them."""

from __future__ import annotations

from collections.abc import Iterable

from vaebench.reporting.published_values import Cell
from vaebench.reporting.report import TargetReport


def remarks(report: TargetReport) -> Iterable[str]:
    """What is missing, then each note once, with the cells that it is about."""
    if report.missing:
        yield f"Not run: {'; '.join(report.missing)}."
    by_note: dict[str, list[Cell]] = {}
    for cell in report.cells.values():
        for note in cell.notes:
            by_note.setdefault(note, []).append(cell)
    for note, cells in by_note.items():
        yield f"{places(report, cells)}: {note}."


def places(report: TargetReport, cells: list[Cell]) -> str:
    """`All`, `All that has run`, whole `column, column`, or `row (its columns); whole row`."""
    every = list(report.cells.values())
    measured = [cell for cell in every if cell.ours is not None]
    if cells in (every, measured):
        return "All" if cells == every else "All that has run"
    columns = list(dict.fromkeys(cell.column for cell in cells))
    if cells in ([cell for cell in some if cell.column in columns] for some in (every, measured)):
        return ", ".join(columns)
    by_row: dict[str, list[str]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, []).append(cell.column)
    told = []
    for row, of_row in by_row.items():
        label = report.paper.rows[row].label
        is_whole = of_row == [cell.column for cell in measured if cell.row == row]
        told.append(label if is_whole else f"{label} ({', '.join(of_row)})")
    return "; ".join(told)
