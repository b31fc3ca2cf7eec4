"""What English prose says of a whole case: nothing was changed, objects were deleted, more was refused than allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import CaseNumbers, number_value
from audit_lab.judge.shares import ALLOWED, DENIED, LIMITED

_I = re.IGNORECASE
_EXECS = ("pod_exec", "pod_attach", "ephemeral_container", "kubelet_exec")
_MADE = r"created|registered|added|set up|installed|deployed|made|launched|put in place"
_CHANGED = rf"changed|modified|altered|written|overwritten|edited|patched|updated|tampered with|{_MADE}"
_DELETED = r"deleted|removed|erased|wiped|destroyed"
# A scope behind 'nothing was written' takes it back: under that name, in kube-system, by it.
_SCOPE = (
    r"(?!\s+(?:\w+\s+)?(?:under|as|with|to|through|within|during|for|of|using|while|when|once|afterwards|anymore|else|elsewhere|anew"
    r"|successfully)\b)"
    + LIMITED.replace("|by)", ")"))
_NOTHING = re.compile(
    rf"(?:^|(?<=[.;!?,:] ))\W*(?:and |but |yet |while )?(?:nothing|not (?:a single|one) (?:object|thing|resource)|no (?:objects?"
    rf"|resources?)) (?:new )?(?:at all )?"
    rf"(?:was|were|got|has been|had been) (?:ever |actually )?(?:(?P<changed>{_CHANGED})|(?P<deleted>{_DELETED})){_SCOPE}"
    rf"|\b(?:it|he|she|they|the (?:user|account|session|person|actor|workload)) (?:(?P<changed_it>{_CHANGED})"
    rf"|(?P<deleted_it>{_DELETED})) nothing(?= *(?:[.;,]|$|at all|and\b|but\b))"
    r"|(?:^|(?<=[.;!?] ))\W*(?:the session |it |this )?(?P<looked>only looked(?: around)?|merely looked|did nothing but (?:look"
    r"|read))(?: at [^,.;]{1,40})?(?= *[.;]|$)", _I)
_EXCEPT = re.compile(r"\b(?:apart from|other than|aside|besides|except|save for|beyond|but for|but the|outside of|with the exception"
    r"|bar the|more than)\b", _I)
_NO_DELETIONS = re.compile(rf"\b(?:no|without(?: any)?|not a single) (?:deletions?|removals?|deletes?)\b{_SCOPE}(?=[^.;]{{0,30}}(?:[.;,]"
    rf"|$))", _I)
_OBJECTS = re.compile(
    rf"\b(?<!no )(?<!not )(?<!any )(?:(?:several|some|a few|many|multiple|various|numerous|a number of|two|three|four|five|dozens of"
    rf"|other)\s+)(?:\w+\s+)?(?:objects?|resources?|things|settings|items)\s+"
    rf"(?:was|were|got|had been|have been)\s+(?:(?P<changed>{_CHANGED})|(?P<deleted>{_DELETED}))\b", _I)
# 'Left alone': the thing before was not written.
_LEFT = (
    r"(?:was|were|stayed|remained|are|is|has been|had been|have been)\s+(?:\w+\s+)?"
    r"(?:left (?:alone|untouched|as (?:it|they) (?:was|were)|in peace|unchanged|intact)|untouched|unchanged|intact|unmodified|unaltered"
    r"|not (?:touched|changed|altered|modified|edited))\b")
_THINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?:core|cluster )?dns(?: configuration| settings?| config)?", ("coredns_write",)),
    (r"(?:admission )?webhooks?(?: configurations?)?", ("webhook_write", "webhook_delete")),
    (r"roles?", ("role_write",)), (r"role ?bindings?|(?<!role )bindings?", ("binding_write",)),
    (r"roles and (?:role )?bindings", ("role_write", "binding_write")),
    (r"secrets?", ("secret_write", "secret_delete")), (r"pods?|workloads?|deployments?", ("workload_write", "workload_delete")),
    (r"cron ?jobs?", ("workload_scheduled",)), (r"daemon ?sets?", ("workload_on_every_node",)),
)
_ALONE = tuple((re.compile(
    rf"(?<!other )(?<!existing )(?<!remaining )(?<!own )(?<!old )(?<!all )\b(?:{noun})\s+{_LEFT}(?!\s+(?:by|until|before|after|for"
    rf"|at first|in|since)\b)"
    rf"|\bleft (?:the |its |all )?(?:{noun})\s+(?:alone|untouched|unchanged|intact|as (?:it|they) (?:was|were))(?=\s*(?:[.;,]|$|and\b"
    rf"|but\b))"
    rf"|\b(?:{noun})\s+(?:was|were)\s+(?:\w+\s+){{0,2}}(?:read|listed|looked at|viewed|inspected)(?:,)? (?:but|and) (?:not"
    rf"|never) (?:changed|modified|altered|written|edited|touched)\b", _I), names)
    for noun, names in _THINGS)
_ALONE_WORDS = re.compile(r"\bleft\b|\bun\w+ed\b|\bintact\b|\bnot\b|\bnever\b", _I)
_LEFT_NOTHING_OUT = re.compile(rf"(?:^|(?<=[.;!?] ))\W*(?:everything|the (?:whole )?cluster|all of it)\s+{_LEFT}(?=\s*(?:[.;,]|$))", _I)
_WON = (
    r"(?:successes|allowed (?:requests|calls|ones)|(?:requests|calls) (?:that )?(?:were )?allowed|successful (?:requests|calls|ones)"
    r"|grants|approvals)")
_LOST = (
    r"(?:failures|refusals|denials|rejections|(?:denied|refused|rejected|failed) (?:requests|calls|ones)"
    r"|(?:requests|calls) (?:that )?(?:were )?(?:denied|refused))")
_RELATION = re.compile(
    rf"\b(?P<times>twice|(?:two|three|four|five|ten|\d+) times)?\s*(?:as many|more|fewer|(?P<much>far more|many more))\s+"
    rf"(?:(?P<won>{_WON})|(?P<lost>{_LOST}))\s+(?:as|than)\s+(?:there were )?(?:(?P<won_than>{_WON})|(?P<lost_than>{_LOST}))"
    rf"|(?P<subject>{_WON}|{_LOST})\s+(?P<out>outnumber(?:ed|s)?|outweigh(?:ed|s)?|exceed(?:ed|s)?)\s+(?:the )?(?P<object>{_WON}"
    rf"|{_LOST})", _I)
_USUAL = re.compile(
    r"\b(?:had|has) never (?:before )?(?!been (?:refused|denied))\w+[^.;,]{0,60}?(?:\bbefore\b|\bin its past\b)"
    r"|\bfor the (?:very )?first time\b|\bnone of (?:this|its actions|it) (?:was|were|is|had been) (?:usual|routine|done before|known)", _I)
_ALL_USUAL = re.compile(
    r"\b(?:nothing|none of (?:this|it|its actions)) (?:here |about it |in it )?(?:was|is) new\b(?!\s+(?:to|for) (?!it\b|the actor"
    r"|this (?:account|user|actor)))"
    r"|\ball of (?:this|it|its actions) (?:was|is|were|are|had been) (?:usual|routine|done before)\b", _I)
# Of fewer usual actions than this a summary that calls all of them usual is wrong.
FEW_USUAL = 0.5


def check_wholes(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Yield what a summary says of everything or nothing and the tables contradict, in our words.

    >>> list(check_wholes("Nothing was registered.", CaseNumbers({"writes": 1}, {"write_or_delete": 1}, {"write_or_delete": 1})))
    ["says 'nothing was registered', the tables say 1 changes"]
    """
    deleted = numbers.succeeded.get("delete_any", 0)
    # An exec counts as a write in the tables and not in most people's words.
    changed = numbers.succeeded.get("write_or_delete", 0) - sum(numbers.succeeded.get(name, 0) for name in _EXECS)
    for match in _NOTHING.finditer(summary):
        if _EXCEPT.search(_sentence(summary, match)):
            continue
        true, what = (deleted, "deletions") if match["deleted"] or match["deleted_it"] else (changed, "changes")
        if true > 0:
            yield f"says '{_short(match)}', the tables say {true} {what}"
    for match in (*_LEFT_NOTHING_OUT.finditer(summary), *_NO_DELETIONS.finditer(summary)):
        true = deleted if match.re is _NO_DELETIONS else changed
        if true > 0:
            yield f"says '{_short(match)}', the tables say {true} changes"
    for match in _OBJECTS.finditer(summary):
        if not (deleted if match["deleted"] else numbers.succeeded.get("write_or_delete", 0)):
            yield f"says '{_short(match)}', which did not happen"
    for pattern, names in _ALONE if _ALONE_WORDS.search(summary) else ():
        done = sum(numbers.succeeded.get(name, 0) for name in names)
        for match in pattern.finditer(summary) if done else ():
            yield f"says '{_short(match)}', the tables say {done} changes"
    yield from _relations(summary, numbers)
    yield from _writes(summary, numbers)
    yield from _routine(summary, numbers)


def _sentence(summary: str, match: re.Match[str]) -> str:
    begin = max(summary.rfind(sign, 0, match.start()) for sign in ".;!?") + 1
    end = min((place for sign in ".;!?" if (place := summary.find(sign, match.end())) >= 0), default=len(summary))
    return summary[begin:end]


def _short(match: re.Match[str]) -> str:
    return match.group(0).strip(" .,;:").lower()[:60]


_WRITES = re.compile(
    r"\b(?P<amount>all|every|each|none|both)\s+(?:of\s+)?(?:the\s+|its\s+|these\s+|this\s+)?(?:(?P<n>two|three|four|five|six|seven|eight"
    r"|nine|ten|\d+)\s+)?(?:writes?|changes|change)"
    rf"\s+(?:was|were|got)\s+(?:(?P<denied>{DENIED})|(?P<allowed>{ALLOWED}))\b" + LIMITED, _I)


def _writes(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Yield where all or none of the writes are said to have been refused or allowed, and it is not so."""
    tried, denied, done = (counted.get("write_or_delete", 0) for counted in (numbers.counts, numbers.denied, numbers.succeeded))
    for match in _WRITES.finditer(summary) if tried else ():
        if match["n"] and number_value(match["n"]) != tried:
            continue
        other = done if bool(match["denied"]) != (match["amount"].lower() == "none") else denied
        if other:
            yield f"says '{_short(match)}', the tables say {denied} of {tried} writes refused"


def _relations(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Yield where more is said to have been allowed than refused, or the other way round, and it is not so."""
    events, denied = numbers.named.get("events", 0), numbers.named.get("denied", 0)
    for match in _RELATION.finditer(summary) if events else ():
        if match["subject"]:
            first_lost, second_lost = (bool(re.fullmatch(_LOST, match[side], _I)) for side in ("subject", "object"))
        else:
            first_lost, second_lost = bool(match["lost"]), bool(match["lost_than"])
        if first_lost == second_lost:
            continue
        first, second = (denied, events - denied) if first_lost else (events - denied, denied)
        words = match.group(0).lower()
        if match["times"]:
            said = 2 if match["times"].lower() == "twice" else number_value(match["times"].split()[0])
            wrong = not 0.7 * said * second <= first <= 1.4 * said * second
        else:
            wrong = first >= second if "fewer" in words else first < second if "as many" in words else first <= second
        if wrong:
            yield f"says '{_short(match)}', the tables say {denied} of {events} requests refused"


def _routine(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    """Yield where what an actor always did is called new, or what it never did usual; `numbers.routine` is from the evidence."""
    if not numbers.routine:
        return
    usual, actions = numbers.routine
    for match in _USUAL.finditer(summary):
        if usual == actions:
            yield f"says '{_short(match)}', the evidence says that all {actions} kinds of actions were done before"
    for match in _ALL_USUAL.finditer(summary):
        if usual < FEW_USUAL * actions:
            yield f"says '{_short(match)}', the evidence says that {usual} of {actions} kinds of actions were done before"
