"""Labels from a CSV file: what people said elsewhere, with author and time.

One row per judgement. Every row is checked, and a bad one stops the reading with its line number: a label that is silently lost, or
silently somebody else's, makes every figure after it wrong.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from audit_lab.errors import InputError
from audit_lab.review.ledger import TARGET_KINDS, VERDICTS

REQUIRED = ("target_id", "verdict", "author", "at")
OPTIONAL = ("target_kind", "reason", "minutes")
EXAMPLE = f"the first line names the columns: {','.join(REQUIRED)}, and if you like {','.join(OPTIONAL)}; separated by commas"
_BY_PREFIX = {"c-": "case", "s-": "session"}


class SaidLabel(NamedTuple):
    """One row of the file: what is judged, how, by whom and when; `where` names file and line."""

    target_kind: str
    target_id: str
    verdict: str
    author: str
    at: datetime
    reason: str | None
    minutes: float | None
    where: str


def read_label_file(path: str | Path) -> list[SaidLabel]:
    """Read labels from a CSV file (RFC 4180, UTF-8, with a header).

    Parameters
    ----------
    path
        Columns `target_id` (a case c-…, a session s-…, or an incident's id), `verdict` (malicious, benign, benign-but-suspicious, unsure),
        `author`, `at` (RFC 3339; without an offset UTC); if given `target_kind` (case, session, incident: where the id does not tell),
        `reason`, `minutes`.

    Returns
    -------
    One item per row, in the order of the file.

    Raises
    ------
    InputError
        When the file is missing, empty or no text, a column is missing, unknown or there twice, or a row is no label; one line with
        its number and a hint.
    """
    name = f"label file '{path}'"
    reader = csv.reader(io.StringIO(_text(Path(path), name), newline=""), strict=True)
    rows: list[SaidLabel] = []
    header: list[str] = []
    try:
        for cells in reader:
            where = f"{name}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells, where)
                continue
            if len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} values, the header names {len(header)}", 'quote a text that holds a comma: "a, b"')
            rows.append(_row(dict(zip(header, (cell.strip() for cell in cells), strict=True)), where))
    except csv.Error as error:
        hint = 'a quote within a quoted text is doubled: "he said ""yes"""'
        raise InputError(f"{name}, line {reader.line_num}: no CSV ({error})", hint) from None
    if not rows:
        raise InputError(f"{name} holds no label", EXAMPLE)
    return rows


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{name} is not there", "give a CSV file") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text", "save it as CSV in UTF-8") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    missing = [column for column in REQUIRED if column not in header]
    unknown = [column for column in header if column not in (*REQUIRED, *OPTIONAL)]
    twice = [column for column in header if header.count(column) > 1]
    for columns, what in ((unknown, "unknown column"), (missing, "missing column"), (twice, "twice the column")):
        if columns:
            raise InputError(f"{where}: {what} '{_short(columns[0])}'", EXAMPLE)
    return header


def _row(values: dict[str, str], where: str) -> SaidLabel:
    for column in REQUIRED:
        if not values[column]:
            raise InputError(f"{where}: '{column}' is empty", EXAMPLE)
    verdict = values["verdict"].lower().replace("_", "-").replace(" ", "-")
    if verdict not in VERDICTS:
        raise InputError(f"{where}: no verdict '{_short(values['verdict'])}'", f"one of: {', '.join(VERDICTS)}")
    kind = values.get("target_kind", "").lower() or _BY_PREFIX.get(values["target_id"][:2], "incident")
    if kind not in TARGET_KINDS:
        raise InputError(f"{where}: a label for a '{_short(kind)}'", f"target_kind is one of: {', '.join(TARGET_KINDS)}")
    return SaidLabel(
        kind, values["target_id"], verdict, values["author"], _time(values["at"], where), values.get("reason") or None,
        _minutes(values.get("minutes", ""), where), where,
    )


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: 'at' is no time: '{_short(text)}'", "RFC 3339, for example 2026-11-23T09:00:00Z") from None


def _minutes(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise InputError(f"{where}: 'minutes' is no time spent: '{_short(text)}'", "a number, 0 or more")
    return minutes


def _short(text: str) -> str:
    """Keep an error's words on one short line: they quote the file."""
    return "".join(character for character in text if character.isprintable())[:60]
