"""Write lines as gzip files that rotate by size, compressed beside the work that makes them."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import numpy as np

from audit_lab.private import private_file, private_folder

_PIECE = 1000  # lines: how closely files keep to their size
_LEVEL = 1  # audit logs shrink to a tenth at any level; the fastest keeps up with two cores


class RotatingWriter:
    """Writes the archives of one cluster after another.

    zlib lets other threads run while it compresses, so `threads` files are compressed while the next is being made. At most
    `threads` + 1 files of `rotate_bytes` are in memory.
    """

    def __init__(self, folder: Path, rotate_bytes: int, threads: int) -> None:
        self.folder, self.rotate_bytes = folder, rotate_bytes
        self.files: list[Path] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._last_us = 0
        self._cluster = ""
        self._pool = ThreadPoolExecutor(threads)
        self._pending: deque[Future[int]] = deque()
        self._threads = threads
        self.bytes_on_disk = 0
        self.bytes = 0

    def __enter__(self) -> RotatingWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.rotate()
        while self._pending:
            self.bytes_on_disk += self._pending.popleft().result()
        self._pool.shutdown()

    def write(self, cluster: str, lines: Sequence[str], times_us: np.ndarray) -> None:
        """Add lines of a cluster with their stage times, microseconds since 1970."""
        if cluster != self._cluster:
            self.rotate()
            self._cluster = cluster
        for first in range(0, len(lines), _PIECE):
            some = lines[first : first + _PIECE]
            # An attacker's text may hold half a surrogate pair, which is no text in UTF-8.
            part = ("\n".join(some) + "\n").encode("utf-8", "replace")
            self._parts.append(part)
            self._size += len(part)
            self._last_us = int(times_us[first + len(some) - 1])
            if self._size >= self.rotate_bytes:
                self.rotate()

    def rotate(self) -> None:
        """Close the file at hand and begin another."""
        if not self._parts:
            return
        path = self._path()
        private_folder(path.parent)
        self.files.append(path)
        self.bytes += self._size
        self._pending.append(self._pool.submit(_write_gzip, path, self._parts))
        self._parts, self._size = [], 0
        while len(self._pending) > self._threads:
            self.bytes_on_disk += self._pending.popleft().result()

    def _path(self) -> Path:
        """Return a name as the API server gives it when it rotates: the time of the last record, to the millisecond."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._last_us)
        path = self.folder / self._cluster / f"audit-{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}.log.gz"
        while self.files and path == self.files[-1]:
            moment += timedelta(milliseconds=1)
            path = path.with_name(f"audit-{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}.log.gz")
        return path


def _write_gzip(path: Path, parts: Sequence[bytes]) -> int:
    # Window bits 31: a gzip header without name and time, so that the same lines make the same bytes.
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    with private_file(path).open("wb") as stream:
        for part in parts:
            stream.write(packer.compress(part))
        stream.write(packer.flush())
    return path.stat().st_size
