"""What the tables say of a case, for holding prose against it; and how prose writes numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "dozen": 12, "once": 1, "twice": 2,
}
# A Korean counter may follow a number at once: only Latin letters make it part of a name.
NUMBER = rf"(?<![A-Za-z0-9_.:-])(\d[\d,]*|{'|'.join(_WORDS)})(?![A-Za-z0-9_%:]|[.]\d)"

# A number after these words bounds a count and need not be one.
BOUNDED = re.compile(
    r"\b(under|below|less than|at most|up to|over|above|more than|at least|around|about|almost|nearly|roughly|within|between"
    r"|between \S+ and)\s+$", re.IGNORECASE)


@dataclass(frozen=True)
class CaseNumbers:
    """What the tables say of a case.

    `named`: numbers by noun; by predicate: `counts` (tried), `succeeded`, `denied`, `spans` (first, last time); `shown`: all numbers its
    evidence shows; `kinds` of its identities.
    """

    named: Mapping[str, int]
    counts: Mapping[str, int]
    succeeded: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[int] = field(default_factory=frozenset)
    denied: Mapping[str, int] = field(default_factory=dict)
    spans: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    kinds: frozenset[str] = field(default_factory=frozenset)


def number_value(word: str) -> int:
    """Return the value of a number as prose writes it.

    >>> number_value("twelve"), number_value("1,200")
    (12, 1200)
    """
    lowered = word.lower()
    return _WORDS[lowered] if lowered in _WORDS else int(lowered.replace(",", "") or 0)
