"""Archives into a lab: read, merge stages across files, write events, quarantine and the ledger in one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.archive.files import ByteCount, find_archives, read_lines
from audit_lab.archive.reader import Reading, read_archive
from audit_lab.archive.stages import RECORD, classify_records, count_fates
from audit_lab.errors import InputError
from audit_lab.hashing import short_id
from audit_lab.masking import policy_digest
from audit_lab.private import private_file, private_folder
from audit_lab.profile import ArchiveSettings
from audit_lab.store import Store

Progress = Callable[[Path, int, int], None]
"""Called with a file, the decompressed bytes done of it, and its total."""

# Rows held before a part is spilled to disk: bounds memory whatever the archive's size.
_PART_ROWS = 400_000
_RECORD_LIST = list(RECORD)


@dataclass
class IngestResult:
    """What an ingest did: rows of table archives that are new, files already known, files refused with the reason."""

    read: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[InputError] = field(default_factory=list)


def ingest_archives(
    store: Store, sources: list[str | Path], settings: ArchiveSettings, *, cluster: str | None = None, now: datetime,
    progress: Progress | None = None,
) -> IngestResult:
    """Read every archive at `sources` into the lab; a file that was read before changes nothing.

    Raises
    ------
    InputError
        When a source does not exist, or every file was refused.
    """
    files = [path for source in sources for path in find_archives(source)]
    result = IngestResult()
    with store.writing():
        for path in files:
            try:
                known = _ingest_file(store, path, settings, cluster or settings.cluster, now, progress)
            except InputError as error:
                result.refused.append(error)
            else:
                (result.known if known else result.read).append(str(path))
    if result.refused and not result.read and not result.known:
        raise result.refused[0]
    return result


def _ingest_file(
    store: Store, path: Path, settings: ArchiveSettings, cluster: str, now: datetime, progress: Progress | None
) -> bool:
    """Read one file; return True when its content was already in the lab."""
    whole = ByteCount()
    for _ in read_lines(path, settings.batch_mib << 20, whole):
        pass
    archive_id = short_id("a", cluster, whole.digest)
    archives = store.read("archives")
    if archive_id in archives["archive_id"]:
        if progress:
            progress(path, whole.total, whole.total)
        return True

    reading = Reading()
    done = 0

    def advance(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        if progress:
            progress(path, done, whole.total)

    parts: list[pl.DataFrame | Path] = []
    keys: list[pl.DataFrame] = []
    held: list[pl.DataFrame] = []
    spill = store.root / f".spill-{archive_id}"
    try:
        for batch in read_archive(path, settings, cluster, reading, advance):
            held.append(batch.with_columns(pl.lit(archive_id).alias("archive_id")))
            keys.append(held[-1].select(*_RECORD_LIST, "time", "truncated"))
            if sum(frame.height for frame in held) >= _PART_ROWS:
                parts.append(_spill(spill, len(parts), pl.concat(held)))
                held = []
        if held:
            parts.append(pl.concat(held))
        records = pl.concat(keys) if keys else tables.empty("events").select(*_RECORD_LIST, "time", "truncated")
        _commit(store, path, cluster, archive_id, archives, reading, records, parts, now)
    finally:
        for file in spill.glob("*"):
            file.unlink()
        if spill.exists():
            spill.rmdir()
    return False


def _spill(folder: Path, index: int, frame: pl.DataFrame) -> Path:
    path = private_file(private_folder(folder) / f"{index}.parquet")
    frame.write_parquet(path, compression="lz4")
    return path


def _commit(
    store: Store, path: Path, cluster: str, archive_id: str, archives: pl.DataFrame, reading: Reading, records: pl.DataFrame,
    parts: list[pl.DataFrame | Path], now: datetime,
) -> None:
    """Settle which records are kept, over this archive and all that were read before, and write everything at once."""
    event_files: list[dict[str, Any]] = store.manifest()["tables"].get("events", {"files": []})["files"]
    old_stages = store.read("stages")
    known, touched_files = _known_records(store, event_files, old_stages, cluster, records)
    # Only requests that have several records need an order; the rest are events as they are.
    everything = pl.concat([records.select(_RECORD_LIST), known])
    several = everything.group_by("event_id").len().filter(pl.col("len") > 1).select("event_id")
    contested = classify_records(everything.join(several, on="event_id", how="semi"))
    before = count_fates(classify_records(known.join(several, on="event_id", how="semi")))
    after = count_fates(contested)

    losers = contested.filter(pl.col("fate") != "event").select("archive_id", "position")
    winners = contested.filter(pl.col("fate") == "event").select("archive_id", "position", pl.col("n_stages").alias("n_now"))

    def settle(frame: pl.DataFrame) -> pl.DataFrame:
        kept = frame.join(losers, on=["archive_id", "position"], how="anti").join(winners, on=["archive_id", "position"], how="left")
        return kept.with_columns(pl.coalesce("n_now", "n_stages").alias("n_stages")).drop("n_now")

    new_files = [item for item in event_files if item["file"] not in touched_files]
    for item in event_files:
        if item["file"] in touched_files:
            frame = settle(pl.read_parquet(store.root / item["file"]))
            new_files.append(_event_file(store, frame, item["archive_id"], item["part"]))
    for index, part in enumerate(parts):
        frame = settle(pl.read_parquet(part) if isinstance(part, Path) else part)
        new_files.append(_event_file(store, frame.sort("position"), archive_id, index))

    row = _archive_row(path, cluster, archive_id, reading, records, now)
    n_single = records.height - sum(after.get(archive_id, {}).values())
    row |= {"n_events": n_single + after.get(archive_id, {}).get("event", 0),
            "n_duplicates": after.get(archive_id, {}).get("duplicate", 0),
            "n_superseded": after.get(archive_id, {}).get("superseded", 0)}
    changed = _shift_counts(archives, before, after, archive_id)
    quarantine = pl.concat([store.read("quarantine"), _quarantine_rows(path, archive_id, reading)])
    stages = pl.concat([
        old_stages.join(several, on="event_id", how="anti"),
        tables.conform(contested.with_columns(pl.lit(cluster).alias("cluster"), (pl.col("fate") == "event").alias("kept")), "stages"),
    ])
    store.set_entries({
        "events": store.entry("events", new_files),
        "stages": store.entry("stages", [store.write_file("stages", stages)]),
        "quarantine": store.entry("quarantine", [store.write_file("quarantine", quarantine)]),
        "archives": store.entry("archives", [store.write_file("archives", pl.concat([changed, _frame_of(row)]))]),
    })


def _event_file(store: Store, frame: pl.DataFrame, archive_id: str, part: int) -> dict[str, Any]:
    span = frame.select(pl.col("time").min().dt.epoch("us").alias("first"), pl.col("time").max().dt.epoch("us").alias("last")).row(0)
    return store.write_file("events", tables.conform(frame, "events"), archive_id=archive_id, part=part, first_us=span[0], last_us=span[1])


def _known_records(
    store: Store, event_files: list[dict[str, Any]], stages: pl.DataFrame, cluster: str, records: pl.DataFrame
) -> tuple[pl.DataFrame, set[str]]:
    """Return the records known before of the requests in `records`, and the event files that hold their rows.

    All stages of a request carry the same request time, so files of another time span need no look.
    """
    none = records.select(_RECORD_LIST).clear()
    if records.is_empty():
        return none, set()
    ids = records.select("event_id").unique()
    first, last = records.select(pl.col("time").min().dt.epoch("us").alias("a"), pl.col("time").max().dt.epoch("us").alias("b")).row(0)
    found, touched = [none], set()
    for item in event_files:
        if item["rows"] == 0 or item["last_us"] < first or item["first_us"] > last:
            continue
        rows = (
            pl.scan_parquet(store.root / item["file"]).filter(pl.col("cluster") == cluster).select(_RECORD_LIST)
            .join(ids.lazy(), on="event_id", how="semi").collect()
        )
        if rows.height:
            found.append(rows)
            touched.add(str(item["file"]))
    found.append(stages.filter(pl.col("cluster") == cluster).join(ids, on="event_id", how="semi").select(_RECORD_LIST))
    return pl.concat(found).unique(["archive_id", "position"]), touched


def _shift_counts(
    archives: pl.DataFrame, before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], new_id: str
) -> pl.DataFrame:
    """Move records of earlier archives between their fates where the new archive changed them.

    A request with one record so far was an event and is in `before` as such.
    """
    rows = []
    for row in archives.iter_rows(named=True):
        old, new = before.get(row["archive_id"], {}), after.get(row["archive_id"], {})
        if row["archive_id"] != new_id:
            for column, fate in (("n_events", "event"), ("n_duplicates", "duplicate"), ("n_superseded", "superseded")):
                row[column] += new.get(fate, 0) - old.get(fate, 0)
        rows.append(row)
    return pl.DataFrame(rows, schema=archives.schema) if rows else archives


def _archive_row(
    path: Path, cluster: str, archive_id: str, reading: Reading, records: pl.DataFrame, now: datetime
) -> dict[str, Any]:
    times = records["time"].sort()
    count = reading.count
    shape = reading.shapes.most_common(1)[0][0] if reading.shapes else "unknown"
    damage = "; ".join(text for text in (count.damage, f"{reading.bad_utf8} records are not UTF-8" if reading.bad_utf8 else None) if text)
    return {
        "archive_id": archive_id, "path": str(path), "cluster": cluster,
        "shape": f"{shape} lines{' gzip' if count.gzipped else ''}",
        "bytes": count.total, "bytes_on_disk": path.stat().st_size, "record_bytes": count.record,
        "separator_bytes": count.separator, "blank_bytes": count.blank, "n_records": reading.n_records,
        "n_quarantined": len(reading.quarantine), "n_foreign": 0, "n_sampled_out": 0,
        "n_truncated": int(records["truncated"].sum()), "damage": damage or None,
        "first_time": times.min(), "last_time": times.max(),
        "max_gap_s": times.diff().dt.total_microseconds().max() / 1e6 if times.len() > 1 else None,  # type: ignore[operator]
        "unknown_keys": [{"key": key, "n": n} for key, n in sorted(reading.unknown_keys.items())],
        "masking": policy_digest(), "ingested_at": now,
    }


def _frame_of(row: dict[str, Any]) -> pl.DataFrame:
    return tables.check(pl.DataFrame([row], schema=tables.TABLES["archives"].schema), "archives")


def _quarantine_rows(path: Path, archive_id: str, reading: Reading) -> pl.DataFrame:
    rows = [{**row, "archive_id": archive_id, "path": str(path)} for row in reading.quarantine]
    return tables.conform(pl.DataFrame(rows), "quarantine") if rows else tables.empty("quarantine")


