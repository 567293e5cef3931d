"""How commands print data: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

Cell = str | int | None


def print_json(document: Any) -> None:
    """Prints one JSON document: indented for a terminal, on one line for a program."""
    import msgspec

    encoded = msgspec.json.encode(document, enc_hook=str)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    print(encoded.decode())


def print_json_line(document: Any) -> None:
    """Prints one JSON document on one line, at once, whoever reads it."""
    import msgspec

    print(msgspec.json.encode(document, enc_hook=str).decode(), flush=True)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    title: str = "",
    empty: str = "nothing to show",
    styles: Mapping[int, str] | None = None,
) -> None:
    """Prints rows under headings: by Rich on a terminal, as aligned plain text (never wrapped) to a pipe.

    Args:
        columns: The headings.
        rows: The cells; None is a dash, numbers stand to the right.
        title: A line above; only if there are rows.
        empty: What to say on stderr if there are no rows.
        styles: Row position to its Rich style, for rows that stand out.
    """
    if not rows:
        print(empty, file=sys.stderr)
        return
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    numeric = [
        any(isinstance(row[at], int) for row in rows) and not any(isinstance(row[at], str) and row[at] for row in rows)
        for at in range(len(columns))
    ]
    if sys.stdout.isatty():
        _rich_table(columns, texts, numeric, title, styles or {})
    else:
        _plain_table(columns, texts, numeric, title)


def _rich_table(
    columns: Sequence[str], texts: list[list[str]], numeric: list[bool], title: str, styles: Mapping[int, str]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name, is_numeric in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_numeric else "left", overflow="fold")
    for at, row in enumerate(texts):
        table.add_row(*(Text(cell) for cell in row), style=styles.get(at, ""))
    if title:
        console.print(Text(title, style="bold cyan"))
    console.print(table)


def _plain_table(columns: Sequence[str], texts: list[list[str]], numeric: list[bool], title: str) -> None:
    if title:
        print(title)
    widths = [max(len(row[at]) for row in [list(columns), *texts]) for at in range(len(columns))]
    for row in [list(columns), *texts]:
        cells = [
            cell.rjust(width) if is_numeric else cell.ljust(width)
            for cell, width, is_numeric in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())
