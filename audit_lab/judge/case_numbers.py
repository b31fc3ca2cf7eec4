"""What the tables say of a case, for holding prose against it; and how prose writes numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "hundred": 100, "dozen": 12, "once": 1, "twice": 2,
}
_ONES = tuple(word for word, value in _WORDS.items() if value < 10 and not word.endswith("ce"))
_TENS = tuple(word for word, value in _WORDS.items() if value % 10 == 0 and 20 <= value < 100)
_UNITS = {"dozen": 12, "hundred": 100, "thousand": 1000}
# 'Sixty-three', 'two dozen', 'three hundred'.
_COMPOUND = rf"(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_ONES)})|(?:{'|'.join(_ONES)}|half a)\s(?:{'|'.join(_UNITS)})"
# A Korean counter may follow a number at once: only Latin letters make it part of a name.
NUMBER = rf"(?<![A-Za-z0-9_.:-])(\d[\d,]*|{_COMPOUND}|{'|'.join(_WORDS)})(?![A-Za-z0-9_%:]|[.]\d)"

# A number after these words bounds a count and need not be one.
_ABOVE, _FROM = r"over|above|more than|greater than", r"at least|no (?:fewer|less) than|not (?:fewer|less) than"
_BELOW, _UP_TO = r"under|below|less than|fewer than", r"at most|up to|no more than|not more than"
_NEAR = r"around|about|almost|nearly|roughly|approximately|some|close to|just (?:over|above|under|below)"
_RANGE = r"within|between|between \S+ and"
BOUNDED = re.compile(
    rf"\b(?:(?P<near>{_NEAR})|(?P<above>{_ABOVE})|(?P<least>{_FROM})|(?P<below>{_BELOW})|(?P<most>{_UP_TO})|(?P<range>{_RANGE}))\s+$",
    re.IGNORECASE)
# 'Dozens of webhooks': at least that many.
VAGUE = {"several": 2, "dozens of": 24, "scores of": 40, "hundreds of": 100, "thousands of": 1000}


@dataclass(frozen=True)
class CaseNumbers:
    """What the tables say of a case.

    `named`: numbers by noun; by predicate: `counts` (tried), `succeeded`, `denied`, `spans` (first, last time); `shown`: all numbers its
    evidence shows; `kinds` of its identities; `routine`: how many of its actions the actor had done before, of how many (None: not said).
    """

    named: Mapping[str, int]
    counts: Mapping[str, int]
    succeeded: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[int] = field(default_factory=frozenset)
    denied: Mapping[str, int] = field(default_factory=dict)
    spans: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    kinds: frozenset[str] = field(default_factory=frozenset)
    routine: tuple[int, int] | None = None


def fits_bound(said: float, true: float, before: str, slack: float = 0.25) -> bool:
    """Tell whether a number fits what prose says of it; `before` is the text up to it, whose last words may bound it.

    >>> fits_bound(10, 11, "more than "), fits_bound(10, 1, "more than "), fits_bound(10, 11, ""), fits_bound(10, 11, "about ")
    (True, False, False, True)
    """
    match = BOUNDED.search(before)
    bound = match.lastgroup if match else None
    return {
        None: true == said, "above": true > said, "least": true >= said, "below": true < said, "most": true <= said,
        "near": abs(true - said) <= max(2, slack * said), "range": True,
    }[bound]


def is_lower_bound(before: str) -> bool:
    """Tell whether the last words of a text make the number after them the least there can be ('more than').

    >>> is_lower_bound("It read more than "), is_lower_bound("It read fewer than ")
    (True, False)
    """
    match = BOUNDED.search(before)
    return match is not None and match.lastgroup in ("above", "least")


def number_value(word: str) -> int:
    """Return the value of a number as prose writes it.

    >>> number_value("twelve"), number_value("1,200"), number_value("sixty-three"), number_value("two dozen"), number_value("half a dozen")
    (12, 1200, 63, 24, 6)
    """
    lowered = word.lower()
    first, _, second = lowered.replace("half a ", "half ").replace("-", " ").partition(" ")
    if second in _UNITS:
        return _UNITS[second] // 2 if first == "half" else _WORDS[first] * _UNITS[second]
    if second:
        return _WORDS[first] + _WORDS[second]
    return _WORDS[lowered] if lowered in _WORDS else int(lowered.replace(",", "") or 0)
