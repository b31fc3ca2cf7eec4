"""What prose says of all, most, half or none of the requests, held against how many were refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import BOUNDED, NUMBER, CaseNumbers, number_value

# A percentage in prose may be rounded by this much.
ROUNDED = 0.05
_OF_REQUESTS = r"(?:of\s+)?(?:the\s+|its\s+|these\s+|them\b\s*)?(?:anonymous\s+)?(?:requests?|calls?|attempts?|tries|them)?"
_COUNTED = r"(?:\s*\d+\s+(?:requests?|calls?))?"
_WERE = r"(?:\s*(?:were|was|got|being|have been|had been))?\s+"
_DENIED, _ALLOWED = r"(?:denied|refused|rejected|forbidden)", r"(?:allowed|successful|permitted|granted|accepted|succeeded)"
_ENDED = rf"{_WERE}(?:(?P<denied>{_DENIED})|(?P<allowed>{_ALLOWED}))\b"
_AMOUNT = r"all|every|each|most|the majority|half|some|several|a few|none"
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    rf"\b(?P<amount>{_AMOUNT}|\d+(?:[.]\d+)?\s?%)\s+{_OF_REQUESTS}{_COUNTED}{_ENDED}",
    rf"\b(?P<amount>{_AMOUNT})\s+{_OF_REQUESTS}{_COUNTED}\s+(?P<allowed>succeeded|came through|went through)(?P<denied>)\b",
    rf"\b(?P<amount>all|half)(?: of)?\s+(?:the\s+)?{NUMBER}\s+(?:\w+\s+)?(?:requests?|calls?){_ENDED}",
))
# 'Three requests were denied', 'three of 53 requests were denied', '53 of them denied'.
_EXACT = re.compile(
    rf"(?:{NUMBER}\s+(?:out )?of (?:the |its )?)?(?<!every )(?<!each ){NUMBER}\s+"
    rf"(?:(?:requests?|calls?){_WERE}|of (?:them|the requests|the calls|these|those){_WERE}){_DENIED}\b", re.IGNORECASE)
_SPOKE_OF_REQUESTS = re.compile(r"\b(?:requests?|calls?)\W+(?:and\W+)?$", re.IGNORECASE)
_KOREAN = re.compile(
    r"요청\S*(?:\s*\d+건\S*)?\s*(?P<amount>모두|전부|대부분|절반)\s*(?:\S+\s+)?"
    r"(?:(?P<denied>거부|거절|차단)|(?P<allowed>허용|성공))")
_NONE_KOREAN = re.compile(r"(?:거부|거절|차단)\S*\s*(?:요청|호출)?\S*\s*(?:없었|없음|없습)|(?:거부|거절|차단)되지 않")
_IN_ENGLISH = {"모두": "all", "전부": "all", "대부분": "most", "절반": "half"}
_LIMITS = {
    "all": (1.0, 1.0), "every": (1.0, 1.0), "each": (1.0, 1.0), "most": (0.5, 1.0), "the majority": (0.5, 1.0), "half": (0.4, 0.6),
    "none": (0.0, 0.0),
}


def check_shares(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Return what a summary says of shares of the requests and the tables contradict, in our words.

    >>> list(check_shares("All requests were allowed.", CaseNumbers({"events": 10, "denied": 3}, {})))
    ["says 'all requests were allowed', the tables say 3 of 10 requests refused"]
    """
    events, denied = numbers.named.get("events", 0), numbers.named.get("denied", 0)
    if not events:
        return
    whole = f"the tables say {denied} of {events} requests refused"
    for match in (match for pattern in (*_PATTERNS, _KOREAN) for match in pattern.finditer(summary)):
        amount = _IN_ENGLISH.get(match["amount"], match["amount"].lower())
        if not _fits(amount, (denied if match["denied"] else events - denied) / events):
            yield f"says '{match.group(0).strip().lower()[:60]}', {whole}"
    for match in _EXACT.finditer(summary):
        # Of 'two of 53 requests were denied' the two count.
        said = number_value(match.group(1) or match.group(2))
        # 'Five of them' are of the requests only where the words before are of requests.
        if "of the" in match.group(0).lower() and not match.group(1) and not _SPOKE_OF_REQUESTS.search(summary[: match.start()]):
            continue
        if said != denied and not BOUNDED.search(summary[: match.start()]):
            yield f"says '{match.group(0).strip().lower()[:60]}', {whole}"
    if _NONE_KOREAN.search(summary) and denied:
        yield f"says that nothing was denied, {whole}"


def _fits(amount: str, share: float) -> bool:
    if amount.endswith("%"):
        return abs(share - float(amount.rstrip("% ")) / 100) <= ROUNDED
    # 'Some' is any share but none.
    least, most = _LIMITS.get(amount, (1e-9, 1.0))
    return least <= share <= most
