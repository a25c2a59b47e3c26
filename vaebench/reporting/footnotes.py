"""Remarks on a table, each with the cells to which it applies."""

from __future__ import annotations

from collections.abc import Iterable

from vaebench.reporting.published_values import Cell
from vaebench.reporting.report import TargetReport


def remarks(report: TargetReport) -> Iterable[str]:
    """Yield what has not run, then each note once with its cells."""
    if report.missing:
        yield f"Not run: {'; '.join(report.missing)}."
    by_note: dict[str, list[Cell]] = {}
    for cell in report.cells.values():
        for note in cell.notes:
            by_note.setdefault(note, []).append(cell)
    for note, cells in by_note.items():
        yield f"{places(report, cells)}: {note}."


def places(report: TargetReport, cells: list[Cell]) -> str:
    """Name cells: `All`, `All that have run`, `column, column`, or `row (columns); whole row`."""
    all_cells = list(report.cells.values())
    measured = [cell for cell in all_cells if cell.ours is not None]
    if cells in (all_cells, measured):
        return "All" if cells == all_cells else "All that have run"
    columns = list(dict.fromkeys(cell.column for cell in cells))
    if cells in ([cell for cell in some if cell.column in columns] for some in (all_cells, measured)):
        return ", ".join(columns)
    by_row: dict[str, list[str]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, []).append(cell.column)
    names = []
    for row, row_columns in by_row.items():
        label = report.paper.rows[row].label
        is_whole = row_columns == [cell.column for cell in measured if cell.row == row]
        names.append(label if is_whole else f"{label} ({', '.join(row_columns)})")
    return "; ".join(names)
