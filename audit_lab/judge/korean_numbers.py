"""How Korean prose writes numbers: digits, native and Sino-Korean numerals, ranges ('두세') and bounds ('스무 건이 넘는').

A number is read only where a counter or a known thing follows it, so that a status code ('403') or a name counts nothing.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_ONES = {
    "한": 1, "하나": 1, "두": 2, "둘": 2, "세": 3, "셋": 3, "석": 3, "네": 4, "넷": 4, "넉": 4, "다섯": 5, "여섯": 6, "일곱": 7,
    "여덟": 8, "아홉": 9,
}
_TENS = {"열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40, "쉰": 50, "예순": 60, "일흔": 70, "여든": 80, "아흔": 90}
_SINO = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}
_SINO_UNITS = {"십": 10, "백": 100, "천": 1000}
_RANGES: dict[str, tuple[float, float]] = {
    "한두": (1, 2), "두세": (2, 3), "두서너": (2, 4), "서너": (3, 4), "네댓": (4, 5), "너댓": (4, 5), "네다섯": (4, 5), "대여섯": (5, 6),
    "예닐곱": (6, 7), "일고여덟": (7, 8), "십수": (11, 19), "몇십": (20, 99), "수십": (20, 99), "몇백": (200, 999), "수백": (200, 999),
    "수천": (2000, 9999), "여러": (2, math.inf), "몇": (2, 9),
}
_NATIVE = f"(?:{'|'.join(_TENS)})(?:{'|'.join(_ONES)})?|{'|'.join(sorted(_ONES, key=len, reverse=True))}"
_NUMBER = rf"\d[\d,]*|{'|'.join(sorted(_RANGES, key=len, reverse=True))}|{_NATIVE}|[일이삼사오육칠팔구십백천만]*[십백천만]|[삼사오육칠팔구]"
LENGTHS = {"초": 1.0, "분": 60.0, "시간": 3600.0, "일": 86400.0, "주": 604800.0, "개월": 2592000.0}
_COUNTERS = (
    r"초|분(?!의)|시간|일(?![가-힣]{2})|주(?![가-힣]{2})|개월|번(?!째|호| 째)|회|차례|건|개(?![월인발별])|대(?!부분|상|화)"
    r"|곳|군데|명|가지")
# A range needs a unit of its own or a thing: '일곱 네임스페이스'.
_THINGS = r"(?=\s(?:네임스페이스|노드|시크릿|파드|요청|호출|웹훅|토큰|역할|롤|바인딩|크론잡))"
_QUANTITY = re.compile(
    rf"(?<![가-힣A-Za-z0-9_.:+\-])(?P<n>{_NUMBER})(?P<more>여)?(?:\s?(?P<unit>{_COUNTERS})|{_THINGS})")
_AFTER: tuple[tuple[str, re.Pattern[str]], ...] = tuple((kind, re.compile(rf"^{pattern}")) for kind, pattern in (
    ("above", r"(?:을|를|이|가|도)?\s*(?:훨씬\s*|훌쩍\s*)?(?:넘|초과|웃돌|상회)"), ("least", r"\s*이상"),
    ("below", r"(?:도|이|가|에도|에)?\s*(?:채\s*)?(?:안\s*(?:되|된|돼|됐|걸)|(?:되|걸리)지\s*않|못\s*(?:되|미치|미친)|미치지\s*못)"
        r"|\s*미만"),
    ("most", r"\s*(?:이하|이내|안에|내에|안팎에)"), ("near", r"\s*(?:정도|쯤|가량|남짓|안팎|내외|(?:에 )?가까[이운]|(?:에 )?육박|전후)")))
_BEFORE: tuple[tuple[str, re.Pattern[str]], ...] = tuple((kind, re.compile(rf"(?:^|\s)(?:{words})\s+$")) for kind, words in (
    ("least", "최소|적어도|족히|못해도"), ("most", "최대|많아야|기껏해야"), ("near", "약|대략|거의|얼추|한|어림잡아")))
# A rounded number may be off by this share, or by this much.
SLACK, SLACK_LEAST = 0.25, 2


class Quantity(NamedTuple):
    """A number of a text: it is said to lie from `low` to `high`; `unit` is its counter ('' where a thing follows at once)."""

    start: int
    end: int
    low: float
    high: float
    unit: str
    bound: str | None

    def fits(self, true: float) -> bool:
        """Tell whether a number is within what is said."""
        return self.low <= true <= self.high

    @property
    def is_exact(self) -> bool:
        """Whether one number is named, without a bound."""
        return self.low == self.high


def find_quantities(text: str) -> list[Quantity]:
    """Return the numbers of a Korean text, in order.

    >>> [(found.low, found.high, found.unit) for found in find_quantities("거부된 요청은 스무 건이 넘고 시크릿은 열두 개, 응답은 403이다.")]
    [(21.0, inf, '건'), (12.0, 12.0, '개')]
    """
    found = []
    for match in _QUANTITY.finditer(text):
        # 'Not even one': no number.
        if match["n"] in ("한", "하나") and text[match.end():].startswith("도"):
            continue
        word, unit = match["n"], match["unit"] or ""
        low, high = _RANGES.get(word) or (float(numeral(word)), float(numeral(word)))
        bound = next((kind for kind, pattern in _AFTER if pattern.search(text[match.end():])), None) or next(
            (kind for kind, pattern in _BEFORE if pattern.search(text[:match.start()])), None)
        if match["more"] or (bound is None and unit in LENGTHS):
            bound = bound or "near"
        found.append(Quantity(match.start(), match.end(), *_bounded(low, high, bound), unit, bound))
    return found


def _bounded(low: float, high: float, bound: str | None) -> tuple[float, float]:
    slack = max(SLACK_LEAST, SLACK * low)
    return {
        "above": (low + 1, math.inf), "least": (low, math.inf), "below": (0.0, high - 1), "most": (0.0, high),
        "near": (low - slack, high + slack), None: (low, high),
    }[bound]


def numeral(word: str) -> int:
    """Return the value of a numeral.

    >>> numeral("스물세"), numeral("삼백오십"), numeral("1,200"), numeral("천")
    (23, 350, 1200, 1000)
    """
    if word[0].isdigit():
        return int(word.replace(",", ""))
    if word in _ONES:
        return _ONES[word]
    for tens, value in _TENS.items():
        if word.startswith(tens) and (word[len(tens):] in _ONES or word == tens):
            return value + _ONES.get(word[len(tens):], 0)
    total = part = digit = 0
    for letter in word:
        if letter == "만":
            total, part, digit = total + (part + digit or 1) * 10000, 0, 0
        elif letter in _SINO_UNITS:
            part, digit = part + (digit or 1) * _SINO_UNITS[letter], 0
        else:
            digit = _SINO.get(letter, 0)
    return total + part + digit
