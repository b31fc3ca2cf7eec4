"""What Korean prose says of all, most, some or none of the requests, how many were refused, and how long it took."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from audit_lab.judge.case_numbers import CaseNumbers
from audit_lab.judge.durations import ROUNDED_S, ROUNDED_TIMES
from audit_lab.judge.korean import Clause
from audit_lab.judge.korean_numbers import LENGTHS, Quantity, find_quantities
from audit_lab.judge.korean_polarity import ALLOWED, EXCEPT, REFUSED, read_tail
from audit_lab.judge.korean_words import find_actions
from audit_lab.judge.shares import ROUNDED, ROUNDED_FRACTION

# Words of an amount, the share of the requests they mean, and whether they stand for a number of their own.
_TINY = 1e-9
_AMOUNTS: tuple[tuple[str, tuple[float, float]], ...] = (
    (r"절반(?:에도|도|에|이)?\s*(?:(?:채|조금|약간|훨씬)\s*)?(?:못 ?(?:미|되)|안 ?(?:되|돼)|미치지 못|되지 않|미달|미만|이하|밑)\S*",
     (0.0, 0.5)),
    (r"절반(?:을|이|도)?\s*(?:(?:훌쩍|훨씬|조금|약간)\s*)?(?:이상|넘|초과|웃돌)\S*|과반\S*", (0.5, 1.0)), (r"절반\S*(?:\s?(?:정도|가량"
        r"|쯤))?|반수\S*", (0.4, 0.6)),
    (r"거의 (?:모두|전부|다|모든)|대부분|대다수|대개", (0.5, 1.0)),
    (r"극히 일부|극소수|소수", (_TINY, 0.5)), (r"일부만|몇 건만", (_TINY, 1 - _TINY)),
    (r"일부|몇몇|더러|간혹|가끔|종종|몇 건", (_TINY, 1.0)),
    (r"모두|전부|모든|매번|항상|번번이|빠짐없이|하나같이|죄다|모조리|일제히|예외 없이|전량|100\s?%", (1.0, 1.0)),
)
_AMOUNT = tuple((re.compile(rf"(?:^|(?<=\s))(?:{words})"), limits) for words, limits in _AMOUNTS)
_HANGUL_PARTS = {"이": 2, "두": 2, "삼": 3, "세": 3, "사": 4, "네": 4, "오": 5, "다섯": 5,
    "육": 6, "칠": 7, "팔": 8, "구": 9, "십": 10, "열": 10}
_FRACTION = re.compile(rf"(?P<part>\d+|{'|'.join(_HANGUL_PARTS)})\s?분의\s?(?P<top>\d+|일|이|삼|사|오|육|칠)(?P<bound>\s?(?:이상|넘|미만"
    rf"|이하|정도|가량|쯤|남짓)?)")
_PERCENT = re.compile(r"(?P<said>\d+(?:[.]\d+)?)\s?(?:%|퍼센트|프로)(?P<bound>\s?(?:를|가)?\s?(?:이상|넘|미만|이하|정도|가량|쯤|남짓)?)")
# 'One in three': a share, and no count of anything.
_RATIO = re.compile(r"(?P<bottom>\S+?)\s?(?:건|번|회|개)?\s?(?:중|가운데|에)\s(?P<top>\S+?)\s?(?:건|번|회|개)?\s?꼴\S*")
_MORE = re.compile(
    rf"(?:(?P<one>{REFUSED})|{ALLOWED})\S*(?:\s(?:요청|것|건|호출|횟수)\S{{0,2}})?\s(?:(?P<other>{REFUSED})|{ALLOWED})\S*?(?:\s(?:요청|것"
    rf"|건|호출|횟수))?보다\s(?:\S+\s)?(?P<how>많|적)"
    rf"|(?:(?P<than>{REFUSED})|{ALLOWED})\S*?(?:\s(?:요청|것|건|호출|횟수))?보다\s(?:(?P<is>{REFUSED})|{ALLOWED})\S*(?:\s(?:요청|것|건"
    rf"|호출|횟수)\S{{0,2}})?\s(?:\S+\s)?(?P<what>많|적)")
_TOP = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7}
# Words that only say that there were requests, of whomever: what else stands in a clause narrows it.
_SUBJECT = re.compile(r"요청|호출|시도|(?:전체|모든 것|모두|전부)(?=[가이는은 ])")
_THIS = re.compile(r"(?:^|(?<=\s))(?:이|그|해당|이런|그런|이러한|위|나머지|다른|첫|마지막|처음|그중|최초)\s+(?:\S+\s+)?(?:요청|호출|시도"
    r"|건)|그중|그 ?가운데|나머지|(?:없는|있는|대한|관한|위한|향한|[으로]로의) (?:요청|호출|시도)")
_OUTCOME_NOUN = re.compile(rf"(?:{REFUSED}|{ALLOWED})\S*\s(?:요청|호출|건|것|시도|사례)\S{{0,2}}|(?:{REFUSED}|{ALLOWED})(?:은|는|이|가"
    rf"|도)?\s")
# What a length is said of: the case as a whole, or a part that cannot be longer.
_WHOLE_TOOK = re.compile(r"전체|세션|활동|사건|시도는|공격|작업|일련|모든 (?:것|일|요청)|이 모두|모두|전부|전 과정|과정")
_TOOK = re.compile(r"걸[렸리린]|이어[졌지진]|지속|계속|끝[났나난]|소요|벌어[졌지진]|진행|마무리|동안|에 걸쳐|만에|안에|사이에|이내"
    r"|머[물문]")
_NOT_OF_CASE = re.compile(r"(?:(?:^|\s)(?:뒤|후|전)(?:[에\s]|$)|간격|마다|유효|만료|수명|이전|과거|지난|최근|주기|평소|차이)")
_LATER_BY = re.compile(r"^\S{0,3}\s?(?:정도\s|쯤\s|남짓\s|가량\s)?(?:뒤|후)")


def check_korean_lengths(clause: Clause, quantities: list[Quantity], numbers: CaseNumbers) -> Iterable[str]:
    """Yield lengths of time that the times of the events contradict: of the whole, or of a part that would be longer than the whole."""
    whole = numbers.spans.get("request")
    if whole is None:
        return
    true = (whole[1] - whole[0]).total_seconds()
    for number in quantities:
        unit = LENGTHS.get(number.unit)
        if unit is None:
            continue
        after = clause.text[number.end:]
        wrong = False
        if _LATER_BY.match(after):
            wrong = number.low * unit > ROUNDED_TIMES * true + ROUNDED_S
        elif _TOOK.search(after) and not _NOT_OF_CASE.search(clause.text):
            is_whole = not clause.deeds and (_WHOLE_TOOK.search(clause.text) or not clause.things)
            wrong = not _fits(number, unit, true) if is_whole else number.low * unit > ROUNDED_TIMES * true + ROUNDED_S
        if wrong:
            yield f"says '{clause.text[number.start:number.end].strip()}', the tables say {true:.0f} s"


def _fits(number: Quantity, unit: float, true: float) -> bool:
    low, high = number.low * unit, number.high * unit
    if number.bound in ("below", "most"):
        high = (number.high + (number.bound == "below")) * unit
        return true <= high + max(ROUNDED_S, 0.1 * high)
    if number.bound in ("above", "least"):
        low = (number.low - (number.bound == "above")) * unit
        return true >= low - max(ROUNDED_S, 0.1 * low)
    said = (low + high) / 2
    return abs(true - said) <= ROUNDED_S or said / ROUNDED_TIMES <= true <= said * ROUNDED_TIMES


def check_korean_shares(clause: Clause, before: list[Clause], quantities: list[Quantity], numbers: CaseNumbers) -> Iterable[str]:
    """Yield what a clause says of the requests as a whole and the tables contradict: none, a share or a number refused or allowed."""
    events, denied = numbers.named.get("events", 0), numbers.named.get("denied", 0)
    text = clause.text
    if not events or clause.deeds or clause.belongs_before or _elsewhere([clause]) or _is_narrowed(text):
        return
    if not (re.search(REFUSED, text) or re.search(ALLOWED, text)):
        yield from _total(text, quantities, events)
        return
    more = _MORE.search(text)
    if more:
        of_refused, allowed = bool(more["one"] or more["is"]), events - denied
        many = of_refused == ((more["how"] or more["what"]) == "많")
        if of_refused != bool(more["other"] or more["than"]) and (denied <= allowed if many else denied >= allowed):
            yield f"says '{text.strip()[:60]}', the tables say {denied} of {events} requests refused"
        return
    # After a deed of the same sentence it may be that one's requests which are meant.
    told = [deed for one in _same_sentence(clause, before) for deed in one.deeds]
    is_part = bool(_THIS.search(text)) or bool(told) or _elsewhere(_same_sentence(clause, before))
    masked, share = _share(text)
    said = read_tail("", "", _without_numbers(masked, text, quantities))
    whole = f"the tables say {denied} of {events} requests refused"
    if said in ("all done", "done") and re.search(r"없|않|안 ", text) and re.search(REFUSED, text):
        of_told = all(any(numbers.denied.get(name) for name in deed.names) for deed in told)
        if denied and (of_told if told else not is_part):
            yield f"says that nothing was denied, {whole}"
        return
    if said not in ("refused", "all refused", "succeeded", "all done"):
        return
    refused = said in ("refused", "all refused")
    counted = denied if refused else events - denied
    if share is not None and (not is_part or (share[0] > 0 and counted == 0)):
        if not share[0] <= counted / events <= share[1]:
            yield f"says '{text.strip()[:60]}', {whole}"
    elif share is None and refused and not denied and not is_part:
        yield f"says that requests were refused, {whole}"
    quantities = [number for number in quantities if number.start < len(masked) and not _RATIO.search(text)]
    yield from _counts(text, quantities, (counted, events), refused, is_part, whole)


def _is_narrowed(text: str) -> bool:
    """Tell whether a clause speaks of some requests only: those of a deed, or all but some."""
    acted = any(text[action.start:action.end] != "접근" for action in find_actions(text))
    return acted or bool(EXCEPT.search(text)) or "제외" in text


def _counts(text: str, quantities: list[Quantity], known: tuple[int, int], refused: bool, is_part: bool, whole: str) -> Iterable[str]:
    counted, events = known
    own = [number for number in quantities if number.unit in ("건", "번", "회", "차례", "개", "")]
    for place, number in enumerate(own):
        of_all = re.match(r"\s?(?:의 요청\S*\s?)?(?:중|가운데)", text[number.end:]) or (
            len(own) > 1 and place == 0 and re.search(r"요청\S{0,2}\s+(?:총\s|모두\s)?$", text[:number.start]))
        total = re.search(r"모두|전부|전체", text[number.end:])
        if of_all:
            if not number.fits(events) and not is_part:
                yield f"says {text[number.start:number.end]} requests, the tables say {events}"
        elif (number.low > counted) if is_part else not number.fits(counted):
            # '63 requests, all refused' counts the requests, which are as many as were refused.
            is_any = number.is_exact and number.low == 1 and counted and not refused
            if not is_any and not (total and number.fits(events) and counted == events):
                yield f"says '{text.strip()[:60]}', {whole}"


def _total(text: str, quantities: list[Quantity], events: int) -> Iterable[str]:
    """Yield a number of requests that is more than there were."""
    for number in quantities:
        beside = re.match(r"\S{0,2}?(?:을|를|의)?\s?(?:요청|호출)", text[number.end:]) or re.search(
            r"(?:요청|호출)\S{0,2}\s+(?:\S+\s+)?$", text[:number.start])
        if number.unit in ("건", "번", "회", "차례", "") and beside and number.low > events:
            yield f"says '{text.strip()[:60]}', the tables say {events} requests"


def _same_sentence(clause: Clause, before: list[Clause]) -> list[Clause]:
    if clause.begins:
        return []
    found: list[Clause] = []
    for one in reversed(before):
        found.append(one)
        if one.begins:
            break
    return found


def _elsewhere(clauses: list[Clause]) -> bool:
    """Tell whether a sentence has named a thing before: its requests are meant by what follows."""
    return any(thing.kind not in ("thing", "identity", "rights", "account") for clause in clauses for thing in clause.things)


def _share(text: str) -> tuple[str, tuple[float, float] | None]:
    """Return a clause without its words of an amount, and the share they mean."""
    ratio = _RATIO.search(text)
    if ratio and (said := _ratio(ratio)) is not None:
        return text[:ratio.start()] + " " + text[ratio.end():], (said - ROUNDED_FRACTION, said + ROUNDED_FRACTION)
    fraction, percent = _FRACTION.search(text), _PERCENT.search(text)
    match = fraction or percent
    if match:
        if fraction:
            part = fraction["part"]
            bottom, slack = _HANGUL_PARTS.get(part) or int(part), ROUNDED_FRACTION
            said = (_TOP.get(fraction["top"]) or int(fraction["top"])) / bottom if bottom else 0.0
        else:
            said, slack = float(match["said"]) / 100, ROUNDED
        bound = match["bound"]
        above, below = re.search("이상|넘", bound), re.search("미만|이하", bound)
        low, high = (said if above else 0.0 if below else said - slack), (1.0 if above else said if below else said + slack)
        return text[:match.start()] + " " + text[match.end():], (low, high)
    for pattern, limits in _AMOUNT:
        found = pattern.search(text)
        if found:
            keep = " 모두 " if limits == (1.0, 1.0) else " "
            return text[:found.start()] + keep + text[found.end():], limits
    return text, None


def _ratio(match: re.Match[str]) -> float | None:
    numbers = [find_quantities(f"{match[side]} 건") for side in ("top", "bottom")]
    return numbers[0][0].low / numbers[1][0].low if all(numbers) and numbers[1][0].low else None


def _without_numbers(masked: str, text: str, quantities: list[Quantity]) -> str:
    """Take bounds that look like negations ('넘지 않았다') out with their numbers."""
    for number in quantities:
        if number.bound or not math.isfinite(number.high):
            written = text[number.start:number.end]
            masked = re.sub(rf"{re.escape(written)}\S*\s?(?:안\s?되\S*|되지 않\S*|못\s?(?:되|미치|미친)\S*|미만\S*|이상\S*|넘\S*"
                rf"|이하\S*)?", " ", masked)
    return re.sub(r"(?:넘|초과하|벗어나)지 (?:않|못)\S*", " ", masked)
