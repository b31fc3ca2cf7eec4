"""Rows of an evidence pack while it is being made: what a query hands over, and how a claim is written in a few words.

>>> claim_text(claim("order", "secret_list", then="pod_exec"))
'{order secret_list pod_exec}'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from audit_lab import vocabulary
from audit_lab.predicates import PREDICATES

KINDS = ("count", "order", "novelty", "denial", "privilege", "reach")
# Words in which the built-in rules and detectors give their reasons; a reason with other words is left out of the line.
_TITLES = """
share hand borrowed mounted address burst sitting copied looked person's processes visible folder talks all-powerful acts allows everything
mints highest away oneself spoken map program authentications optional verbs powerful internet scheduled encryption swept somebody weakened
scaled audit memory everybody built-in extended cloud lack belongs azure arc
"""
# What evidence says besides the vocabulary's words: predicate names, and the words of their phrases.
EXTRA_WORDS = frozenset(
    {*PREDICATES, *KINDS, "innocence", "rows", "nearest", "ten", "tried", "shares", "apart", "among", "labelled"}
    | {"notable", "denials", "linked", "facts", "p", "refusal", "orders", "nobody", "same_source", "benign-but-suspicious"}
    | {"certificate", "severity"}
    | {form for word in _TITLES.split() for form in (word, word.capitalize())}
    | {word.strip(".,:;'()") for predicate in PREDICATES.values() for word in (predicate.does + " " + predicate.did).split()}
)
_HANDLES = re.compile(r"\be[1-9]\d*(-e[1-9]\d*)?\b")
_TOKEN = re.compile(r"[A-Za-z]{1,4}|[^\sA-Za-z]|\n")
_SHORT_NUMBER = re.compile(r"(?<![\d.])[1-9]\d{0,3}(?![\d.])")
MAX_RANGES = 5
# A line of evidence is a line: longer ones come from a query that went wrong.
MAX_TEXT = 1000


class Row(NamedTuple):
    """One row before cutting: `priority` 0 is kept longest; `place` orders rows in the pack."""

    case_id: str
    query_id: str
    place: int
    priority: int
    text: str
    event_ids: Sequence[str] = ()
    claim: Mapping[str, Any] | None = None
    # Events that the row speaks of, where only the first of them are in `event_ids`.
    n_events: int = 0


def claim(kind: str, predicate: str, n: int | None = None, scope: str | None = None, then: str | None = None) -> dict[str, Any]:
    """Return a claim with all fields of `tables.CLAIM`."""
    return {"kind": kind, "predicate": predicate, "then": then, "n": n, "scope": scope}


def claim_text(said: Mapping[str, Any]) -> str:
    """Return a claim as `{kind predicate then n scope}`, absent parts left out: what a model sees and may repeat."""
    parts = [said["kind"], said["predicate"], said["then"], said["n"], said["scope"]]
    return "{" + " ".join(str(part) for part in parts if part is not None) + "}"


def count_tokens(text: str) -> int:
    """Return an upper estimate of a text's tokens: each four letters, digit, sign or line break counts as one.

    Real tokenizers of large models need fewer for English and numbers; text outside ASCII is counted by bytes.

    >>> count_tokens("list secrets x12")
    6
    """
    return len(_TOKEN.findall(text)) + (0 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) - len(text))


def is_shown(text: str) -> bool:
    """Tell whether an evidence text is closed: vocabulary, predicate names, event handles and numbers, nothing else."""
    bare = _HANDLES.sub("0", text).replace("{", " ").replace("}", " ")
    # Texts differ mostly in their numbers, and whether a text is closed does not depend on which short number it holds.
    return len(text) <= MAX_TEXT and _is_closed(_SHORT_NUMBER.sub("1", bare))


@lru_cache(maxsize=65_536)
def _is_closed(text: str) -> bool:
    return vocabulary.is_closed(text, EXTRA_WORDS)


def number_events(rows: Iterable[Sequence[str]]) -> dict[str, int]:
    """Return event id -> number, by first appearance in the rows of one pack: raw audit IDs can be chosen by a client."""
    numbers: dict[str, int] = {}
    for event_ids in rows:
        for event_id in event_ids:
            numbers.setdefault(event_id, len(numbers) + 1)
    return numbers


def handles_text(event_ids: Sequence[str], numbers: Mapping[str, int], n_events: int = 0) -> str:
    """Return handles of events as ranges, `e1-e4 e9 and 12 more`, at most `MAX_RANGES` of them; '' for none.

    `n_events` is the number of events that are spoken of, where it is larger than that of `event_ids`.
    """
    ranges: list[list[int]] = []
    for number in sorted(numbers[event_id] for event_id in event_ids):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"e{first}" if first == last else f"e{first}-e{last}" for first, last in ranges[:MAX_RANGES]]
    more = max(n_events, len(event_ids)) - sum(last - first + 1 for first, last in ranges[:MAX_RANGES])
    return " ".join([*shown, f"and {more} more"] if shown and more > 0 else shown)
