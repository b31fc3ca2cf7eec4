"""What English sentences assert, held against the tables: deeds and their outcome, how often, in what order, by whom."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple

from audit_lab.judge import outcomes
from audit_lab.judge.case_numbers import BOUNDED, NUMBER, VAGUE, CaseNumbers, fits_bound, is_lower_bound, number_value
from audit_lab.judge.deeds import compare_deed, compare_order
from audit_lab.judge.topics import Mention, find_mentions

_SENTENCES = re.compile(r"[.;!?](?=\s|$)|\n")
_TIMES = re.compile(rf"^(?:\W+[a-z]+){{0,3}}?\W+(?:(once|twice)\b|{NUMBER}\s+times\b)", re.IGNORECASE)
_KIND_WORDS: tuple[tuple[str, frozenset[str]], ...] = (
    (r"service[ -]accounts?|robot accounts?", frozenset({"service_account", "controller"})),
    (r"persons?|people|human(?: users?| administrators?| operators?| beings?)?|developers?|(?:human )?administrators?|engineers?"
     r"|employees?", frozenset({"human"})),
    (r"nodes?|kubelets?", frozenset({"node"})),
    (r"controllers?", frozenset({"controller"})),
    (r"anonymous (?:clients?|callers?|users?|actors?|requests?)|unauthenticated (?:clients?|callers?|users?)",
     frozenset({"anonymous", "unauthenticated"})),
)
_ARTICLE = (
    r"(?:(?:an?|the|this|one|some)\s+)?(?:(?:workload|pod|application|team|cluster)'s\s+)?"
    r"(?:(?:new|single|internal|external|privileged|ci|suspicious|malicious|compromised)\s+)?")
# What follows a noun that does not act itself: 'a service account was created', 'the node's token'.
_PASSIVE = (
    r"(?!\s*(?:'s|'|,|(?:was|were|is|are|has been|had been|tokens?|creation|credentials?|accounts?|and|or|in|of|with)\b))")


# What somebody should or may have done is nothing that was done.
_MODAL = re.compile(r"^\W*(?:\w+ )?(?:should|must|may|might|could|would|can|ought|needs?|has to|have to|is to|will)\b", re.IGNORECASE)
_CONNECTED = re.compile(r",|;|:|\b(?:and|but|while|although|before|after|then)\b", re.IGNORECASE)


class Scope(NamedTuple):
    """A mention and the words that belong to it: up to the neighbours of its sentence."""

    mention: Mention
    before: str
    after: str

    @property
    def words(self) -> str:
        """All of it."""
        return f"{self.before}{self.mention.words}{self.after}"


def check_assertions(summary: str, numbers: CaseNumbers) -> list[str]:
    """Return what sentences of a summary assert and the tables contradict, in our words."""
    found: list[str] = []
    for sentence in _SENTENCES.split(summary):
        scopes = _scopes(sentence)
        for scope in scopes:
            before = sentence[: scope.mention.start]
            if not outcomes.is_negated_list(before) and not outcomes.is_open_list(before, scope.mention.words):
                found += _deed(scope, numbers)
        found += _order(sentence, scopes, numbers)
        found += _actor(sentence, numbers)
        found += _whole(sentence, numbers)
    return list(dict.fromkeys(found))


def _scopes(sentence: str) -> list[Scope]:
    """Give each mention the words around it: a comma or conjunction before the next mention begins that one's share."""
    mentions = find_mentions(sentence)
    scopes = []
    begin = 0
    for mention, following in zip(mentions, [*mentions[1:], None][: len(mentions)], strict=True):
        end = len(sentence) if following is None else following.start
        tail = sentence[mention.end:end]
        if following is not None:
            cut = [match.start() for match in re.finditer(r",|\b(?:and|but|then|while|although|before|after)\b", tail)]
            tail = tail[: cut[-1]] if cut else ""
        scopes.append(Scope(mention, _CONNECTED.split(sentence[begin:mention.start])[-1], tail))
        begin = mention.end + len(tail)
    return scopes


def _deed(scope: Scope, numbers: CaseNumbers) -> Iterable[str]:
    """Compare one mention with what happened: whether, with what outcome, how often."""
    names, what = _names(scope.mention, numbers), _short(scope.mention)
    said: str = outcomes.read_outcome(scope.before, scope.mention.words, scope.after)
    # 'All six role writes' are all of them only where there were six.
    counted = _ALL_OF.search(f"{scope.before}{scope.mention.words}")
    if counted and number_value(counted.group(1)) not in _numbers_of(names, numbers):
        said = said.removeprefix("all ")
    yield from compare_deed(names, what, said, numbers)
    if said not in ("unclear", "not done") and any(numbers.counts.get(name) for name in names):
        yield from _how_often(scope, numbers, names)


def _numbers_of(names: tuple[str, ...], numbers: CaseNumbers) -> set[int]:
    return {*(numbers.counts.get(name, 0) for name in names), sum(numbers.counts.get(name, 0) for name in names)}


def _names(mention: Mention, numbers: CaseNumbers) -> tuple[str, ...]:
    """Return the predicates a mention means, given what happened."""
    topic = mention.topic
    return topic.predicates if not topic.otherwise or any(numbers.counts.get(name) for name in topic.predicates) else topic.otherwise


def _how_often(scope: Scope, numbers: CaseNumbers, names: tuple[str, ...]) -> Iterable[str]:
    tried = max(numbers.counts.get(name, 0) for name in names)
    if not tried:
        return
    # Reads by name and lists may be added up in prose.
    most = sum(numbers.counts.get(name, 0) for name in names)
    counts = (numbers.counts, numbers.denied, numbers.succeeded)
    own = {counted.get(name, 0) for name in names for counted in counts}
    times = _TIMES.match(scope.after)
    if times and not re.search(r"repeat|again|another|once more|more times", times.group(0), re.IGNORECASE):
        said = number_value(times.group(1) or times.group(2))
        lead = times.group(0)[: times.start(2) - times.start(0)] if times.group(2) else ""
        if not any(fits_bound(said, true, lead) for true in {*own, most}):
            yield f"says {said} times, the tables say {tried}"
    # A number that stands right before the deed, or within it: 'six webhooks were created', 'created six webhooks'.
    before = re.search(rf"{NUMBER}\s+(?:[a-z-]+\s+)?$", scope.before, re.IGNORECASE)
    inside = re.search(rf"{NUMBER}(?=\s+[a-z])", scope.mention.words, re.IGNORECASE)
    for match, text in ((before, scope.before), (inside, scope.mention.words)):
        # Of 'one of the 12 requests wrote a binding' the twelve are requests.
        if match and not re.search(r"\b(?:requests?|calls?)\s*$", scope.before if text is scope.before else ""):
            said, lead = number_value(match.group(1)), text[: match.start()]
            if (is_lower_bound(lead) and not fits_bound(said, most, lead)) or (not BOUNDED.search(lead) and said > most):
                yield f"says {said} of '{_short(scope.mention)}', the tables say {tried}"
            elif _ONLY.search(lead) and said < min(filter(None, own), default=0) and not _NARROWER.search(scope.words):
                yield f"says only {said} of '{_short(scope.mention)}', the tables say {tried}"
    for text in (scope.before, scope.mention.words):
        vague = re.search(rf"\b({'|'.join(VAGUE)})\s+(?:[a-z-]+\s+)?{'$' if text is scope.before else ''}", text, re.IGNORECASE)
        if vague and VAGUE[vague.group(1).lower()] > most:
            yield f"says '{vague.group(1).lower()}' of '{_short(scope.mention)}', the tables say {tried}"


_BEFORE = re.compile(r"\b(?:before|preceded(?! by)|predated|prior to|ahead of|followed by)\b", re.IGNORECASE)
_AFTER = re.compile(r"\b(?:after|preceded by|followed(?! by)|once|as soon as)\b", re.IGNORECASE)
# Words behind a deed that place it among those of its sentence: 'was read first', 'were listed afterwards'.
_FIRST_TAIL = re.compile(r"^\W*(?:\w+\W+){0,4}?(?:first|initially|to begin with|at first|at the (?:start|beginning|outset))\b(?! (?:of"
    r"|time|refus|den))", re.IGNORECASE)
_LATE_TAIL = re.compile(r"^\W*(?:\w+\W+){0,4}?(?:afterwards?|later(?: on)?|last|at the end|subsequently|thereafter|after that|in the end"
    r"|anew)\b(?! (?:of|time))", re.IGNORECASE)
_ONLY_THEN = re.compile(r"\b(?:and |but )?only (?:then|later|afterwards)\b", re.IGNORECASE)
_BEFORE_ANY = re.compile(r"\bbefore (?:any|the first)\b", re.IGNORECASE)
_THEN = re.compile(r"\b(?:then|afterwards|later|subsequently|followed by|finally)\b", re.IGNORECASE)
_AFTER_LEADS = re.compile(r"^\W*(?:only )?(?:after|having|once)\b", re.IGNORECASE)


def _order(sentence: str, scopes: list[Scope], numbers: CaseNumbers) -> Iterable[str]:
    """Compare what a sentence puts before what with the times of the events."""
    for first, second in itertools.pairwise(scopes):
        between = sentence[first.mention.end:second.mention.start]
        if _BEFORE.search(between) or _THEN.search(between) or _AFTER_LEADS.search(sentence[:first.mention.start]):
            early, late = first, second
        elif _AFTER.search(between):
            early, late = second, first
        elif _FIRST_TAIL.search(first.after) or _LATE_TAIL.search(second.after) or _ONLY_THEN.search(between):
            early, late = first, second
        elif _FIRST_TAIL.search(second.after) or _LATE_TAIL.search(first.after):
            early, late = second, first
        else:
            continue
        # 'Before any other' is before the first.
        yield from compare_order(
            (_names(early.mention, numbers), _short(early.mention)), (_names(late.mention, numbers), _short(late.mention)), numbers,
            before_any=bool(_BEFORE_ANY.search(between)))


def _short(mention: Mention) -> str:
    return mention.words.strip().lower()[:40]


def _actor(sentence: str, numbers: CaseNumbers) -> Iterable[str]:
    """Compare who is said to have acted with the kinds of the case's identities."""
    if not numbers.kinds:
        return
    for words, kinds in _KIND_WORDS:
        if kinds & numbers.kinds or not re.search(words, sentence, re.IGNORECASE):
            continue
        subject = re.match(rf"\s*{_ARTICLE}({words})\b{_PASSIVE}\s+[a-z]+", sentence, re.IGNORECASE)
        source = re.search(
            rf"\b(?:came|come|comes|made|sent|done|carried out|issued) (?:from|by) {_ARTICLE}({words})\b", sentence, re.IGNORECASE)
        if subject and _MODAL.search(sentence[subject.end(1):]):
            subject = None
        match = subject or source or _who(words, sentence)
        if match:
            true = ", ".join(sorted(kind.replace("_", " ") for kind in numbers.kinds))
            yield f"names '{match.group(1).lower()}' as the actor, the tables say {true}"
            return


# Verbs that say who did it: 'were listed by a developer'.
_DONE_BY = (
    r"(?:was|were|been|being)\s+(?:\w+ly\s+)?(?:listed|read|created|deleted|changed|requested|issued|sent|run|executed|patched|granted"
    r"|made|done|carried out|performed"
    r"|tried|attempted|driven|launched|written|minted|operated)\s+by")


def _who(words: str, sentence: str) -> re.Match[str] | None:
    """Find who is named as the one who acted by other means than the subject: 'it was a node that', 'by a person'."""
    for pattern in (
        rf"^\W*it (?:was|is) {_ARTICLE}({words})\b\s+(?:that|who|which)\b",
        rf"\b(?:the|this) (?:actor|caller|culprit|requester|identity|one behind (?:it|this)|author)(?: here| in question)? (?:was"
        rf"|is) {_ARTICLE}({words})\b(?!\s*')",
        rf"^\W*{_ARTICLE}({words})\b (?:was|is|stood) behind (?:it|this|the|all)",
        rf"\b(?:the work|the doing) of {_ARTICLE}({words})\b(?!\s*')",
        rf"{_DONE_BY} {_ARTICLE}({words})\b(?!\s*'|[ -](?:token|account|identity))",
    ):
        found = re.search(pattern, sentence, re.IGNORECASE)
        if found and not re.search(r"\b(?:not|no|nobody|might|may|could|if|whether)\b", sentence[:found.start(1)], re.IGNORECASE):
            return found
    return None


_ALL_OF = re.compile(rf"\ball (?:of )?(?:the |its |these )?{NUMBER}", re.IGNORECASE)
_ONLY = re.compile(r"\b(?:only|just|exactly|merely|no more than)\s+$", re.IGNORECASE)
# What narrows a number to some of the deeds.
_NARROWER = re.compile(r"\b(?:in|for|with|that|which|to|of|from|by|on|at|before|after|successfully)\b", re.IGNORECASE)
_GAVE_UP = re.compile(
    r"\b(?:gave up|stopped|ceased|quit)\b(?: \w+){0,2} after (?:the|its|his|her|their) (?:very )?(?:first|only)"
    r" (?:refusal|denial|rejection)",
    re.IGNORECASE)
_OWN_NAME = re.compile(
    r"(?<!not )\b(?:only|solely|exclusively|always) under (?:its|his|her|their) own (?:names?|identit(?:y|ies)|accounts?)\b"
    r"|\bunder (?:its|his|her|their) own (?:names?|identit(?:y|ies)|accounts?) (?:only|alone|exclusively|throughout|all the time)\b",
    re.IGNORECASE)


def _whole(sentence: str, numbers: CaseNumbers) -> Iterable[str]:
    """Compare what a sentence says of the whole case in set phrases: that it ended with a refusal, that nobody was impersonated."""
    denied, impersonated = numbers.named.get("denied", 0), numbers.succeeded.get("impersonate", 0)
    if _GAVE_UP.search(sentence) and denied > 1:
        yield f"says that it ended with the first refusal, the tables say {denied} refused"
    if _OWN_NAME.search(sentence) and impersonated:
        yield f"says that no identity but its own was used, the tables say {impersonated} requests as another"
