"""A user's own detectors: plain functions over frames, checked at the door."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import polars as pl

from audit_lab import tables
from audit_lab.errors import AuditLabError, InputError
from audit_lab.hashing import text_digest

Detector = Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame], pl.DataFrame]
_MAX_EVENTS = 50


def run_detectors(
    detectors: Sequence[Detector], sessions: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame
) -> pl.DataFrame:
    """Run functions `mine(sessions, events, session_events)` and return what they found as signals.

    Parameters
    ----------
    detectors
        Functions that return a frame with `session_id` and `strength` 0–1 and, if they like, `reason` (one line) and
        `event_ids` (list of ids; at most 50 are kept). Their names become detector ids, their source the version.
    sessions, events, session_events
        The tables of those names.

    Returns
    -------
    Table signals, kind 'custom'. Rows with strength 0 are left out.

    Raises
    ------
    InputError
        Naming the detector whose result cannot be used, or that failed.

    >>> def many_denials(sessions, events, session_events):
    ...     return sessions.filter(pl.col("n_denied") >= 10).select("session_id", strength=pl.lit(0.8))
    >>> run_detectors([many_denials], tables.empty("sessions"), tables.empty("events"), tables.empty("session_events")).height
    0
    """
    names = [_name(detector) for detector in detectors]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two detectors are called '{name}'", "rename one of the functions")
    parts = [_run(name, detector, sessions, events, session_events) for name, detector in zip(names, detectors, strict=True)]
    return pl.concat([tables.empty("signals"), *parts]).sort("session_id", "detector_id")


def _name(detector: Detector) -> str:
    name = getattr(detector, "__name__", "") or type(detector).__name__
    if not callable(detector) or name == "<lambda>":
        raise InputError(f"a detector must be a named function, not {name or detector!r}", "def mine(sessions, events, session_events): …")
    return str(name)


def _run(name: str, detector: Detector, sessions: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    try:
        found = detector(sessions, events, session_events)
    except AuditLabError:
        raise
    except Exception as error:  # a user's function may fail in any way; the run must say which one it was
        raise InputError(f"detector '{name}' failed: {type(error).__name__}: {str(error)[:160]}", "try it alone on lab.sessions") from error
    if isinstance(found, pl.LazyFrame):
        found = found.collect()
    if not isinstance(found, pl.DataFrame):
        raise InputError(f"detector '{name}' returned {type(found).__name__}, not a frame", "return columns session_id and strength")
    _check(name, found, sessions)
    reason = pl.col("reason").fill_null(name) if "reason" in found.columns else pl.lit(f"found by detector {name}")
    event_ids = pl.col("event_ids").fill_null([]).list.head(_MAX_EVENTS) if "event_ids" in found.columns else pl.lit([], dtype=tables.TEXTS)
    return tables.conform(
        found.select(
            "session_id", pl.col("strength").cast(pl.Float64), reason=reason.cast(pl.String).str.replace_all(r"\s+", " ").str.slice(0, 200),
            event_ids=event_ids.cast(tables.TEXTS), detector_id=pl.lit(name), detector_version=pl.lit(_version(detector)),
            kind=pl.lit("custom"),
        ).filter(pl.col("strength") > 0),
        "signals",
    )


def _check(name: str, found: pl.DataFrame, sessions: pl.DataFrame) -> None:
    def wrong(what: str, hint: str = "return columns session_id and strength (0–1)") -> InputError:
        return InputError(f"detector '{name}': {what}", hint)

    missing = [column for column in ("session_id", "strength") if column not in found.columns]
    if missing:
        raise wrong(f"its frame lacks {', '.join(missing)}")
    unknown = [column for column in found.columns if column not in ("session_id", "strength", "reason", "event_ids")]
    if unknown:
        raise wrong(f"its frame has unknown columns {', '.join(unknown)}", "only session_id, strength, reason and event_ids are read")
    strength = found["strength"]
    if found.height and not strength.dtype.is_numeric():
        raise wrong(f"strength is {strength.dtype}, not a number")
    if strength.null_count() or found["session_id"].null_count():
        raise wrong("session_id and strength must not be null")
    values = strength.cast(pl.Float64)
    if values.is_nan().any() or ((values < 0) | (values > 1)).any():
        raise wrong("strength must lie between 0 and 1")
    if found["session_id"].is_duplicated().any():
        raise wrong("a session appears more than once", "keep the strongest row of each session")
    strangers = found.join(sessions, on="session_id", how="anti") if found.height else found
    if strangers.height:
        raise wrong(f"{strangers.height} of its session ids are not in sessions")
    if "event_ids" in found.columns and found.height and found.schema["event_ids"] != tables.TEXTS:
        raise wrong(f"event_ids is {found.schema['event_ids']}, not a list of texts")


def _version(detector: Detector) -> str:
    """A digest of the function's source: a changed detector is another detector."""
    try:
        source = inspect.getsource(detector)
    except (OSError, TypeError):
        code = getattr(detector, "__code__", None)
        source = repr((code.co_code, code.co_names)) if code else repr(type(detector))
    return text_digest(source)[:12]
