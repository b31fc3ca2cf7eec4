"""A lab on disk: Parquet files and one manifest that is replaced atomically.

A reader takes the manifest once and then only touches files that it names; a writer adds files under new
names and replaces the manifest last. So a notebook can stay open while a schedule runs. One run at a
time: `Store.writing()` holds a lock file of the operating system, which a crash releases. A person's label must not
wait for a run that takes an hour: `Store.appending()` locks one table that no stage writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import ContractError, LabError
from audit_lab.hashing import frame_digest, text_digest
from audit_lab.private import private_file, private_folder

FORMAT = 1
# A reader may hold a lazy frame over files that a newer manifest no longer names: keep them for a while.
GRACE_S = 3600.0
# How long an append waits for another one, and how often it looks; each takes milliseconds.
PATIENCE_S, LOOK_S = 10.0, 0.05


class Store:
    """The files of one lab.

    Parameters
    ----------
    root
        Folder of the lab; made on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    # ---- reading -----------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Return the manifest: `{"format", "tables": {name: {"files": [{"file", "rows"}], "digest", "inputs"}}}`."""
        path = self.root / "manifest.json"
        if not path.exists():
            if self.root.exists() and not self.root.is_dir():
                raise LabError(f"'{self.root}' is a file, not a lab folder", "choose another --lab")
            return {"format": FORMAT, "tables": {}}
        try:
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise LabError(f"the manifest of lab '{self.root}' is damaged", "ingest again into a new lab folder") from None
        if manifest.get("format") != FORMAT:
            raise LabError(f"lab '{self.root}' has format {manifest.get('format')}, this version reads {FORMAT}")
        return manifest

    def scan(self, name: str) -> pl.LazyFrame:
        """Return table `name` as a lazy frame; no rows where nothing has been written yet."""
        files = self.files(name)
        if not files:
            return tables.empty(name).lazy()
        frame = pl.scan_parquet(files)
        if frame.collect_schema() == pl.Schema(tables.TABLES[name].schema):
            return frame
        try:  # written by an earlier version: what it did not know yet is null
            return tables.conform(frame.collect(), name).lazy()
        except (ContractError, pl.exceptions.PolarsError):
            raise LabError(
                f"table '{name}' of lab '{self.root}' was made by another version", "make it again (run, label), or use a fresh --lab"
            ) from None

    def read(self, name: str) -> pl.DataFrame:
        """Return table `name`."""
        return self.scan(name).collect()

    def files(self, name: str) -> list[Path]:
        """Return the Parquet files of table `name`, in order."""
        entry = self.manifest()["tables"].get(name, {"files": []})
        return [self.root / item["file"] for item in entry["files"]]

    def inputs(self, name: str) -> str | None:
        """Return what table `name` was made from (a digest), or None when it was never made."""
        entry = self.manifest()["tables"].get(name)
        return entry["inputs"] if entry else None

    def digest(self, name: str) -> str:
        """Return the canonical digest of a table's content (law 7); '' where nothing has been written."""
        entry = self.manifest()["tables"].get(name)
        return str(entry["digest"]) if entry else ""

    def rows(self, name: str) -> int:
        """Return the number of rows of table `name`."""
        entry = self.manifest()["tables"].get(name, {"files": []})
        return sum(int(item["rows"]) for item in entry["files"])

    def remembered(self, name: str) -> Any:
        """Return a fact that `remember` kept in the manifest, or None."""
        return self.manifest().get("facts", {}).get(name)

    # ---- writing -----------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lab's write lock.

        Raises
        ------
        LabError
            When another run holds it, or the folder cannot be written.
        """
        with self._lock_file(".lock") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise LabError(f"another run is writing to lab '{self.root}'", "wait for it, or use another --lab") from None
            yield

    @contextmanager
    def appending(self, name: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Hold the lock of table `name`, which only grows and which no stage of a run writes (labels): a run may go on meanwhile.

        Raises
        ------
        LabError
            When another process holds it for longer than `patience_s`, or the folder cannot be written.
        """
        with self._lock_file(f".lock-{name}") as handle:
            until = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() >= until:
                        raise LabError(
                            f"another process has been adding to {name} of lab '{self.root}' for {patience_s:g} s: nothing was kept",
                            "try again; if it stays so, end the other process",
                        ) from None
                    time.sleep(LOOK_S)
            yield

    def _lock_file(self, name: str) -> IO[str]:
        try:
            return private_file(private_folder(self.root) / name).open("w")
        except OSError as error:
            raise LabError(f"lab '{self.root}' cannot be written: {error.strerror}", "choose another --lab") from None

    def replace(self, name: str, frame: pl.DataFrame, inputs: str = "") -> None:
        """Replace table `name` by `frame` (checked against the contract)."""
        self.replace_many({name: (frame, inputs)})

    def replace_many(self, parts: dict[str, tuple[pl.DataFrame, str]]) -> None:
        """Replace several tables in one step: a reader sees all of them or none."""
        self.set_entries({name: self.entry(name, [self.write_file(name, frame)], inputs) for name, (frame, inputs) in parts.items()})

    def write_file(self, name: str, frame: pl.DataFrame, **facts: Any) -> dict[str, Any]:
        """Write one Parquet file of table `name` and return its manifest entry; nothing refers to it yet.

        `facts` are kept with the entry (an archive's id, the time span …).
        """
        checked = tables.check(frame, name)
        table = tables.TABLES[name]
        digest = frame_digest(checked, table.key, tuple(column for column, spec in table.columns.items() if spec.volatile))
        private_folder(self.root / name)
        file = f"{name}/{digest[:12]}-{time.time_ns():x}.parquet"
        temporary = private_file(self.root / f"{file}.tmp")
        checked.write_parquet(temporary, compression="zstd", statistics=True)
        temporary.replace(self.root / file)
        return {"file": file, "rows": checked.height, "digest": digest, **facts}

    def entry(self, name: str, files: list[dict[str, Any]], inputs: str = "") -> dict[str, Any]:
        """Return the manifest entry of a table that consists of `files`; its digest does not depend on their order."""
        return {"files": files, "digest": text_digest(name + "".join(sorted(str(item["digest"]) for item in files))), "inputs": inputs}

    def set_entries(self, entries: dict[str, dict[str, Any]]) -> None:
        """Let the named tables consist of these entries, all in one step."""
        with self._changing_manifest() as manifest:
            manifest["tables"].update(entries)

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact (JSON) in the manifest."""
        if self.remembered(name) != value:
            with self._changing_manifest() as manifest:
                manifest["facts"] = {**manifest.get("facts", {}), name: value}

    @contextmanager
    def _changing_manifest(self) -> Iterator[dict[str, Any]]:
        """Read, change and replace the manifest as one act: a run and an append may both be under way."""
        with self._lock_file(".lock-manifest") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            manifest = self.manifest()
            yield manifest
            self._commit(manifest)

    def _commit(self, manifest: dict[str, Any]) -> None:
        path = self.root / "manifest.json"
        temporary = private_file(self.root / f"manifest.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        temporary.replace(path)
        self._sweep(manifest)

    def _sweep(self, manifest: dict[str, Any]) -> None:
        named = {item["file"] for entry in manifest["tables"].values() for item in entry["files"]}
        horizon = time.time() - GRACE_S
        for path in self.root.glob("*/*.parquet*"):
            if str(path.relative_to(self.root)) not in named and path.stat().st_mtime < horizon:
                path.unlink(missing_ok=True)
