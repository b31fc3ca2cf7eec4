"""What sentences assert, held against the tables: that something was done or not, allowed or refused, how often, in what order, by whom."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from audit_lab.judge.case_numbers import BOUNDED, NUMBER, CaseNumbers, number_value
from audit_lab.judge.topics import Mention, find_mentions

_SENTENCES = re.compile(r"[.;!?](?=\s|$)|\n|(?<=다)\.")
_NEGATED = re.compile(r"\b(no|not|never|without|nothing|none|nobody|neither|nor|didn't|wasn't|weren't|hasn't)\b", re.IGNORECASE)
_NEGATED_KO = re.compile(r"지 않|지않|없었|없음|없습|못했|하지 못")
_REFUSED = re.compile(
    r"\b(den(?:y|ied|ials?)|refus\w+|reject\w*|forbidden|block(?:ed|s)|declined|in vain|without success|unsuccess\w*|fail(?:ed|s|ure)?)\b"
    r"|거부|거절|차단|실패|금지", re.IGNORECASE)
_TRIED = re.compile(
    r"\b(tr(?:y|ied|ies|ying)|attempt\w*|sought|wanted|would|could|may|might|asked? (?:whether|if|for|what)|check\w*|probe[ds]?|plan\w*|"
    r"aim\w*|intend\w*|right to|able to|looking for)\b|시도|려고|요청", re.IGNORECASE)
_KOREAN = re.compile("[\uac00-\ud7a3]")
_TIMES = re.compile(rf"^(?:\W+[a-z]+){{0,3}}?\W+(?:(once|twice)\b|{NUMBER}\s+times\b)", re.IGNORECASE)
_KIND_WORDS: tuple[tuple[str, frozenset[str]], ...] = (
    (r"service[ -]accounts?|robot accounts?|서비스 ?어카운트", frozenset({"service_account", "controller"})),
    (r"persons?|people|human(?: users?| administrators?| operators?| beings?)?|developers?|(?:human )?administrators?|engineers?"
     r"|employees?|사람|직원|개발자|관리자", frozenset({"human"})),
    (r"nodes?|kubelets?|노드", frozenset({"node"})),
    (r"controllers?|컨트롤러", frozenset({"controller"})),
    (r"anonymous (?:clients?|callers?|users?|actors?|requests?)|unauthenticated (?:clients?|callers?|users?)|익명 ?\S{0,4}",
     frozenset({"anonymous", "unauthenticated"})),
)
_ARTICLE = r"(?:(?:an?|the|this|one|some)\s+)?(?:(?:new|single|internal|external|privileged|ci|suspicious|malicious|compromised)\s+)?"
# What follows a noun that does not act itself: 'a service account was created', 'the node's token'.
_PASSIVE = (
    r"(?!\s*(?:'s|'|,|(?:was|were|is|are|has been|had been|tokens?|creation|credentials?|accounts?|and|or|in|of|with)\b))")


_CONNECTED = re.compile(r",|;|:|\b(?:and|but|while|although|before|after|then)\b|며\s|고\s", re.IGNORECASE)
# Refusals of something else, or of nothing: 'none was refused', 'after three denied requests'.
_OTHER_REFUSALS = re.compile(
    r"\b(?:none|nothing|no \w+|never|not)\b[^,;]*?\b(?:denied|refused|rejected|forbidden)\b"
    r"|\b(?:denied|refused|rejected) (?:requests?|calls?|attempts?)\b"
    r"|\b(?:requests?|calls?|of them) (?:were|was) (?:denied|refused|rejected)\b", re.IGNORECASE)
# A deed is told in the past: a bare infinitive ('attempts to list secrets and patch deployments') tells none.
_PAST = re.compile(
    r"\w+ed\b|\b(?:read|ran|run|made|wrote|written|got|gave|given|bound|took|stole|held|had|rewrote)\b|\w+(?:ion|ing)\b"
    r"|[\uac00-\ud7a3]", re.IGNORECASE)


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
            found += _deed(scope, numbers)
        found += _order(sentence, scopes, numbers)
        found += _actor(sentence, numbers)
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
            cut = [match.start() for match in re.finditer(r",|\b(?:and|but|then|while|although|before|after)\b|고\s", tail)]
            tail = tail[: cut[-1]] if cut else ""
        scopes.append(Scope(mention, _CONNECTED.split(sentence[begin:mention.start])[-1], tail))
        begin = mention.end + len(tail)
    return scopes


def _deed(scope: Scope, numbers: CaseNumbers) -> Iterable[str]:
    """Compare one mention with what happened: whether, with what outcome, how often."""
    names, what = scope.mention.topic.predicates, _short(scope.mention)
    tried, denied, done = (
        max(counted.get(name, 0) for name in names) for counted in (numbers.counts, numbers.denied, numbers.succeeded))
    near, follows = " ".join(scope.before.split()[-6:]), " ".join(scope.after.split()[:2])
    negated = any(_NEGATED.search(part) for part in (near, scope.mention.words)) or bool(
        re.search(r"\b(nobody|no one|nothing)\b", follows, re.IGNORECASE) or _NEGATED_KO.search(scope.mention.words + scope.after[:14]))
    # In Korean the verb comes last: what stands before belongs to another one.
    whole = scope.mention.words + scope.after if _KOREAN.search(scope.mention.words) else scope.words
    refused, hedged = _REFUSED.search(_OTHER_REFUSALS.sub(" ", whole)), _TRIED.search(whole) or not _PAST.search(scope.mention.words)
    if negated and refused:
        return
    if negated:
        # 'No secrets were read' is true of somebody whose every try was refused.
        if done and not hedged:
            yield f"denies '{what}', which happened"
        return
    if not tried:
        yield f"speaks of '{what}', which did not happen"
    elif refused and not denied:
        yield f"says that '{what}' was refused, the tables say allowed"
    elif not refused and not hedged and not done:
        yield f"says '{what}' as done, the tables say that all {tried} tries were refused"
    yield from _how_often(scope, numbers, tried)


def _how_often(scope: Scope, numbers: CaseNumbers, tried: int) -> Iterable[str]:
    if not tried:
        return
    counts = (numbers.counts, numbers.denied, numbers.succeeded)
    own = {counted.get(name, 0) for name in scope.mention.topic.predicates for counted in counts}
    times = _TIMES.match(scope.after)
    if times:
        said = number_value(times.group(1) or times.group(2))
        if said not in own:
            yield f"says {said} times, the tables say {tried}"
    # A number that stands right before the deed, or within it: 'six webhooks were created', 'created six webhooks'.
    before = re.search(rf"{NUMBER}\s+(?:[a-z-]+\s+)?$", scope.before, re.IGNORECASE)
    inside = re.search(rf"{NUMBER}(?=\s+[a-z])", scope.mention.words, re.IGNORECASE)
    for match, text in ((before, scope.before), (inside, scope.mention.words)):
        if match and not BOUNDED.search(text[: match.start()]):
            said = number_value(match.group(1))
            if said > tried:
                yield f"says {said} of '{_short(scope.mention)}', the tables say {tried}"


_BEFORE, _AFTER = re.compile(r"\bbefore\b", re.IGNORECASE), re.compile(r"\bafter\b", re.IGNORECASE)
_THEN = re.compile(r"\b(?:then|afterwards|later|subsequently|followed by|finally)\b|이후|다음|후에?\s", re.IGNORECASE)
_AFTER_LEADS = re.compile(r"^\W*(?:only )?(?:after|having|once)\b", re.IGNORECASE)


def _order(sentence: str, scopes: list[Scope], numbers: CaseNumbers) -> Iterable[str]:
    """Compare what a sentence puts before what with the times of the events."""
    for first, second in itertools.pairwise(scopes):
        between = sentence[first.mention.end:second.mention.start]
        if _BEFORE.search(between) or _THEN.search(between) or _AFTER_LEADS.search(sentence[:first.mention.start]):
            early, late = first, second
        elif _AFTER.search(between):
            early, late = second, first
        else:
            continue
        began, ended = _span(early, numbers), _span(late, numbers)
        if began and ended and began[0] >= ended[1]:
            yield f"puts '{_short(early.mention)}' before '{_short(late.mention)}', the tables say the reverse"


def _short(mention: Mention) -> str:
    return mention.words.strip().lower()[:40]


def _span(scope: Scope, numbers: CaseNumbers) -> tuple[datetime, datetime] | None:
    known = [numbers.spans[name] for name in scope.mention.topic.predicates if name in numbers.spans]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


def _actor(sentence: str, numbers: CaseNumbers) -> Iterable[str]:
    """Compare who is said to have acted with the kinds of the case's identities."""
    if not numbers.kinds:
        return
    for words, kinds in _KIND_WORDS:
        subject = re.match(rf"\s*{_ARTICLE}({words})\b{_PASSIVE}\s+[a-z]+", sentence, re.IGNORECASE)
        source = re.search(
            rf"\b(?:came|come|comes|made|sent|done|carried out|issued) (?:from|by) {_ARTICLE}({words})\b", sentence, re.IGNORECASE)
        korean = re.match(rf"\s*({words})(?:이|가|은|는)\s", sentence)
        match = subject or source or korean
        if match and not kinds & numbers.kinds:
            true = ", ".join(sorted(kind.replace("_", " ") for kind in numbers.kinds))
            yield f"names '{match.group(1).lower()}' as the actor, the tables say {true}"
            return
