"""Answers that were paid for, and calls that were made: two files of JSON lines that survive a crash.

Each line is written and synced at once, so what a killed run had bought is there for the next one. A line that was cut
by a crash is passed over. The lab's lock guards against two writers.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import JudgeError
from audit_lab.hashing import text_digest
from audit_lab.private import private_file, private_folder

ANSWERS, CALLS = "answers.jsonl", "calls.jsonl"


def answer_key(prompt_sha256: str, model: str, parameters: dict[str, Any], repeat: int = 0) -> str:
    """Return the key of an answer: what was asked, of which model, with which parameters, and the how-manieth time.

    >>> answer_key("p", "m", {"temperature": 0}) == answer_key("p", "m", {"temperature": 0}) != answer_key("p", "m", {}, 1)
    True
    """
    return text_digest(json.dumps([prompt_sha256, model, parameters, repeat], sort_keys=True))


class LineFile:
    """A file of JSON lines that is only ever appended to; without a path it keeps nothing beyond this process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """Return all whole lines; a damaged one is passed over."""
        if self._path is None or not self._path.exists():
            return []
        found = []
        for line in self._path.read_bytes().split(b"\n"):
            try:
                item = json.loads(line)
            except ValueError:
                continue
            if isinstance(item, dict):
                found.append(item)
        return found

    def append(self, item: dict[str, Any], *, sync: bool = True) -> None:
        """Write one line and, unless told otherwise, wait until it is on the disk.

        Without `sync` the line survives a killed process, though perhaps not a power failure.

        Raises
        ------
        JudgeError
            When the folder cannot be written: an answer that cannot be kept must not be bought.
        """
        if self._path is None:
            return
        line = json.dumps(item, sort_keys=True, ensure_ascii=True).encode() + b"\n"
        try:
            private_folder(self._path.parent)
            with self._lock, private_file(self._path).open("ab") as file:
                # A crash may have left half a line: start on a new one.
                if file.tell() and not self._ends_whole():
                    file.write(b"\n")
                file.write(line)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            what = f"answers cannot be kept in '{self._path}': {error.strerror}"
            raise JudgeError(what, "free some space or choose another --lab") from None

    def _ends_whole(self) -> bool:
        if self._path is None:
            return True
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


class AnswerCache:
    """Answers by key, in memory and in `answers.jsonl` of a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._file = LineFile(folder / ANSWERS if folder else None)
        self._held: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record kept under `key`, or None."""
        return self._all().get(key)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keep a record under `key`, on disk first."""
        self._file.append({"key": key, **record})
        self._all()[key] = record

    def _all(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            if self._held is None:
                self._held = {str(item.pop("key")): item for item in self._file.read() if "key" in item}
            return self._held


def read_calls(folder: Path) -> pl.DataFrame:
    """Return table egress as `calls.jsonl` of a folder has it: also the calls of runs that crashed or judged nothing.

    A call whose outcome never came to be known, because its process was killed, has the outcome 'sent'.
    """
    schema = tables.TABLES["egress"].schema
    rows = []
    for item in LineFile(folder / CALLS).read():
        try:
            rows.append({**{name: item.get(name) for name in schema}, "at": datetime.fromisoformat(item["at"])})
        except (KeyError, TypeError, ValueError):
            continue
    needed = [name for name, column in tables.TABLES["egress"].columns.items() if not column.nullable]
    whole = [row for row in rows if all(row[name] is not None for name in needed)]
    return tables.check(pl.DataFrame(whole, schema=schema), "egress").unique("egress_id", keep="last", maintain_order=True)
