"""A model's own words, held against the tables: numbers are recomputed, and plain contradictions are named.

Prose stays unverified; this only finds what is wrong in it. Two things are checked: every number that stands before
or after a known noun (events, secrets, namespaces, denied …) must be the number of the case, any other number must at
least occur among the facts; and words that claim or deny a fact (read-only, nothing was denied, cluster-admin …) must not
contradict it. `assertions.py` reads whole sentences, `outcomes.py` what they say came of a deed, `shares.py` what is said of all, most
or none of the requests, `durations.py` how long it took; the first three know Korean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit_lab.judge.assertions import check_assertions
from audit_lab.judge.case_numbers import BOUNDED, NUMBER, CaseNumbers, fits_bound, is_lower_bound, number_value
from audit_lab.judge.durations import check_durations, is_known_length
from audit_lab.judge.korean import HANGUL
from audit_lab.judge.korean_check import check_korean
from audit_lab.judge.outcomes import NO_NEGATION
from audit_lab.judge.shares import LIMITED, RATIOS, check_shares
from audit_lab.judge.wholes import check_wholes

# Words of prose -> predicates: at least one of them must have happened when prose says so.
_MENTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"cluster-admin", ("binding_cluster_admin",)),
    (r"secrets?\b", ("secret_get", "secret_list", "secret_write", "secret_delete", "role_secrets", "secret_in_system")),
    (r"role ?bindings?\b|bound (a|the) role", ("binding_write",)),
    (r"exec(uted|ution)?\b|ran (a )?commands?|commands? (was|were) (run|executed)|shell\b",
     ("pod_exec", "pod_attach", "ephemeral_container", "kubelet_exec")),
    (r"privileged (pod|container)", ("pod_privileged",)),
    (r"host ?path|host (file|mount|path)", ("pod_host_path",)),
    (r"impersonat", ("impersonate",)),
    (r"webhooks?\b", ("webhook_write", "webhook_delete")),
    (r"(core)?dns\b", ("coredns_write",)),
    (r"(crypto|coin)?[ -]?min(er|ing)", ("command_miner", "image_offensive")),
    (r"reverse shell", ("command_reverse_shell",)),
    (r"metadata service", ("command_metadata_service",)),
    (r"port[ -]?forward", ("port_forward",)),
    (r"certificate (signing )?requests?|\bcsr\b", ("csr_create", "csr_approve")),
    (r"minted|token requests?|issued (a )?tokens?", ("token_request", "secret_service_account_token", "token_request_by_person")),
    (r"delet(ed|ion|ing)", ("secret_delete", "workload_delete", "events_delete", "storage_delete", "namespace_delete",
                            "webhook_delete", "guardrail_delete", "delete_many", "delete_any")),
    (r"cron ?jobs?", ("workload_scheduled",)),
    (r"daemon ?sets?", ("workload_on_every_node",)),
    (r"service accounts? (was|were) created|created (a |new )?service accounts?", ("service_account_create",)),
    (r"without (any )?(identity|authentication)|anonymous(ly)?", ("anonymous_request",)),
)
# Nouns after (or before) a number -> which of the case's numbers it must be.
_NOUNS: tuple[tuple[str, str], ...] = (
    (r"(different |distinct )?namespaces?", "namespaces"),
    (r"(different |distinct )?secrets?(?!\s+(requests?|reads?|calls?|attempts?|accesses|lists?|gets?|lookups?))", "secrets"),
    (r"(different |distinct )?nodes?(?!\s+(proxy|requests))", "nodes"), (r"den(ied|ials?)|forbidden|refus(ed|als?)|rejected", "denied"),
    (r"(api )?(requests?|events?|calls?|actions? in total)", "events"), (r"writes?|changes?|modifications?", "writes"),
    (r"sessions?", "sessions"),
)
_NO = r"\b(no|not|never|without|neither|nor|nothing|none|nobody|no one|didn't|absence of)"
_NEGATED = re.compile(rf"{_NO}[^\w,;:.]+(\w+[^\w,;:.]+){{0,3}}$", re.IGNORECASE)
# A list ('no secrets, bindings or webhooks') and a new clause ('nothing was denied, secrets were read') look the same from here.
_PERHAPS_NEGATED = re.compile(rf"{_NO}\W+(\w+\W+){{0,5}}$", re.IGNORECASE)
_NEGATED_AFTER = re.compile(r"^\w*(\s+\w+){0,3}\s+(not|never|nobody|untouched|\w+n't)\b", re.IGNORECASE)
# 'It had never done so before' denies nothing of this case.
_BEFORE_NOW = re.compile(r"^[^.;,]{0,60}\bbefore\b\s*(?:[.;,]|$|and\b|but\b)", re.IGNORECASE)
_COULD_NOT = re.compile(r"\b(?:could|can)(?: ?not|n't)\W+(?:\w+\W+){0,3}$", re.IGNORECASE)
_BENIGN = re.compile(
    r"\b(benign|harmless|routine|legitimate|(?<!otherwise )ordinary|normal (work|operation|activity|behaviou?r)"
    r"|nothing suspicious|no suspicious)",
    re.IGNORECASE)
_MALICIOUS = re.compile(r"\b(malicious|attack(er)?s?|compromised?|exfiltrat\w*|intrusion|hostile)\b", re.IGNORECASE)
HIGH, LOW = 0.7, 0.3


def check_prose(summary: str, numbers: CaseNumbers, score: float | None) -> list[str]:
    """Return what the tables contradict in a summary, in our words; empty where nothing was found.

    >>> check_prose("It listed 12 secrets.", CaseNumbers({"secrets": 5}, {"secret_list": 12}, {"secret_list": 12}), 0.5)
    ['says 12 secrets, the tables say 5']
    """
    english, korean = _by_language(summary)
    said = [
        *_numbers(english, numbers), *_mentions(english, numbers), *check_shares(english, numbers), *_plain(english, numbers, score),
        *check_assertions(english, numbers), *check_durations(english, numbers),
        *check_wholes(english, numbers),
    ] if english else []
    return list(dict.fromkeys([*said, *(check_korean(korean, numbers, score) if korean else [])]))


def _by_language(summary: str) -> tuple[str, str]:
    """Part the sentences that are in Korean from the others: each language has its own grammar."""
    if not HANGUL.search(summary):
        return summary, ""
    sentences = re.split(r"(?<=[.;!?])\s+|\n", summary)
    parts = [[one for one in sentences if bool(HANGUL.search(one)) == is_korean] for is_korean in (False, True)]
    return " ".join(parts[0]).strip(), " ".join(parts[1]).strip()


# Times of day, offsets, codes of responses: numbers that count nothing.
_NO_COUNTS = re.compile(
    r"\b(?:20[014]|40[01349]|422|429|50[0234])\b(?!\s+(?:\w+\s+)?(?:requests?|events?|calls?|secrets?|nodes?|namespaces?|times)\b)"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?\b|[+@]\d+\s?s\b|\b(?:http|status|code)\s+\d{3}\b"
    r"|\b\d{3}(?=\s+(?:responses?|errors?|status|codes?|forbidden|unauthori[sz]ed)\b)|\b[45]\d\ds\b"
    r"|(?<=\ba )[45]\d\d\b|\b(?<=with )[45]\d\d\b(?!\s+\w+s\b)|\b(?<=as )[45]\d\d\b|\b(?<=by )[45]\d\d\b(?!\s+\w+s\b)")


# Requests of a part: 'six requests came before the first refusal'.
_BESIDE = re.compile(r"\s+(?:(?:came|went|were made) )?(?:before|after|earlier|later|followed|preceded)\b")
# The whole sentence: 'a single node answered late' is said of one of many.
_SINGLE = re.compile(
    r"(?:^|(?<=[.;!?] ))\W*(?:only |just )?(?:a single|one single|only one|just one|one) (?:different )?(node|namespace|secret)"
    r" was (?:reached|touched|accessed|involved|affected|used|visited|read)\W*(?=[.;!?]|$)", re.IGNORECASE)


def _numbers(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    text = summary.lower()
    for uncounted in (_NO_COUNTS, RATIOS):
        text = uncounted.sub(lambda match: " " * len(match.group(0)), text)
    taken: set[int] = set()
    for pattern, noun in _NOUNS:
        for match in re.finditer(rf"{NUMBER}\s+(?:\w+\s+){{0,1}}?(?:{pattern})\b", text):
            if match.start(1) in taken:
                continue
            taken.add(match.start(1))
            said, true = number_value(match.group(1)), numbers.named.get(noun)
            # Numbers of a part (two of the denied requests) are true as long as they occur among the facts. An exec counts as a
            # write in the tables and not in most people's words.
            # 'One request' is any request.
            enough = said < (true or 0) and (said in numbers.shown or noun == "writes" or (said == 1 and noun == "events"))
            before = text[: match.start()]
            if true is None or said == true or enough or (noun == "events" and _BESIDE.match(text[match.end():])):
                continue
            if not BOUNDED.search(before) or (is_lower_bound(before) and not fits_bound(said, true, before)):
                yield f"says {said} {noun}, the tables say {true}"
    for match in _SINGLE.finditer(summary):
        noun = f"{match.group(1).lower()}s"
        if numbers.named.get(noun, 0) > 1:
            yield f"says a single one of the {noun}, the tables say {numbers.named[noun]}"
    for match in re.finditer(NUMBER, text):
        said = number_value(match.group(1))
        length = re.match(r"[ -]?(seconds?|minutes?|hours?)\b", text[match.end():])
        known = match.start(1) in taken or said in numbers.shown or said in numbers.named.values() or (
            length is not None and is_known_length(said, length.group(1), numbers))
        if match.group(1)[0].isdigit() and not known and not BOUNDED.search(text[: match.start()]):
            yield f"says {said}, a number that the facts do not hold"


def _mentions(summary: str, numbers: CaseNumbers) -> Iterable[str]:
    for pattern, names in _MENTIONS:
        tried = any(numbers.counts.get(name) for name in names)
        done = any(numbers.succeeded.get(name) for name in names)
        for match in re.finditer(rf"\b(?:{pattern})", summary, re.IGNORECASE):
            before, after = NO_NEGATION.sub(" ", summary[: match.start()]), summary[match.end():]
            negated = bool(_NEGATED.search(before))
            # Who could not do it was refused: that is for `assertions.py`.
            if negated and (_BEFORE_NOW.search(after) or _COULD_NOT.search(before)):
                continue
            if not negated and (_PERHAPS_NEGATED.search(before) or _NEGATED_AFTER.search(after)):
                continue
            if negated and match.group(0).lower().startswith("secret"):
                verb = _SECRETS_AFTER.match(after)
                done = bool(verb) and bool(numbers.succeeded.get("secret_get") if verb and verb.group(1) == "read" else done)
            # 'No secrets were read' is true of somebody whose every try was denied.
            if (negated and done) or (not negated and not tried):
                word = match.group(0).lower()[:40]
                yield f"denies '{word}', which happened" if negated else f"speaks of '{word}', which did not happen"
                break


# What is denied of secrets: to most people those that were listed were not read.
_SECRETS_AFTER = re.compile(
    r"(?:\s+\w+){0,2}?\s+(read|listed|accessed|touched|fetched|obtained|involved|retrieved|requested|seen|at all)\b"
    r"|\s*(?:[.;]|$)", re.IGNORECASE)
_NO_WRITES = re.compile(
    r"\bread[- ]only\b|only (reads?|read requests)|(no|without( any)?) (changes|writes|modifications)\b", re.IGNORECASE)
_NO_DENIALS = re.compile(
    rf"\b(?:it|the (?:account|user|session|actor|workload|person)) (?:met|encountered|ran into|faced) no (?:resistance|refusals?|denials?"
    rf"|objections?){LIMITED}"
    rf"|(nothing|no requests?|none)( of (them|the (requests|calls)))? (was|were) (denied|forbidden|refused){LIMITED}|\bno denials\b"
    r"|all (requests )?(were )?allowed" + LIMITED,
    re.IGNORECASE)
_DENIALS = re.compile(r"\b(were|was|all|access) denied|\bdenials\b", re.IGNORECASE)


def _plain(summary: str, numbers: CaseNumbers, score: float | None) -> Iterable[str]:
    denied, writes = numbers.named.get("denied", 0), numbers.named.get("writes", 0)
    if _NO_WRITES.search(summary) and writes:
        yield f"says that nothing was changed, the tables say {writes} writes"
    if _NO_DENIALS.search(summary) and denied:
        yield f"says that nothing was denied, the tables say {denied}"
    if _says(_DENIALS, summary) and not denied:
        yield "says that requests were denied, the tables say none"
    if score is not None and score >= HIGH and _says(_BENIGN, summary) and not _says(_MALICIOUS, summary):
        yield f"calls the case ordinary at a score of {score:.2f}"
    if score is not None and score <= LOW and _says(_MALICIOUS, summary) and not _says(_BENIGN, summary):
        yield f"calls the case malicious at a score of {score:.2f}"


def _says(pattern: re.Pattern[str], summary: str) -> bool:
    return any(not _NEGATED.search(summary[: match.start()]) for match in pattern.finditer(summary))
