"""Read a recording: raw archives and their labels, as an index of records that is small enough to keep.

A recording is read twice: once for this index (who, from where, when, on what), and once for the whole text of
the few records that become templates. So memory follows the index and the templates, not the archives.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.errors import InputError

_ENDINGS = (".log", ".log.gz", ".jsonl", ".jsonl.gz")
_LABELS = ("incidents.jsonl", "labels.jsonl")
_NO_ARCHIVE = (*_LABELS, "canaries.jsonl", "sessions.jsonl")
SEPARATOR = "\x1f"
_TIME = "%Y-%m-%dT%H:%M:%S%.fZ"
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "file": pl.Int32, "line": pl.Int64, "audit_id": pl.String, "verb": pl.String, "user": pl.String, "uid": pl.String,
    "groups": pl.String, "pod": pl.String, "impersonated": pl.String, "impersonated_groups": pl.String,
    "source": pl.String, "agent": pl.String, "resource": pl.String, "api_group": pl.String, "namespace": pl.String, "name": pl.String,
    "requested": pl.String, "staged": pl.String,
}


@dataclass(frozen=True)
class Incident:
    """A labelled incident of the recording."""

    incident_id: str
    title: str
    malicious: bool
    technique_ids: tuple[str, ...]
    reason: str
    category: str
    audit_ids: tuple[str, ...]


@dataclass(frozen=True)
class Recording:
    """What was recorded.

    `index` has one row per record, in order of time: `file`, `line` (where it is), `audit_id`, `user`, `impersonated`,
    `source` (direct peer, '' where none), `time_us` and `stage_us` (µs since 1970), `verb`, `resource`, `api_group`, `namespace`,
    `name`, `agent`, `uid`, `pod`, and `groups`, `impersonated_groups` (joined by SEPARATOR).
    """

    files: tuple[Path, ...]
    digests: tuple[str, ...]
    index: pl.DataFrame
    incidents: tuple[Incident, ...]
    n_skipped: int


def read_recording(sources: str | Path | Sequence[str | Path], labels: str | Path | None = None) -> Recording:
    """Index the archives at `sources` (files or folders) and read their labels.

    Labels are an incident file; without `labels`, `incidents.jsonl` or `labels.jsonl` beside the archives is taken.

    Raises
    ------
    InputError
        When a path is missing, holds no archive, no audit event, or the labels are not JSON lines.
    """
    paths = [Path(source) for source in ([sources] if isinstance(sources, (str, Path)) else sources)]
    files = tuple(dict.fromkeys(file for path in paths for file in _archives(path)))
    digests, rows, n_lines = [], [], 0
    for number, file in enumerate(files):
        digest = hashlib.sha256()
        for place, line in _lines(file):
            digest.update(line)
            n_lines += 1
            row = _row(number, place, line)
            if row is not None:
                rows.append(row)
        digests.append(digest.hexdigest())
    index = pl.DataFrame(rows, schema=_COLUMNS, orient="row").with_columns(
        pl.col("requested").str.to_datetime(_TIME, time_unit="us", strict=False).dt.epoch("us").alias("time_us"),
        pl.col("staged").str.to_datetime(_TIME, time_unit="us", strict=False).dt.epoch("us").alias("stage_us"),
    ).drop("requested", "staged").drop_nulls(["time_us", "stage_us"]).sort("time_us", "stage_us", "file", "line")
    if index.is_empty():
        raise InputError(f"no audit event in {_names(paths)}", "the simulator resamples raw archives of audit.k8s.io JSON lines")
    return Recording(files, tuple(digests), index, _incidents(_labels_path(paths, labels)), n_lines - index.height)


def read_records(recording: Recording, rows: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, parsed record) for the given rows of the index, in the order of the archives."""
    chosen = list(rows)
    places = recording.index.select("file", "line")[chosen].rows()
    wanted: dict[int, dict[int, int]] = {}
    for row, (file, line) in zip(chosen, places, strict=True):
        wanted.setdefault(file, {})[line] = row
    for file, rows_of_line in sorted(wanted.items()):
        for place, line in _lines(recording.files[file]):
            if place in rows_of_line:
                yield rows_of_line[place], json.loads(line.decode("utf-8", "replace"))


def _archives(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no file or folder '{path}'", "give the archives of a recording")
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(_ENDINGS) and file.name not in _NO_ARCHIVE)
    if not found:
        raise InputError(f"no archive in folder '{path}'", f"archives end in {', '.join(_ENDINGS)}")
    return found


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of a plain or gzip file."""
    try:
        with file.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        # GzipFile alone hands out lines several times slower than a buffer around it.
        with gzip.open(file, "rb") if zipped else file.open("rb") as stream, io.BufferedReader(stream, 1 << 20) as lines:
            yield from enumerate(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"'{file}' cannot be read: {error}", "is it a whole archive, plain or gzip?") from None


def _row(file: int, place: int, line: bytes) -> tuple[Any, ...] | None:
    """Return the index columns of a line; None when it is no audit event."""
    try:
        record = json.loads(_without_bodies(line).decode("utf-8", "replace"))
        if record["kind"] != "Event" or not record["apiVersion"].startswith("audit.k8s.io/"):
            return None
        user, taken, about = record.get("user") or {}, record.get("impersonatedUser") or {}, record.get("objectRef") or {}
        pods = (user.get("extra") or {}).get("authentication.kubernetes.io/pod-name") or (None,)
        groups, taken_groups = SEPARATOR.join(user.get("groups") or ()), SEPARATOR.join(taken.get("groups") or ())
        return (
            file, place, record["auditID"], record["verb"].lower(), user.get("username", ""), user.get("uid"), groups,
            pods[0], taken.get("username", ""), taken_groups, (record.get("sourceIPs") or ("",))[-1], record.get("userAgent"),
            about.get("resource"), about.get("apiGroup"), about.get("namespace"), about.get("name"),
            record["requestReceivedTimestamp"], record["stageTimestamp"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _without_bodies(line: bytes) -> bytes:
    """Return a record without its bodies, which are most of its bytes and not needed for the index.

    The API server writes the bodies after the request and before the times. Inside of JSON texts quotes are escaped, so
    these marks stand for keys; a line of another order stays whole.
    """
    begins = [place for place in (line.find(b',"requestObject":'), line.find(b',"responseObject":')) if place > 0]
    ends = line.rfind(b',"requestReceivedTimestamp":')
    return line[: min(begins)] + line[ends:] if begins and ends > min(begins) else line


def _labels_path(paths: Sequence[Path], labels: str | Path | None) -> Path | None:
    if labels is not None:
        if not Path(labels).is_file():
            raise InputError(f"no labels file '{labels}'", "give an incident file in JSON lines")
        return Path(labels)
    folders = [path if path.is_dir() else path.parent for path in paths]
    return next((folder / name for folder in folders for name in _LABELS if (folder / name).is_file()), None)


def _incidents(path: Path | None) -> tuple[Incident, ...]:
    if path is None:
        return ()
    incidents = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            incidents.append(Incident(
                str(values["incident_id"]), str(values.get("title", "")), bool(values["malicious"]),
                tuple(values.get("technique_ids") or ()), str(values.get("reason") or ""), str(values.get("category") or ""),
                tuple(values.get("audit_ids") or ()),
            ))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"'{path}', line {number} is no incident", "each line needs incident_id, malicious and audit_ids") from None
    return tuple(incidents)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(f"'{path}'" for path in paths)
