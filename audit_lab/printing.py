"""Frames and untrusted text on a terminal: a terminal must not obey an archive."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from audit_lab.counting import counted
from audit_lab.private import private_file

# Into a pipe or file there is no screen to fit: wide lines beat broken ones.
out = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
err = Console(stderr=True, highlight=False)
ROWS_SHOWN = 1000
CELL_SHOWN = 200  # characters
TEXT_LEAST = 24  # columns: a sentence in fewer is a thread of single words
BLOCK_INDENT = 2
# Beyond ASCII json.dumps spells nothing: control characters of the second block, and those that hide or reorder.
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
# A spreadsheet takes text that begins so for a formula (OWASP, CSV Injection).
_FORMULA = r"^[=+\-@]."
_HIDDEN = r"[\p{C}\p{Z}&&[^ ]]"


def print_frame(frame: pl.DataFrame) -> None:
    """Print at most ROWS_SHOWN rows: a table, numbers to the right; on a screen too narrow for its words, a block for each row."""
    names = frame.columns
    rows = [[_cell(value) for value in row] for row in frame.head(ROWS_SHOWN).iter_rows()]
    widths = [_least_width(column) for column in zip(*rows, strict=True)] if rows else [0] * len(names)
    for heads in (names, [name.replace("_", "_\n") for name in names]):
        needed = [max(width, *map(cell_len, head.split("\n"))) for head, width in zip(heads, widths, strict=True)]
        if fits := sum(needed) + 2 * (len(needed) - 1) <= out.width:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for head, dtype, width in zip(heads, frame.dtypes, needed, strict=True):
                table.add_column(head, justify="right" if dtype.is_numeric() else "left", overflow="fold", min_width=width)
            for row in rows:
                table.add_row(*map(escape, row))
            out.print(table)
            break
    if not fits:
        for row in rows:
            out.print(_block(names, row, is_number=frame.dtypes[0].is_numeric()), soft_wrap=True)
    if frame.height > ROWS_SHOWN:
        out.print(f"… and {counted(frame.height - ROWS_SHOWN, 'more row')} (--format csv prints all)")


def _least_width(texts: tuple[str, ...]) -> int:
    """Return the width below which a column breaks words, or folds texts into a thread of single words."""
    words = max(max(map(cell_len, text.split()), default=0) for text in texts)
    return max(words, min(max(map(cell_len, texts)), TEXT_LEAST))


def _block(names: list[str], row: list[str], is_number: bool) -> Text:
    """Return a row as lines: its first cell as title, then names and cells side by side as far as they fit, long texts folded."""
    rest = [(name, cell) for name, cell in zip(names[1:], row[1:], strict=True) if cell]
    text = Text.assemble((f"{names[0]} {row[0]}" if is_number else row[0], "bold"))
    width = out.width - BLOCK_INDENT
    line = 0
    for name, cell in rest:
        size = cell_len(name) + 1 + cell_len(cell)
        if line and line + 2 + size <= width:
            text.append("  ")
            line += 2 + size
        else:
            text.append("\n" + " " * BLOCK_INDENT)
            line = size
        text.append(name, style="dim")
        if size <= width:
            text.append(" " + cell)
        else:
            indent = 2 * BLOCK_INDENT if max(map(cell_len, cell.split())) <= out.width - 2 * BLOCK_INDENT else 0
            folded = Text(cell).wrap(out, max(out.width - indent, 1))
            text.append(("\n" + " " * indent).join(["", *(part.plain.rstrip() for part in folded)]))
            line = width
    return text


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = visible(str(value))
    return text if len(text) <= CELL_SHOWN else text[: CELL_SHOWN - 1] + "…"


def visible(text: str) -> str:
    """Return `text` with control and direction characters shown as escapes: a terminal must not obey an archive."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def write(text: str, to: Path | None) -> None:
    """Write text to a file, or to standard output where none is given."""
    if to is None:
        sys.stdout.write(text)
    else:
        private_file(to).write_text(text, encoding="utf-8")


def to_json(value: Any) -> str:
    """Return a value or frame as JSON text (RFC 8259): times in ISO form, NaN and infinity null, hidden characters as escapes.

    >>> print(to_json({"share": float("nan"), "user": "eve\\x9b31m"}))
    {
      "share": null,
      "user": "eve\\u009b31m"
    }
    """
    plain = _plain(value.to_dicts() if isinstance(value, pl.DataFrame) else value)
    return _NOT_ASCII.sub(_escape, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False))


def to_csv(frame: pl.DataFrame) -> str:
    """Return a frame as CSV text: lists and structs as JSON, hidden characters as escapes, and nothing that a spreadsheet would run.

    Text that begins like a formula (=, +, -, @) gets an apostrophe in front; JSON and Parquet give every text as it is.

    >>> print(to_csv(pl.DataFrame({"user": ["=HYPERLINK(1)", "eve\\x1b[2J"], "verbs": [["get", "list"], None]})), end="")
    user,verbs
    '=HYPERLINK(1),"[""get"",""list""]"
    eve\\u001b[2J,
    """
    text = pl.col(pl.String)
    nested = [_as_json(frame[name]) for name, dtype in frame.schema.items() if dtype.is_nested()]
    shown = frame.with_columns(nested).with_columns(
        pl.when(text.str.contains(_HIDDEN)).then(text.map_elements(visible, return_dtype=pl.String)).otherwise(text))
    return shown.with_columns(text.str.replace(_FORMULA, "'${0}")).write_csv()


def _as_json(column: pl.Series) -> pl.Series:
    said = [None if item is None else json.dumps(_plain(item), ensure_ascii=False, separators=(",", ":")) for item in column.to_list()]
    return pl.Series(column.name, said, dtype=pl.String)


def _plain(value: Any) -> Any:
    """Return JSON values only: what JSON has no number for is null, what it has no form for is text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
