"""A summary in Korean, held against the tables: deeds and their outcome, how often, in what order, by whom.

`korean_shares.py` has shares and lengths, `korean.py` the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import CaseNumbers
from audit_lab.judge.deeds import Named, compare_deed, compare_order
from audit_lab.judge.korean import Clause, Deed, read
from audit_lab.judge.korean_numbers import LENGTHS, Quantity, find_quantities
from audit_lab.judge.korean_shares import check_korean_lengths, check_korean_shares

_PERSON = r"사람|직원|개발자|관리자|운영자|엔지니어|담당자|인간"
_KINDS: tuple[tuple[str, frozenset[str]], ...] = (
    (r"서비스 ?(?:어카운트|계정)", frozenset({"service_account", "controller"})), (_PERSON, frozenset({"human"})),
    (r"노드|kubelet", frozenset({"node"})), (r"컨트롤러", frozenset({"controller"})),
    (r"(?:익명|비인증|인증되지 않은|신원 없는)\s?(?:사용자|클라이언트|호출자|요청자|주체|행위자)",
     frozenset({"anonymous", "unauthenticated"})),
)
_WHICH = r"(?:(?:한|이|그|어느|해당|내부|외부|특정|새로운|새|CI|수상한|실제|일반)\s+)*"
_ONE = r"(?:\s?(?:사용자|계정|한 명|신원))?"
_ACTIVE = re.compile(r"[을를]\s|직접|시도|요청|실행|조회|접근|훑|노[리렸]|확인|했다|했습|했음|하였")
_PASSIVE_NEXT = re.compile(r"^\s*(?:\S+\s+)?(?:생성|삭제|추가|등록|사용|부여|발급|변경)(?:되|된|됐)|^\s*(?:아니|아닌|없|새로 생|하나|두"
    r"|세|네|\d)|^\s*만들어[져졌]")
_OWN_NAME = re.compile(r"(?:자기|자신의?|본인의?|스스로의|원래)\s?(?:이름|신원|계정|명의|권한)\S{0,2}만(?:을|으로)?\s")
# What somebody should do or find out is nothing that was done.
_ASKED = re.compile(r"야 (?:한|합|할|함)|[인는은]지\s|십시오|바랍|바람|필요|권장|권고|문의|여부|[될할]\s?수")
# What narrows a count to a part of the deeds: a place, a rest, a further one.
_PART = re.compile(r"그중|가운데|중\s|마지막|처음|첫|나머지|다른|또\s|더\s|씩|마다|이후|뒤에|이어")
_PLACE = re.compile(r"(?<!파드)(?<!안)(?<!컨테이너)(?<!세션)(?<!내부)(?<!클러스터)에서\s")
# 'Commands that lead to the host' are some of the commands.
_DESCRIBED = re.compile(r"(?:[는한된의던할인적은]|위한|통한)\s+$")
_PLACED = re.compile(r"(?:에서|[안내을를이가은는로서도고며뒤후,번회]|노드|파드|컨테이너)\s+$")
_EXECS = ("pod_exec", "pod_attach", "ephemeral_container", "kubelet_exec")
_BENIGN = re.compile(r"정상(?:적인?)?\s?(?:업무|작업|활동|운영)|통상(?:적인?)?\s?(?:업무|작업|활동)|무해|일상(?:적인?)?\s?(?:업무|작업"
    r"|활동)")
_MALICIOUS = re.compile(r"악의적|악성|공격자|침해|침입|유출")
_DENIED_AFTER = re.compile(r"^[^.]{0,16}?(?:아니|않|없|어렵|다르|벗어)")
HIGH, LOW = 0.7, 0.3


def check_korean(summary: str, numbers: CaseNumbers, score: float | None) -> list[str]:
    """Return what the tables contradict in a Korean summary, in our words; empty where nothing was found.

    >>> check_korean("웹훅 등록은 거부되었습니다.", CaseNumbers({}, {"webhook_write": 1}, {"webhook_write": 1}), 0.5)
    ["says that '웹훅 등록' was refused, the tables say allowed"]
    """
    clauses = read(summary)
    found: list[str] = []
    for place, clause in enumerate(clauses):
        quantities = find_quantities(clause.text)
        for deed in clause.deeds:
            found += _deed(deed, numbers)
            found += _how_often(clause, deed, quantities, numbers)
        found += _things(clause, quantities, numbers)
        found += check_korean_lengths(clause, quantities, numbers)
        found += check_korean_shares(clause, clauses[:place], quantities, numbers)
        found += _actor(clause.text, numbers)
        found += _only_read(clause, numbers)
    found += [*_order(clauses, numbers), *_tone(summary, score)]
    return list(dict.fromkeys(found))


def _named(deed: Deed, numbers: CaseNumbers) -> tuple[str, ...]:
    """Return the predicates of a deed: commands on a node are known by their class, for the kubelet's calls also list containers."""
    if deed.names == _EXECS and not any(numbers.counts.get(name) for name in _EXECS[:3]):
        return tuple(name for name in numbers.counts if name.startswith("command_")) or _EXECS
    return deed.names


_READ_ONLY = re.compile(r"(?:읽기|조회|열람|확인)만 (?:했|하였|하고|함|있었|이루어|수행)|읽기 전용(?:으로|이|$| (?:세션|활동|요청))")


def _only_read(clause: Clause, numbers: CaseNumbers) -> Iterable[str]:
    """Compare 'it only read' with the changes; of a thing it is said of that alone."""
    changed = numbers.succeeded.get("write_or_delete", 0) - sum(numbers.succeeded.get(name, 0) for name in _EXECS)
    if changed > 0 and _READ_ONLY.search(clause.text) and not clause.things:
        yield f"says that it only read, the tables say {changed} changes"


def _short(deed: Deed) -> str:
    return " ".join(deed.words.split())[:40]


def _deed(deed: Deed, numbers: CaseNumbers) -> Iterable[str]:
    names, said = _named(deed, numbers), "done" if deed.said == "succeeded" else deed.said
    if deed.names == ("write_or_delete",):
        # An exec counts as a write in the tables and not in most people's words.
        done = numbers.succeeded.get("write_or_delete", numbers.named.get("writes", 0))
        writes = done - sum(numbers.succeeded.get(name, 0) for name in _EXECS)
        if said == "not done" and writes > 0:
            yield f"denies '{_short(deed)}', the tables say {writes} writes"
        if said not in ("refused", "all refused", "all done"):
            return
    if deed.in_passing and not any(numbers.counts.get(name) for name in names):
        return
    yield from compare_deed(names, _short(deed), said, numbers)


def _how_often(clause: Clause, deed: Deed, quantities: list[Quantity], numbers: CaseNumbers) -> Iterable[str]:
    """Compare the number that stands with a deed with how often it was done, or to how many things."""
    names = _named(deed, numbers)
    counts = [counted.get(name, 0) for name in names for counted in (numbers.counts, numbers.denied, numbers.succeeded)]
    most = sum(numbers.counts.get(name, 0) for name in names)
    if not most or "thing" in deed.things or deed.said in ("not done", "not tried", "unclear"):
        return
    for number in quantities:
        if number.unit in LENGTHS or number.unit in ("명", "가지") or not deed.start <= number.start < deed.end:
            continue
        own = (None, *deed.things, *(_ALSO.get(thing) for thing in deed.things))
        if _thing_of(clause.text, number) not in own or clause.text[number.end:].startswith(" 중"):
            continue
        lead = clause.text[:deed.start]
        is_described = _DESCRIBED.search(lead) or ("command" in deed.things and lead.strip() and not _PLACED.search(lead))
        until = clause.text[:number.start]
        is_part = is_described or _PART.search(until) or _PLACE.search(until) or number.unit not in ("번", "회", "차례")
        fits_one = any(number.fits(count) for count in {*counts, most})
        if number.low > most or (not fits_one and not is_part):
            yield f"says {_written(clause.text, number)} of '{_short(deed)}', the tables say {most}"


def _written(text: str, number: Quantity) -> str:
    return f"'{text[number.start:number.end].strip()}'"


_BEFORE_NUMBER = re.compile(r"(네임스페이스|노드|시크릿|요청|호출|파드|롤|역할|바인딩|웹훅|토큰|크론잡|서비스 ?어카운트|신원"
    r"|\S+)(?:[은는이가을를도의])?\s+(?:(?:약|총|모두|최소|최대|단|겨우|무려|거의)\s+)?$")
_AFTER_NUMBER = re.compile(r"^\S{0,3}?(?:의)?\s?(?:(?:서로 )?다른\s+)?(네임스페이스|노드|시크릿|요청|호출|파드|롤|역할|바인딩|웹훅|토큰"
    r"|크론잡|서비스 ?어카운트|신원)")
_KIND_OF = {
    "네임스페이스": "namespace", "노드": "node", "시크릿": "secret", "요청": "request", "호출": "request", "파드": "pod",
    "롤": "role", "역할": "role",
    "바인딩": "binding", "웹훅": "webhook", "토큰": "token", "크론잡": "cron", "신원": "identity"}


_ALSO = {"admin": "binding", "cluster_binding": "binding", "secrets": "secret", "privileged_pod": "pod", "wild_role": "role"}


def _thing_of(text: str, number: Quantity) -> str | None:
    """Return the kind of thing that a number counts, where its noun stands right beside it."""
    before, after = _BEFORE_NUMBER.search(text[:number.start]), _AFTER_NUMBER.match(text[number.end:])
    for match in (after, before):
        if match and match.group(1) in _KIND_OF:
            return _KIND_OF[match.group(1)]
    return None


def _things(clause: Clause, quantities: list[Quantity], numbers: CaseNumbers) -> Iterable[str]:
    """Compare the number of namespaces, nodes and secrets, and whether a number is one of the facts at all."""
    known = {*numbers.shown, *numbers.named.values()}
    for number in quantities:
        if number.unit in LENGTHS:
            continue
        noun = {"namespace": "namespaces", "node": "nodes", "secret": "secrets"}.get(_thing_of(clause.text, number) or "")
        true = numbers.named.get(noun or "")
        reads = sum(numbers.counts.get(name, 0) for name in ("secret_get", "secret_list", "secret_write")) if noun == "secrets" else 0
        if noun and true is not None:
            part = number.is_exact and number.high < true and number.high in known
            if not number.fits(true) and not part and not (reads and (number.fits(reads) or number.high <= reads)):
                yield f"says {_written(clause.text, number)} {noun}, the tables say {true}"
        elif number.is_exact and number.low >= 10 and int(number.low) not in known:
            yield f"says {int(number.low)}, a number that the facts do not hold"
        elif number.low > max(known, default=0):
            yield f"says {_written(clause.text, number)}, more than any number of the facts"


def _order(clauses: list[Clause], numbers: CaseNumbers) -> Iterable[str]:
    """Compare what is put before what with the times of the events; a clause without a deed passes the order on."""
    last: Named | None = None
    link = ""
    for clause in clauses:
        link = clause.link or link
        deeds = [deed for deed in clause.deeds if deed.said not in ("unclear", "not done", "not tried") and not deed.in_passing]
        own: list[Named] = [(deed.names, _short(deed)) for deed in deeds]
        if not own and not clause.deeds and not clause.belongs_before and re.match(r"\S*(?:거부|거절|차단)(?:당한|된)", clause.text):
            own = [(("denied",), "거부")]
        if not own:
            continue
        if last is not None and link == "then":
            yield from compare_order(last, own[0], numbers)
        elif last is not None and link == "earlier":
            yield from compare_order(own[0], last, numbers)
        last, link = own[-1], ""


def _actor(text: str, numbers: CaseNumbers) -> Iterable[str]:
    """Compare who is said to have acted with the kinds of the case's identities."""
    if not numbers.kinds or _ASKED.search(text):
        return
    for words, kinds in _KINDS:
        subject = re.match(rf"\s*{_WHICH}({words}){_ONE}(?:이|가|은|는|께서)\s", text)
        if subject and (not _ACTIVE.search(text[subject.end():]) or _PASSIVE_NEXT.search(text[subject.end():])):
            subject = None
        source = re.search(
            rf"(?:^|\s)({words}){_ONE}(?:의|가 한|이 한|가 보낸|이 보낸|에게서 온|로부터 온|에 의한)\s(?:(?:모든|전체)\s)?(?:요청|호출"
            rf"|소행|행위|활동|세션)(?!\s?(?:토큰))", text)
        is_one = re.search(rf"(?:행위자|주체|요청자|장본인|배후)(?:는|은|가)\s(?:\S+\s)?({words}){_ONE}(?:이다|다|였|로|입니"
            rf"|임)(?!\s?아니)", text)
        match = subject or source or is_one
        if match and not kinds & numbers.kinds and not re.search(r"아니|아닌", text[match.end():match.end() + 8]):
            true = ", ".join(sorted(kind.replace("_", " ") for kind in numbers.kinds))
            yield f"names '{match.group(1)}' as the actor, the tables say {true}"
            return
    impersonated = numbers.succeeded.get("impersonate", 0)
    if impersonated and _OWN_NAME.search(text) and not re.search(r"않|아니|못", text):
        yield f"says that no identity but its own was used, the tables say {impersonated} requests as another"


def _tone(summary: str, score: float | None) -> Iterable[str]:
    benign, malicious = (
        any(not _DENIED_AFTER.match(summary[match.end():]) for match in pattern.finditer(summary)) for pattern in (_BENIGN, _MALICIOUS))
    if score is not None and score >= HIGH and benign and not malicious:
        yield f"calls the case ordinary at a score of {score:.2f}"
    if score is not None and score <= LOW and malicious and not benign:
        yield f"calls the case malicious at a score of {score:.2f}"
