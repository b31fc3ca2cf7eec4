"""Ids are hashes of content (law 7): one place that makes them, and the canonical digest of a frame."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

_SEPARATOR = "\x1f"


def short_id(prefix: str, *parts: Any) -> str:
    """Return `prefix` and 16 hex digits of the SHA-256 of the parts; null and '' differ.

    >>> short_id("s", "a", 1) == short_id("s", "a", 1) != short_id("s", "a1")
    True
    """
    text = _SEPARATOR.join("\x00" if part is None else str(part) for part in parts)
    return f"{prefix}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def frame_digest(frame: pl.DataFrame, key: tuple[str, ...], leave_out: tuple[str, ...] = ()) -> str:
    """Return the canonical digest of a frame: rows sorted by `key`, floats rounded to 9 digits, columns in order."""
    kept = [column for column in frame.columns if column not in leave_out]
    canonical = frame.select(kept).sort([column for column in key if column in kept], nulls_last=True)
    digest = hashlib.sha256(",".join(kept).encode())
    for column in kept:
        series = canonical[column]
        if series.dtype.is_float():
            series = series.round(9)
        for chunk in pl.DataFrame({column: series}).iter_slices(200_000):
            digest.update(chunk.write_ndjson().encode())
    return digest.hexdigest()
