"""Archive files: find them, decompress them, and cut them into lines without losing a byte.

Every decompressed byte belongs to exactly one of: a record, the newline behind it, or blank space (empty
lines, a byte order mark). That is what lets the ledger prove that nothing was lost.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audit_lab.errors import InputError

_GZIP = b"\x1f\x8b"
_OTHER_MAGIC = {
    b"PK\x03\x04": "a zip file", b"(\xb5/\xfd": "zstandard", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PAR1": "Parquet",
    b"SQLite": "an SQLite database", b"\x7fELF": "a program", b"%PDF": "a PDF", b"\x89PNG": "a picture",
}
# Files in a folder that are plainly no archives; anything else is tried and, if need be, reported.
_SKIP_SUFFIXES = {".md", ".yaml", ".yml", ".toml", ".csv", ".txt", ".html", ".py", ".ipynb", ".parquet", ".sha256"}
_ARCHIVE_SUFFIXES = (".log", ".log.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz", ".gz")
_NOT_ARCHIVES = {"labels.jsonl", "canaries.jsonl", "incidents.jsonl", "stats.json", "manifest.json", "columns.json"}


@dataclass
class Lines:
    """A batch of lines of one file.

    `text` holds one line each, without its newline; `position` is the first byte of the line in the
    decompressed file, `line` its number from 1, `terminated` whether a newline followed.
    """

    text: list[bytes]
    position: np.ndarray
    line: np.ndarray
    terminated: bool


@dataclass
class ByteCount:
    """What the bytes of a file were, filled while it is read; `damage` says how it ended badly."""

    total: int = 0
    record: int = 0
    separator: int = 0
    blank: int = 0
    damage: str | None = None
    gzipped: bool = False
    digest: str = ""
    _hash: object = field(default_factory=hashlib.sha256, repr=False)


def find_archives(source: str | Path) -> list[Path]:
    """Return the archive files at a path, folder or glob, in name order ('audit.log' after its rotations).

    Raises
    ------
    InputError
        When nothing is there, or a folder holds no file that could be an archive.
    """
    text = str(source)
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(
            item for item in path.rglob("*")
            if item.is_file() and not item.name.startswith(".") and item.name not in _NOT_ARCHIVES
            and item.suffix not in _SKIP_SUFFIXES and item.name.endswith(_ARCHIVE_SUFFIXES)
        )
        if not found:
            endings = ", ".join(_ARCHIVE_SUFFIXES[:6])
            raise InputError(f"no audit archive in folder '{path}'", f"archives end in {endings}; name a file to force it")
        return found
    if glob.has_magic(text):
        # glob.glob and not Path.glob: the pattern may be absolute and may hold '**'.
        found = sorted(Path(item) for item in glob.glob(str(path), recursive=True) if Path(item).is_file())  # noqa: PTH207
        if not found:
            raise InputError(f"no file fits '{text}'", "quote the pattern, and check it with ls")
        return found
    raise InputError(f"no file or folder '{text}'", "check the path")


def read_lines(path: Path, batch_bytes: int, count: ByteCount) -> Iterator[Lines]:
    """Yield the lines of a plain or gzip file in batches of about `batch_bytes`, and fill `count`.

    A damaged gzip yields every line before the damage; `count.damage` then says what happened.

    Raises
    ------
    InputError
        When the file cannot be opened, is empty, or is plainly no text.
    """
    with _open(path, count) as stream:
        position, line_number, rest = 0, 1, b""
        first = True
        while True:
            chunk = _read_chunk(stream, batch_bytes, count)
            if not chunk and not rest:
                break
            _update(count, chunk)
            block = rest + chunk
            at_end = not chunk
            if first and block:
                block, position = _check_beginning(path, block, count)
                first = False
            cut = len(block) if at_end else block.rfind(b"\n") + 1
            if cut == 0:  # a line longer than the batch: read on
                rest = block
                continue
            body, rest = block[:cut], block[cut:]
            terminated = body.endswith(b"\n")
            pieces = body.split(b"\n")
            if terminated:
                pieces.pop()
            lengths = np.fromiter((len(piece) for piece in pieces), dtype=np.int64, count=len(pieces))
            starts = position + np.concatenate(([0], np.cumsum(lengths + 1)[:-1])) if len(pieces) else np.zeros(0, np.int64)
            numbers = line_number + np.arange(len(pieces))
            count.separator += len(pieces) - (0 if terminated else 1)
            yield from _without_blanks(pieces, starts, numbers, terminated, count)
            position += cut
            line_number += len(pieces)
            if at_end:
                break
    if count.total == 0 and count.damage is None:
        raise InputError(f"'{path}' is empty", "an audit archive holds one JSON event a line")
    count.digest = count._hash.hexdigest()  # type: ignore[attr-defined]


def _without_blanks(pieces: list[bytes], starts: np.ndarray, numbers: np.ndarray, terminated: bool, count: ByteCount) -> Iterator[Lines]:
    """Count blank lines and padding, keep the rest; a carriage return before the newline is padding."""
    keep: list[int] = []
    texts: list[bytes] = []
    for index, piece in enumerate(pieces):
        stripped = piece.strip(b" \t\r\x00")
        count.blank += len(piece) - len(stripped)
        if stripped:
            count.record += len(stripped)
            keep.append(index)
            texts.append(stripped)
    if texts:
        yield Lines(texts, starts[keep], numbers[keep], terminated)


def _open(path: Path, count: ByteCount) -> BinaryIO:
    try:
        raw = path.open("rb")
        magic = raw.read(6)
        raw.seek(0)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}", "check its permissions") from None
    for known, name in _OTHER_MAGIC.items():
        if magic.startswith(known):
            raw.close()
            raise InputError(f"'{path}' is {name}, not an audit archive", "give JSON lines, plain or gzip")
    if magic.startswith(_GZIP):
        count.gzipped = True
        return io.BufferedReader(gzip.GzipFile(fileobj=raw, mode="rb"), 1 << 20)
    return raw


def _read_chunk(stream: BinaryIO, size: int, count: ByteCount) -> bytes:
    # read1 in small steps, so that what was inflated before a damaged place is not thrown away with it.
    parts, have = [], 0
    reader = getattr(stream, "read1", stream.read)
    while have < size and count.damage is None:
        try:
            part = reader(1 << 16 if count.gzipped else size)
        except EOFError:
            count.damage = "gzip ends early"
            break
        except (OSError, zlib.error) as error:
            count.damage = f"gzip is damaged: {str(error)[:80]}"
            break
        if not part:
            break
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _update(count: ByteCount, chunk: bytes) -> None:
    count.total += len(chunk)
    count._hash.update(chunk)  # type: ignore[attr-defined]


def _check_beginning(path: Path, block: bytes, count: ByteCount) -> tuple[bytes, int]:
    """Refuse binary files; pass over a UTF-8 byte order mark (counted as blank)."""
    head = block[:4096]
    controls = sum(byte < 9 or 14 <= byte < 32 for byte in head)
    if b"\x00" in head.strip(b"\x00") and controls > len(head) // 20:
        raise InputError(f"'{path}' is binary, not an audit archive", "give JSON lines, plain or gzip")
    if block.startswith(b"\xef\xbb\xbf"):
        count.blank += 3
        return block[3:], 3
    return block, 0
