"""What English prose says of all, most, half or none of the requests, held against how many were refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import BOUNDED, NUMBER, VAGUE, CaseNumbers, fits_bound, number_value

# A percentage in prose may be rounded by this much; a fraction ('a third') by this much.
ROUNDED, ROUNDED_FRACTION = 0.05, 0.1
_WHAT = r"what\s+(?:it|he|she|they|(?:the|this)\s+\w+(?:\s+\w+)?)\s+(?:asked for|tried|attempted|requested|sent)"
_OF_REQUESTS = (
    r"(?:of\s+)?(?:(?:the\s+|this\s+)?\w+'s\s+|(?:all\s+)?(?:the\s+|its\s+|his\s+|her\s+|their\s+|these\s+)|them\b\s*)?"
    rf"(?:anonymous\s+|unauthenticated\s+)?(?:requests?|calls?|attempts?|tries|them|{_WHAT})?")
_COUNTED = r"(?:\s*\d+\s+(?:requests?|calls?))?"
_WERE = r"(?:\s*(?:were|was|got|being|have been|had been))?\s+"
DENIED = (
    r"(?:denied|refused|rejected|forbidden|turned (?:down|away|back)|bounced|rebuffed|blocked|declined|barred|thwarted|repelled"
    r"|knocked back"
    r"|sent away|shut out|stopped|disallowed)")
# Answered with a refusal is not let through.
ALLOWED = (
    r"(?:allowed|successful|permitted|granted|accepted|succeeded|let (?:through|in|pass)|waved through|honou?red|served"
    r"|answered(?!,? (?:with|by|in the) ))")
_ENDED = rf"{_WERE}(?:(?P<denied>{DENIED})|(?P<allowed>{ALLOWED}))\b"
# What takes back what 'nothing' or 'everything' said: a time, a place, an exception.
LIMITED = (
    r"(?!\s+(?:to begin|at first|until|before|after|except|but|apart|other than|save|initially"
    r"|in(?! (?:this|the) (?:whole |entire )?(?:case|session|activity))|at(?! all)|on|from|here|there|by)\b)")
_AMOUNT = r"all|every|each|most|the majority|half|some|several|a few|none|(?<!no )(?<!not )(?<!only )one|a couple|a handful|many|a number"
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    rf"(?:^|(?<=[.;!?]\s))(?P<amount>everything|nothing|not a single request|not one request)(?P<n>){_ENDED}{LIMITED}",
    rf"(?:^|(?<=[.;!?]\s))(?P<amount>nothing)(?P<n>) (?:that|of {_WHAT}|(?:this|the|that) [^,.;]{{1,40}} (?:asked for|tried)){_ENDED}",
    rf"\b(?P<n>)(?P<amount>{_AMOUNT}|\d+(?:[.]\d+)?\s?%)\s+{_OF_REQUESTS}{_COUNTED}{_ENDED}",
    rf"\b(?P<n>)(?P<amount>{_AMOUNT})\s+{_OF_REQUESTS}{_COUNTED}\s+(?P<allowed>succeeded|came through|went through|got through"
    rf"|made it through|passed|worked)(?P<denied>)\b",
    rf"\b(?P<amount>all|half)(?: of)?\s+(?:the\s+)?(?P<n>{NUMBER})\s+(?:\w+\s+)?(?:requests?|calls?){_ENDED}",
))
# 'One request in five', 'nine in ten requests', 'two thirds of the requests': a share, and no count of anything.
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_PART = "|".join(_PARTS)
_IN = (
    rf"{NUMBER}(?:\s+(?:requests?|calls?|attempts?))?\s+in\s+(?:every\s+)?{NUMBER}(?:\s+(?:requests?|calls?|attempts?))?"
    r"(?=\s*(?:was|were|got|[.,;]|$))")
RATIOS = re.compile(rf"{_IN}|\b(?:one|two|three|four|five|nine)[ -](?:{_PART})s?\b(?=\s+of\b)", re.IGNORECASE)
_RATIO_ENDED = re.compile(rf"{_IN}{_ENDED}", re.IGNORECASE)
_FRACTION_ENDED = re.compile(
    rf"\b(?P<top>an?|one|two|three|four|five|nine)[ -](?P<part>{_PART})s?\s+(?P<of>{_OF_REQUESTS}){_COUNTED}{_ENDED}", re.IGNORECASE)
# 'Three requests were denied', 'three of 53 requests were denied', '53 of them denied'.
_EXACT = re.compile(
    rf"(?:{NUMBER}\s+(?:out )?of (?:the |its )?)?(?<!every )(?<!each ){NUMBER}\s+"
    rf"(?:(?:requests?|calls?){_WERE}|of (?:them|the requests|the calls|these|those){_WERE}){DENIED}\b", re.IGNORECASE)
_VAGUE = re.compile(rf"\b(?P<vague>{'|'.join(VAGUE)})\s+(?:the\s+|its\s+)?(?:requests?|calls?){_WERE}{DENIED}\b", re.IGNORECASE)
_NOT = re.compile(r"\bnot\s+$", re.IGNORECASE)
_ALL_BUT = re.compile(r"\ball but\s+$", re.IGNORECASE)
_ONLY = re.compile(r"\b(?:only|just|exactly|a single|total of)\s+$", re.IGNORECASE)
_SPOKE_OF_REQUESTS = re.compile(r"\b(?:requests?|calls?)\W+(?:and\W+)?$", re.IGNORECASE)
_LIMITS = {
    "all": (1.0, 1.0), "every": (1.0, 1.0), "each": (1.0, 1.0), "most": (0.5, 1.0), "the majority": (0.5, 1.0), "half": (0.4, 0.6),
    "none": (0.0, 0.0), "everything": (1.0, 1.0), "nothing": (0.0, 0.0), "not a single request": (0.0, 0.0),
    "not one request": (0.0, 0.0),
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
    wrong = [*_amounts(summary, events, denied), *_fractions(summary, events, denied), *_exact(summary, events, denied)]
    yield from (f"says '{said}', {whole}" for said in wrong)


def _amounts(summary: str, events: int, denied: int) -> Iterable[str]:
    """Yield what is wrong of all, most, half or none of the requests."""
    for match in (match for pattern in _PATTERNS for match in pattern.finditer(summary)):
        amount = match["amount"].lower()
        counted = match.groupdict().get("n")
        # 'All six token requests' are not all requests.
        before = summary[: match.start()]
        if (counted and number_value(counted) != events) or _NOT.search(before):
            continue
        if amount == "half" and (bound := BOUNDED.search(before)) and bound.lastgroup not in ("near", "range"):
            share = (denied if match["denied"] else events - denied) / events
            if not fits_bound(0.5, share, before):
                yield f"{bound.group(0)}{match.group(0).strip().lower()[:60]}"
            continue
        if not _fits(amount, (denied if match["denied"] else events - denied) / events):
            yield match.group(0).strip().lower()[:60]


def _fractions(summary: str, events: int, denied: int) -> Iterable[str]:
    """Yield what is wrong of 'one request in five' and 'a third of the requests'."""
    for match, said in _ratios(summary):
        before, share = summary[: match.start()], (denied if match["denied"] else events - denied) / events
        near = abs(share - said) <= ROUNDED_FRACTION
        bound = BOUNDED.search(before)
        rounded = bound is None or bound.lastgroup in ("near", "range")
        if not near and (rounded or not fits_bound(said, share, before)):
            yield match.group(0).strip().lower()[:60]


def _exact(summary: str, events: int, denied: int) -> Iterable[str]:
    """Yield what is wrong of refusals that are counted."""
    for match in _VAGUE.finditer(summary):
        if VAGUE[match["vague"].lower()] > denied:
            yield match.group(0).strip().lower()[:60]
    summary = RATIOS.sub(lambda match: " " * len(match.group(0)), summary)
    for match in _EXACT.finditer(summary):
        # Of 'two of 53 requests were denied' the two count.
        said = number_value(match.group(1) or match.group(2))
        if _ALL_BUT.search(summary[: match.start()]):
            said = events - said
        # 'Five of them' are of the requests only where the words before are of requests.
        if "of the" in match.group(0).lower() and not match.group(1) and not _SPOKE_OF_REQUESTS.search(summary[: match.start()]):
            continue
        # 'One request was refused' is any of them.
        if said == 1 and denied and not match.group(1) and not _ONLY.search(summary[: match.start()]):
            continue
        if not fits_bound(said, denied, summary[: match.start()]):
            yield match.group(0).strip().lower()[:60]


def _ratios(summary: str) -> Iterable[tuple[re.Match[str], float]]:
    for match in _RATIO_ENDED.finditer(summary):
        if number_value(match.group(2)):
            yield match, number_value(match.group(1)) / number_value(match.group(2))
    for match in _FRACTION_ENDED.finditer(summary):
        if match["of"].strip():
            top = 1 if match["top"].lower() in ("a", "an") else number_value(match["top"])
            yield match, top / _PARTS[match["part"].lower()]


def _fits(amount: str, share: float) -> bool:
    if amount.endswith("%"):
        return abs(share - float(amount.rstrip("% ")) / 100) <= ROUNDED
    # 'Some' is any share but none.
    least, most = _LIMITS.get(amount, (1e-9, 1.0))
    return least <= share <= most
