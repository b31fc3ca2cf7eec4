"""What the words around a deed say of its outcome in English: done, refused, only tried, not done; and of every try or of some.

Precision comes first: what could be read in two ways is 'unclear', and nothing is said of it.
"""

from __future__ import annotations

import re
from typing import Literal

Outcome = Literal["done", "all done", "refused", "all refused", "tried", "not done", "not possible", "unclear"]

_I = re.IGNORECASE
# Words that look like negations and are none ('not only', 'no fewer than'), and refusals that are themselves denied ('without a
# single refusal') or of something else ('after three denied requests').
NO_NEGATION = re.compile(
    r"\b(?:not (?:only|just|merely|until|least|surprisingly)|nothing (?:but|other than)"
    r"|no (?:sooner|doubt|longer|later|less|fewer|more)(?: than)?"
    r"|none other than|why not"
    r"|(?:did|does|could|was)(?:n't| not) (?:stop(?:ped)?(?: at| with| from)?"
    r"|refrain from|hesitate to|prevent\w*(?: from)?|end (?:at|with)))\b", _I)
_OUTCOME_WORD = (
    r"(?:den(?:ied|ials?)|refus(?:ed|als?)|reject(?:ed|ions?)|forbidden|blocked|stopped|thwarted|foiled|rebuffed|bounced|repelled"
    r"|turned (?:down|away|back)"
    r"|fail(?:ed|ures?)|errors?|objections?|resistance|40[13]s?)")
_OTHER_REFUSALS = re.compile(
    rf"\b(?:none|nothing|no|never|not|nobody|without|neither)\b[^,;]{{0,40}}?\b{_OUTCOME_WORD}\b"
    r"|\b(?:denied|refused|rejected) (?:requests?|calls?|attempts?)\b"
    r"|\b(?:requests?|calls?|of them) (?:were|was) (?:denied|refused|rejected)\b", _I)
_NEGATED = re.compile(r"\b(no|not|never|without|nothing|none|nobody|no one|neither|nor|\w+n't)\b", _I)
_REFUSED = re.compile(
    r"\b(den(?:y|ied|ials?)|refus\w+|reject\w*|forbidden|block(?:ed|s)|declined|turned (?:down|away|back)|in vain"
    r"|thwart(?:ed|s)|foiled|rebuff(?:ed|s)|bounced|repelled|repulsed|knocked back|sent away|shut out|barred|disallowed|quashed|prevented"
    r"|nipped"
    r"|(?:was|were|got|been) stopped|(?:came|amounted|led) to nothing|fell through|(?:went|got) nowhere|met with (?:a |an )?(?:40[13]"
    r"|error)|without success|unsuccess\w*"
    r"|fail(?:ed|s|ure)?|off limits)\b", _I)
_TRIED = re.compile(
    r"\b(tr(?:y|ied|ies|ying)|attempt\w*|sought|wanted|would|could|may|might|can|asked? (?:whether|if|for|what)|check\w*"
    r"|probe[ds]?|plan\w*|aim\w*|intend\w*|rights? to|able to|looking for)\b", _I)
# A deed is told in the past: a bare infinitive ('attempts to list secrets and patch deployments') tells none.
_PAST = re.compile(
    r"\w+ed\b|\b(?:read|ran|run|made|wrote|written|got|gave|given|bound|took|stole|held|had|rewrote|taken|torn|put|set|sent|got rid"
    r"|overwrote|overwritten)\b|\w+(?:ion|ing)\b", _I)
# 'The binding it wanted' was wanted, and something was done to it.
_WISHED_FOR = re.compile(
    r"\b(?:that |which )?(?:it|he|she|they|the \w+) (?:wanted|asked for|sought|tried|aimed for|planned|intended|needed)\b(?!\s+to\b)", _I)
_CANNOT = re.compile(
    r"\b(?:could(?: not|n't)|could neither|cannot|can't"
    r"|(?:was|were|been) (?:unable|not able|not (?:allowed|permitted|authori[sz]ed)) to|unable to"
    r"|failed to|did(?: not|n't) (?:manage|succeed)|never managed)\b", _I)
# What ends the clause of a deed and says that it came to nothing: 'was not', 'did not work', 'was not permitted'.
_CAME_TO_NOTHING = re.compile(
    r"^\s*(?:\w+\s+){0,2}?(?:(?:was|were|is|are|did|could|has|had)(?: not|n't)|never)"
    r"(?P<verb> (?:work|succeed|go through|get through|(?:been )?(?:permitted|allowed|possible|granted|accepted|authori[sz]ed"
    r"|successful)))?"
    r"\s*(?:[,.;]|$|and\b|but\b|while\b)", _I)
_SUCCEEDED = re.compile(
    r"\b(?:worked|succeeded|(?:went|got|came|made it|passed|sailed) through|paid off|took effect"
    r"|(?:was|were|got) (?:all )?(?:allowed|permitted|granted|accepted|admitted|successful|honou?red|approved|let through"
    r"|waved through))\b", _I)
_NOT_ONE = re.compile(r"\b(?:not (?:one|a single)|none of (?:the|its|these)|no)\s+(?:\w+\s+){0,2}$", _I)
# 'It had never done so before', 'who did it is unknown': nothing is said of what happened.
_ASIDE = re.compile(r"\bnever\b[^.;]*\bbefore\b(?=\W*$|,| and| but)|\bnever before\b|\b(?:is|remains|was) (?:unknown|unclear|not known"
    r"|not clear)\b", _I)
_MANAGED = re.compile(r"\b(?:managed to|succeeded in|successfully|(?:was|were) able to)\b", _I)
_UNREAL = re.compile(r"\b(?:would|could|may|might|if|whether|unless|should|had it|perhaps|possibly|hardly|partly|unsuccess\w*)\b", _I)
# 'Had the webhook been deleted', 'it may have listed secrets': nothing is said of what happened.
_INVERTED = re.compile(r"^\W*(?:had|should|were)\s+(?:the|an?|it|this|that|they|any)\b", _I)
_IMAGINED = re.compile(r"\b(?:would|might|may|can|if|unless|perhaps|possibly)\b", _I)
# 'No pods, jobs or webhooks were deleted': what a negation covers reaches over commas as long as no verb comes.
_NEGATED_LIST = re.compile(r"\b(?:no|neither|none|without|never|nor|nothing|not)\b(?P<between>[^.;:]*)$", _I)
_VERB = re.compile(r"\b(?:was|were|is|are|has|had|did|but|while|then|it|they|he|she)\b", _I)
_ACTED = re.compile(r"\w+ed\b|\b(?:read|ran|made|wrote|written|got|gave|given|bound|took|stole|held|had|rewrote)\b", _I)
_OPEN_LIST = re.compile(r"\b(?:can|could|would|might|may|to)\b(?P<between>[^.;:]*(?:,|\band\b|\bor\b)\s*)$", _I)
_TOLD = re.compile(
    r"\W*(?:\w+(?:ed|ing)|ran|made|wrote|got|gave|bound|took|stole|held|had)\b|.*\b(?:was|were|been)\b", _I)
_EVERY = re.compile(r"\b(?:every|each|all|any|always|everywhere|throughout)\b", _I)
# What narrows 'every': a place, a rest, an exception.
_NARROWED = re.compile(
    r"\b(?:ns-\d|kube-\w+|other|others|own|except|but|than|apart|save|further|later|remaining|rest|elsewhere|these|those|them|which|most"
    r"|almost|nearly|some|after|before|since|then|until|system|one|two|three|four|five|six|\d+|with|outside|inside|wildcard"
    r"|default)\b|(?<!all )(?<!each )(?<!every )(?<!one )\bof its\b", _I)
_ALL_OF = re.compile(r"\ball (?:of )?(?:the |its |these )?(?:two|three|four|five|six|\d+)\b", _I)
_JOINED = re.compile(r",|;|:|\b(?:and|but|while|whereas|although|though|before|after|then)\b", _I)
# A later clause still speaks of the deed where it begins like this: 'but was refused', ', five of these denied', ', in vain'.
_GOES_ON = re.compile(
    r"^\W*(?:and |but |which |then |that |only to )*(?:was|were|which|that|be|been|in vain"
    r"|without|unsuccess\w*|successfully|refused|denied|rejected|blocked|failed|all of|all|each"
    r"|every|both|none|of (?:these|them|which)|(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)\b|it|this"
    r"|these|they|failing|never|not|did|had|got|the (?:first|second|last|others?|rest))\b", _I)


def is_negated_list(before: str) -> bool:
    """Tell whether a sentence's words up to a deed end in a list under a negation.

    >>> is_negated_list("No pods, jobs or "), is_negated_list("Nothing was denied, ")
    (True, False)
    """
    found = _NEGATED_LIST.search(NO_NEGATION.sub(" ", before))
    return bool(found and re.search(r",|\bor\b|\band\b", found["between"]) and not _VERB.search(found["between"]))


def is_open_list(before: str, words: str) -> bool:
    """Tell whether a deed is one of several that somebody could do or tried to do.

    >>> is_open_list("It can delete webhooks and ", "run commands"), is_open_list("It tried to delete webhooks and ", "listed secrets")
    (True, False)
    """
    found = _OPEN_LIST.search(before)
    return bool(found and not _VERB.search(found["between"])) and not _TOLD.match(words)


def read_outcome(before: str, words: str, after: str) -> Outcome:
    """Return what is said of a deed; `words` name it, `before` and `after` are its share of the sentence.

    >>> read_outcome("The user ", "listed secrets", " without a single refusal")
    'done'
    >>> read_outcome("Every attempt to ", "write a role", " failed"), read_outcome("It could not ", "list secrets", "")
    ('all refused', 'not possible')
    """
    own, whole = _own_clauses(after), f"{before}{words}{after}"
    is_cut, after = len(own) < len(after), _WISHED_FOR.sub(" ", own)
    if _INVERTED.search(before) or _ASIDE.search(whole) or _IMAGINED.search(f"{before} {words}"):
        return "unclear"
    parts = [_OTHER_REFUSALS.sub(" ", part) for part in (before, words, after)]
    # 'Tried, among other things, to run commands': an infinitive tells nothing as done.
    hedged = bool(_TRIED.search(f"{before}{words}{after}")) or not _PAST.search(words) or bool(re.search(r"\bto\s+$", before))
    said = _denied_or_refused(before, words, after, parts, hedged)
    if said:
        return said
    first = _JOINED.split(after)[0]
    if not _UNREAL.search(f"{before}{words}{after}") and not _NEGATED.search(first) and (
            _SUCCEEDED.search(first) or _MANAGED.search(before)):
        return "all done" if _of_every(before, first, f"{words}{after}") else "done"
    # 'Listing secrets, pods and nodes was refused': what became of a deed that is a subject stands further on.
    if is_cut and not _ACTED.search(words):
        return "unclear"
    return "tried" if hedged else "done"


def _denied_or_refused(before: str, words: str, after: str, parts: list[str], hedged: bool) -> Outcome | None:
    """Return what is said where a deed is told as not done, not possible or refused; `parts` are its words without other refusals."""
    refused, first = any(_REFUSED.search(part) for part in parts), _JOINED.split(after)[0]
    if _CANNOT.search(before) or _CANNOT.search(words):
        # 'Failed to' is a refusal as well; any other in the same words makes two of them.
        return "unclear" if any(_REFUSED.search(re.sub("failed to", " ", part, flags=_I)) for part in parts) else "not possible"
    near = " ".join(before.split()[-6:])
    negated = any(_NEGATED.search(_OTHER_REFUSALS.sub(" ", NO_NEGATION.sub(" ", part))) for part in (near, words))
    if negated or re.search(r"^\W*(?:\w+ )?(nobody|no one|nothing)\b", after, _I):
        if _NOT_ONE.search(before) and _SUCCEEDED.search(first) and not refused:
            return "all refused"
        return "unclear" if refused or hedged or _SUCCEEDED.search(first) else "not done"
    nothing = _CAME_TO_NOTHING.search(after)
    if nothing:
        # 'Listing failed, binding did not': without a verb of its own it may mean either.
        return "unclear" if refused or not nothing["verb"] else "refused"
    if refused:
        return "all refused" if _of_every(before, first, f"{words}{after}") and not _SUCCEEDED.search(after) else "refused"
    return None


def _own_clauses(after: str) -> str:
    """Cut what follows a deed where a clause about something else begins."""
    for joint in _JOINED.finditer(after):
        rest = after[joint.start():]
        if not _GOES_ON.search(rest) and not _JOINED.match(after[joint.end():].lstrip()):
            return after[: joint.start()]
    return after


def _of_every(before: str, first: str, rest: str) -> bool:
    # 'All six' are all; whether there were six is for the tables to say.
    before = _ALL_OF.sub("all", before)
    return bool(_EVERY.search(f"{before} {first}")) and not _NARROWED.search(f"{before} {rest}")
