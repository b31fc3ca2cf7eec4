"""Incident files: what is known from outside about which events were an attack and which only look like one.

JSON lines, one incident per line (DESIGN §3). Every line is checked; a bad one stops the reading with its number,
because a label that is silently lost makes every figure after it wrong.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.masking import mask_text

KNOWN_KEYS = (
    "incident_id", "title", "malicious", "technique_ids", "start", "end", "users", "source_ips", "audit_ids", "reason",
)
EXAMPLE = (
    'a line looks like {"incident_id": "i-1", "title": "…", "malicious": true, '
    '"start": "2026-11-23T05:00:00Z", "end": "2026-11-23T05:05:00Z", "audit_ids": ["…"]}'
)


def read_incidents(path: str | Path) -> pl.DataFrame:
    """Read an incident file.

    Parameters
    ----------
    path
        JSON lines in UTF-8. `incident_id` (text, unique) and `malicious` (true or false) must be there; an incident
        without `audit_ids` needs `start`, `end` and at least one of `users`, `source_ips`, by which it is matched.
        A time without an offset is read as UTC. In `users`, "" stands for requests whose authentication failed.

    Returns
    -------
    Table `incidents`, one row per line, in file order; keys outside the contract as one JSON text in `other`.

    Raises
    ------
    InputError
        When the file is missing, empty or no text, or a line is not an incident; one line with its number and a hint.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_text(Path(path)).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"incident file '{path}', line {number}"
        row = _incident(line, where)
        first = seen.setdefault(row["incident_id"], number)
        if first != number:
            raise InputError(f"{where}: its incident_id stands already on line {first}", "give each incident its own id")
        rows.append(row)
    if not rows:
        raise InputError(f"incident file '{path}' holds no incident", EXAMPLE)
    frame = pl.DataFrame(rows, schema=tables.TABLES["incidents"].schema)
    return tables.check(frame, "incidents")


def _text(path: Path) -> str:
    if path.is_dir():
        raise InputError(f"incident file '{path}' is a folder", "give the JSON lines file itself")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no incident file '{path}'", "give the path of a JSON lines file") from None
    except UnicodeDecodeError:
        raise InputError(f"incident file '{path}' is not UTF-8 text", "unpack it if it is compressed; one JSON object per line") from None
    except OSError as error:
        raise InputError(f"incident file '{path}' cannot be read: {error.strerror}", "check the path and its rights") from None


def _incident(line: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except RecursionError:
        raise InputError(f"{where}: nested too deeply", EXAMPLE) from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({_plain(str(error))})", "one JSON object per line; " + EXAMPLE) from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: a JSON {_kind(values)}, not an object", "one JSON object per line; " + EXAMPLE)
    try:
        # A lone surrogate is valid JSON but no text: it could not be stored.
        line_again = json.dumps(values, ensure_ascii=False, sort_keys=True)
        line_again.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: holds half a Unicode character (a lone surrogate)", "write the text again in UTF-8") from None

    row: dict[str, Any] = {
        "incident_id": _string(values, "incident_id", where),
        "title": mask_text(_string(values, "title", where, required=False) or ""),
        "malicious": _boolean(values, "malicious", where),
        "technique_ids": _strings(values, "technique_ids", where),
        "start": _time(values, "start", where),
        "end": _time(values, "end", where),
        "users": _strings(values, "users", where),
        "source_ips": _strings(values, "source_ips", where),
        "audit_ids": _strings(values, "audit_ids", where),
        "reason": _masked(_string(values, "reason", where, required=False)),
    }
    # Whoever wrote the file may have copied from the log: what is kept is masked like the log (law 4).
    other = {mask_text(key): _masked(value) for key, value in values.items() if key not in KNOWN_KEYS}
    row["other"] = json.dumps(other, ensure_ascii=False, sort_keys=True) if other else None
    if row["start"] and row["end"] and row["start"] > row["end"]:
        raise InputError(f"{where}: 'start' is after 'end'", "exchange the two")
    if not row["audit_ids"] and not (row["start"] and row["end"] and (row["users"] or row["source_ips"])):
        raise InputError(
            f"{where}: nothing to match events by", "give audit_ids, or start, end and at least one of users, source_ips"
        )
    return row


def _string(values: dict[str, Any], key: str, where: str, required: bool = True) -> str | None:
    value = values.get(key)
    if value is None and not required:
        return None
    if not isinstance(value, str) or (required and not value):
        raise InputError(f"{where}: '{key}' is {_kind(value) if key in values else 'missing'}, expected text", EXAMPLE)
    return value


def _boolean(values: dict[str, Any], key: str, where: str) -> bool:
    value = values.get(key)
    if not isinstance(value, bool):
        raise InputError(
            f"{where}: '{key}' is {_kind(value) if key in values else 'missing'}, expected true or false",
            "true = attack, false = benign but suspicious",
        )
    return value


def _strings(values: dict[str, Any], key: str, where: str) -> list[str]:
    value = values.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}: '{key}' is {_kind(value)}, expected a list of texts", f'for example "{key}": ["a", "b"]')
    return value


def _time(values: dict[str, Any], key: str, where: str) -> datetime | None:
    value = values.get(key)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: '{key}' is no time", "RFC 3339, for example 2026-11-23T05:00:00.000000Z") from None


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true or false", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "value")


def _plain(text: str) -> str:
    """Keep an error's words on one short line: they may quote the file."""
    return "".join(character for character in text if character.isprintable())[:120]


def _masked(value: Any) -> Any:
    """Return a JSON value with every string in it masked."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {mask_text(key): _masked(item) for key, item in value.items()}
    return value
