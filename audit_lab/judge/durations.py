"""How long prose says that it took, held against the times of the events."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import BOUNDED, NUMBER, CaseNumbers, is_lower_bound, number_value

_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
_PARTS = {"half": 0.5, "quarter": 0.25}
# 'A few seconds': any number from two to so many.
VAGUE, VAGUE_LEAST, VAGUE_MOST = r"a few|several|a couple of|mere", 1.0, 15.0
_BOUND = r"(?P<bound>(?:[a-z]+\s+){0,3}?)"
_LENGTH = (
    rf"{_BOUND}(?:(?P<part>half|a quarter of)\s+an?|(?P<n>an?|{VAGUE}|{NUMBER})(?P<more>\s+and\s+a\s+half)?)\s+"
    r"(?P<unit>second|minute|hour|day|week)s?(?P<late>\s+and\s+a\s+half)?")
# Nothing may follow that makes it the length of something else ('it took ten seconds until the pod ran').
_END = r"(?=\s*(?:[,.;!?]|$|and\b|but\b|in all\b|in total\b|overall\b|altogether\b))"
_WHOLE = re.compile(
    r"\b(?:(?:the|this)\s+(?:whole\s+|entire\s+|complete\s+)?(?:activity|session|case|episode|affair|visit|probing|attack"
    r"|sequence|thing)|everything|it|all of (?:it|this)|the whole)\s+(?:took|lasted|spanned|spans|lasts|went on for"
    rf"|(?:was|is) (?:all )?over (?:in|within|after)|ended (?:after|within))\s+{_LENGTH}{_END}", re.IGNORECASE)
_OVER = re.compile(
    rf"\b(?:after|within|in)\s+{_LENGTH},?\s+(?:it|everything|the (?:whole thing|session|activity|case|visit|attack)|all)\s+(?:was|were"
    rf"|had been)"
    r"\s+(?:all\s+)?(?:over|done|finished|through)\b", re.IGNORECASE)
_STAYED = re.compile(
    r"\bwebhook\s+(?:only\s+)?(?:stayed|lived|existed|remained|lasted|was (?:there|in place|active|alive|up))(?: in place)?\s+(?:for\s+)?"
    rf"{_LENGTH}{_END}", re.IGNORECASE)
# A length without a bound is rounded: it is wrong where it is this many times too long or too short, and by more than this many seconds.
ROUNDED_TIMES, ROUNDED_S = 2.0, 3.0


def check_durations(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Return what a summary says of how long a case, or a webhook's life, took and the tables contradict, in our words.

    >>> from datetime import datetime, timedelta
    >>> start = datetime(2026, 3, 2)
    >>> case = CaseNumbers({}, {}, spans={"request": (start, start + timedelta(seconds=303))})
    >>> list(check_durations("It took less than ten seconds.", case)), list(check_durations("It lasted five minutes.", case))
    (["says 'it took less than ten seconds', the tables say 303 s"], [])
    """
    whole, written, deleted = (numbers.spans.get(name) for name in ("request", "webhook_write", "webhook_delete"))
    life = (written[0], deleted[1]) if written and deleted else None
    for pattern, span in ((_WHOLE, whole), (_OVER, whole), (_STAYED, life)):
        for match in pattern.finditer(summary) if span else ():
            true = (span[1] - span[0]).total_seconds() if span else 0.0
            if not (_fits_vague(match, true) if is_vague(match["n"]) else _fits(_seconds(match), true, match["bound"])):
                yield f"says '{match.group(0).strip().lower()[:60]}', the tables say {true:.0f} s"


def is_vague(word: str | None) -> bool:
    """Tell whether a length has no number ('a few')."""
    return bool(word and re.fullmatch(VAGUE, word, re.IGNORECASE))


def _fits_vague(match: re.Match[str], true: float) -> bool:
    unit = _UNITS[match["unit"].lower()]
    return VAGUE_LEAST * unit <= true + ROUNDED_S and true <= VAGUE_MOST * unit


def is_known_length(said: int, unit: str, numbers: CaseNumbers) -> bool:
    """Tell whether two moments that the tables know of a case lie that far apart, rounded; `unit` is 'seconds', 'minutes' or 'hours'."""
    moments = sorted({moment for span in numbers.spans.values() for moment in span})
    length = said * _UNITS.get(unit.rstrip("s").lower(), 1.0)
    slack = max(1.0, 0.1 * length)
    return any(abs((late - early).total_seconds() - length) <= slack for early, late in itertools.combinations(moments, 2))


def _seconds(match: re.Match[str]) -> float:
    unit = _UNITS[match["unit"].lower()]
    if match["part"]:
        return unit * _PARTS["half" if match["part"].lower() == "half" else "quarter"]
    said = 1 if match["n"].lower() in ("a", "an") else number_value(match["n"])
    return unit * (said + (0.5 if match["more"] or match["late"] else 0.0))


def _fits(said: float, true: float, before: str) -> bool:
    bound = BOUNDED.search(before)
    kind = bound.lastgroup if bound else None
    if kind in ("below", "most", "range"):
        return true <= said + max(ROUNDED_S, 0.1 * said)
    if is_lower_bound(before):
        return true >= said - max(ROUNDED_S, 0.1 * said)
    return abs(true - said) <= ROUNDED_S or said / ROUNDED_TIMES <= true <= said * ROUNDED_TIMES
