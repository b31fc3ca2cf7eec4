"""Frames and untrusted text on a terminal: a terminal must not obey an archive."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Into a pipe or file there is no screen to fit: wide lines beat broken ones.
out = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
err = Console(stderr=True, highlight=False)
ROWS_SHOWN = 1000


def print_frame(frame: pl.DataFrame) -> None:
    """Print a frame as a table, numbers to the right, long text folded, at most ROWS_SHOWN rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.head(ROWS_SHOWN).iter_rows():
        table.add_row(*(escape(_cell(value)) for value in row))
    out.print(table)
    if frame.height > ROWS_SHOWN:
        out.print(f"… and {frame.height - ROWS_SHOWN:,} more rows (--format csv prints all)")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return visible(str(value))[:200]


def visible(text: str) -> str:
    """Return `text` with control and direction characters shown as escapes: a terminal must not obey an archive."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def write(text: str, to: Path | None) -> None:
    """Write text to a file, or to standard output where none is given."""
    if to is None:
        sys.stdout.write(text)
    else:
        to.write_text(text, encoding="utf-8")


def to_json(value: Any) -> str:
    """Return a value or frame as JSON text; times in ISO form."""
    if isinstance(value, pl.DataFrame):
        value = value.to_dicts()


    def spell(item: Any) -> str:
        return item.isoformat() if isinstance(item, datetime) else str(item)

    return json.dumps(value, indent=2, ensure_ascii=False, default=spell)
