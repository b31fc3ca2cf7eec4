"""What the words around a Korean verb say came of it: done, refused, not done, only tried; of every try or of some."""

from __future__ import annotations

import re
from typing import Literal

Outcome = Literal[
    "done", "succeeded", "all done", "refused", "all refused", "tried", "not done", "not tried", "not possible", "unclear"]

REFUSED = r"거부|거절|차단|반려|막[히혔혀힌힘았아]|가로막|실패|금지|불가|무산|좌절|튕[기겼]|제지|40[13]|퇴짜"
ALLOWED = r"허용|허락|성공|통과|이루어|이뤄|완료|받아들|수락|승인|먹[히혔]"
_NOTHING = r"(?:하나도|전혀|아예|결코|아무것도|(?:단 )?한 (?:번|건|차례|개|곳|명)도|일절|따로|별도로|아직)"
# Reasons, and lengths that end in a negation, deny no deed.
_LACKED_RIGHTS = re.compile(r"권한\S{0,2} (?:이 )?(?:없|부족|모자)\S*|권한 ?부족\S*|권한\S* 못 \S+")
_MASKED = re.compile(
    r"\S+(?:도|이|가|에도) ?(?:안 되\S*|안 돼\S*|되지 않\S*|걸리지 않\S*|못 미\S*|안 걸\S*)(?= )"
    r"|(?:문제|예외|제한|어려움|거리낌|막힘|무리|지장|이상|오류|에러|제약)\S{0,2} ?없(?:이|었\S*|음|다|습\S*|고)"
    r"|(?:멈추|그치|그만두|끝나|굴하)지(?:는|도)? 않\S*|뿐(?:만)? ?아니\S*")
_UNREAL = re.compile(
    r"(?:[다라하되았었으]면|더라면|(?:뻔|지도 모|가능|여부|의심|추정|아마|혹시|모른|예정|계획|필요|권고|권장)|[는은을할될]지(?=[\s,를도]"
    r"|$)|수(?:도|가)? 있|것 같|것으로 보|겠"
    r"|야 (?:한|할|합|함)|십시오|바람$|바랍)")
_REFUSAL_DENIED = re.compile(
    rf"(?:{REFUSED})(?:되|당하|하|된|당한|한|진|히|혀)?\S*?(?:지(?:는|도|를)? ?않| ?없이|[은는이가도]? (?:(?:적|일|것|건|사례|경우|요청"
    rf"|호출|횟수)\S{{0,2}} )?(?:{_NOTHING} )*없)"
    rf"|(?:{REFUSED})\S* (?:적|일|것|건|사례|경우|요청|호출|시도)\S{{0,2}} (?:{_NOTHING} )*없|안 막|(?:{REFUSED})\S{{0,2}} 0건")
_SUCCESS_DENIED = re.compile(
    rf"(?:{ALLOWED})\S*?지(?:는|도|를)? ?(?:않|못)|(?:성공|통과|허용|승인)\S{{0,4}} (?:못|(?:적|것|건|요청"
    rf"|시도)\S{{0,2}} (?:{_NOTHING} )*없|(?:{_NOTHING} )*없)")
_REFUSED, _ALLOWED = re.compile(REFUSED), re.compile(ALLOWED)
_CANNOT = re.compile(r"수(?:는|가|도)? 없|지(?:는|도|를)? ?못|못 ?(?:했|한|함|하)|(?:어|아|여|해)내지 못")
_NOT = re.compile(r"지(?:는|도|를|조차)? ?않|지 말")
# 'It is not that ...', 'it had never before ...': nothing is said of this case's deeds.
_ASIDE = re.compile(r"(?:[이가은]|건|게) ?아[니닌님닙]")
EXCEPT = re.compile(r"(?:외에|외에는|밖에|밖에는|이외에|제외하고|제외하면|빼고|빼면|말고|말고는)\s")
_SMOOTHLY = re.compile(r"(?:문제|막힘|거부|제지|거리낌|어려움|오류) ?없이|순조롭|무사히")
_EARLIER_TIMES = re.compile(r"(?:이전|예전|과거|종전|그동안|지금까지|여태|평소|원래|기존)|(?:^|\s)전에는?\s")
# 'There was none': the deed itself, or its traces, is what there was not.
_NONE = re.compile(
    rf"^\S{{0,5}}(?:\s(?:쓴|본|낸|둔|준|놓은|버린|간|온))?(?:\s(?:것|적|흔적|기록|사실|일|경우|건|작업|행위|요청|사례|정황|증거|활동|횟수"
    rf"|시도|내역|대상)\S{{0,3}})?(?:\s{_NOTHING})*\s?(?:없|0건|0회)")
_NONE_TRIED = re.compile(rf"시도\S{{0,3}}(?:\s(?:적|흔적|일|것|기록)\S{{0,2}})?(?:\s{_NOTHING})*\s(?:없|안 )|시도(?:하|되)지(?:는|도"
    rf"|조차)? 않|려(?:고|는)?(?: 하|하)?지(?:는|도)? 않")
_NEGATED_BEFORE = re.compile(r"(?:^|\s)(?P<how>안|못) ?$")
_INTENT = re.compile(r"려고|려 ?[했하한함시]|려[는던]|려다|시도|노[리렸린]|고자|자고|요청|신청|원했|바랐|타진|목표|향했|겨냥|필요")
# A noun ('조회', '생성') tells a deed only with a verb of its own; a verb in any form of the past or of a chain does.
NOMINAL = re.compile(
    r"^(?:조회|열람|접근|탈취|생성|작성|추가|설치|등록|배포|기동|쓰기|변경|수정|편집|패치|갱신|조작|삭제|제거|실행|수행|접속|부여|획득"
    r"|할당|발급|발행|승인|서명|확인"
    r"|점검|문의|가장|사칭|행세|위장|나열|열거|목록|포워딩|포워드|바인딩|)$")
_DONE = re.compile(r"^(?:[을를이가도]\s?)?(?:했|하였|하고|하며|하면서|하자|한|함|해|하여|됐|되었|되고|되며|되자|된|됨|돼|되어|당했|당한"
    r"|받[았은고아]|시[켰킨켜키]|이 있었|가 있었)")
_EVERY = re.compile(r"모두|전부|매번|항상|번번이|모조리|죄다|일제히|하나같이|(?:둘|셋|넷|다섯|여섯|[번건개회대]) ?다(?=\s)|모든|빠짐없이"
    r"|남김없이|다(?= (?:거부|실패|막))|전 요청|예외 없이")
_SOME = re.compile(
    r"일부|대부분|대다수|제외|외에|이외|나머지|빼고|절반|그중|가운데|(?:건|번|회|개|곳|차례|대) ?만(?=\s)|마지막|처음|첫|분의|%|대개|종종"
    r"|가끔|거의|중(?=\s)|말고|만 (?:거부|실패|막)|경우에는|몇몇|때로|이후|뒤에")


def read_tail(before: str, words: str, tail: str) -> Outcome:
    """Return what is said of an action; `before` is its clause up to it, `tail` what follows it there.

    >>> read_tail("시크릿을 ", "조회", "하려 했으나 매번 거부당했습니다"), read_tail("시크릿을 ", "조회", "하지 않았다")
    ('all refused', 'not done')
    >>> read_tail("파드에서 명령을 ", "실행", "한 흔적은 없다"), read_tail("", "실행", "은 거부된 적이 없다")
    ('not done', 'all done')
    """
    whole = f"{words}{tail}"
    lacked = bool(_LACKED_RIGHTS.search(f"{before[-12:]}{whole}"))
    masked = _MASKED.sub(" ", _LACKED_RIGHTS.sub(" ", whole))
    elsewhere = _EARLIER_TIMES.search(f"{before} {masked}") or EXCEPT.search(f"{before} {masked}")
    if _ASIDE.search(masked) or (elsewhere and (_NOT.search(masked) or "없" in masked)):
        return "unclear"
    if _UNREAL.search(masked):
        could = _CANNOT.search(masked) is None or _REFUSED.search(masked) or re.search(r"수(?:도|가)? 있|[다하되]면", masked)
        return "unclear" if could else "not possible"
    every, some = _EVERY.search(f"{before} {whole}"), _SOME.search(f"{before} {whole}")
    if _REFUSAL_DENIED.search(masked):
        rest = _REFUSAL_DENIED.sub(" ", masked)
        return "unclear" if _REFUSED.search(rest) else "all done"
    denied = _SUCCESS_DENIED.search(masked)
    if denied and not words.startswith("승인"):
        return "all refused" if (every or re.search(_NOTHING, masked)) and not some else "refused"
    after = masked[len(words):] if masked.startswith(words) else masked
    refused = bool(_REFUSED.search(masked)) or lacked
    allowed = bool(_ALLOWED.search(after if words else masked))
    if refused or allowed:
        said = _judged(before, words, masked, after, refused and allowed, refused, bool(every and not some))
    else:
        said = _told(before, words, masked, after)
    if said == "not possible" and not some and re.search(_NOTHING, f"{before} {masked}"):
        return "all refused"
    return "all done" if said in ("done", "succeeded") and every and not some and _SMOOTHLY.search(f"{before} {whole}") else said


def _judged(before: str, words: str, masked: str, after: str, is_both: bool, refused: bool, every: bool) -> Outcome:
    """Decide where an outcome is named: it may itself be denied."""
    if is_both:
        return "unclear"
    if refused:
        if _NOT.search(masked) or (" 없" in masked and not _LACKED_RIGHTS.search(masked)):
            return "unclear"
        return "all refused" if every else "refused"
    denied = _denied(before, words, masked, after)
    return denied or ("all done" if every else "succeeded")


def _denied(before: str, words: str, masked: str, after: str) -> Outcome | None:
    """Return what is said where the deed itself is denied; None where it is not."""
    how = _NEGATED_BEFORE.search(before)
    if _NONE_TRIED.search(after):
        return "not tried"
    if _CANNOT.search(masked) or (how and how["how"] == "못"):
        return "not possible"
    if _NOT.search(masked) or how or (words and _NONE.search(after)):
        return "unclear" if _INTENT.search(after) else "not done"
    return None


def _told(before: str, words: str, masked: str, after: str) -> Outcome:
    """Decide where no outcome is named."""
    denied = _denied(before, words, masked, after)
    if denied:
        return denied
    if " 없" in masked:
        return "unclear"
    # To lay hands on something leaves open whether it worked.
    if _INTENT.search(after) or words.startswith("손을"):
        return "tried"
    return "done" if not NOMINAL.match(words) or _DONE.match(after) else "tried"
