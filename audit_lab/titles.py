"""Names of people, teams and roles: few words written large, in any script, a token of an identity provider, or a distinguished name."""

from __future__ import annotations

import re
import unicodedata

_PARTICLES = frozenset((
    *("de", "la", "le", "las", "los", "del", "da", "das", "do", "dos", "di", "du", "des", "van", "der", "den", "von", "vom", "zu", "zur"),
    *("bin", "ibn", "al", "el", "y", "e", "i", "og", "och", "und", "and", "of", "for", "the", "at", "in", "af", "av", "ten", "ter", "st"),
))
# Of distinguished names (RFC 4514) and their usual extensions.
_DN_KEY = (
    r"(?:cn|ou|o|dc|c|l|st|s|uid|sn|gn|mail|email|emailaddress|e|t|title|"
    r"street|serialnumber|postalcode|givenname|dnqualifier|[0-9]+(?:\.[0-9]+)+)"
)
_DN = re.compile(
    rf"(?:[a-z0-9_.-]{{1,64}}:)?{_DN_KEY}=[^=<>\"{{}}|`;]{{1,128}}(?:[,/+] ?{_DN_KEY}=[^=<>\"{{}}|`;]{{1,128}}){{0,24}}", re.IGNORECASE
)
_KOREAN_ENDING = re.compile(r"(?:니다|세요|시오|하라|해라|마라|어요|아요|해요|주세|줘|바람|십시|이니|므로|이다|한다|된다)$")


def is_titled(words: list[str], most: int, lower: int) -> bool:
    """Tell whether words are a title or the name of somebody: few, written large but for particles, no end of a sentence among them."""
    if not 1 <= len(words) <= most:
        return False
    small = sum(1 for word in words if word.isascii() and word.isalpha() and word.islower() and word not in _PARTICLES)
    if small > (1 if any(word[:1].isupper() for word in words) else lower):
        return False
    for place, word in enumerate(words):
        bare = (
            word
            if word.isascii()
            else "".join(char for char in word if not unicodedata.category(char).startswith("M") and char not in "\u200c\u200d")
        )
        if not re.fullmatch(r"[\w.'’,&()/@:+#·・-]{1,128}", bare) or (not re.search(r"[^\W_]", bare) and bare not in ("-", "&", "/", "·")):
            return False
        if (bare[-1] == "." and len(bare) > 5) or (
            bare[-1] == ":" and (not bare[0].isupper() or (place + 1 < len(words) and not words[place + 1][0].isupper()))
        ):
            return False
        if (_KOREAN_ENDING.search(word) and len(words) > 1) or re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{21}", word):
            return False
    return sum("\uac00" <= word[0] <= "\ud7a3" for word in words) <= 4


def person(text: str, most: int = 7, lower: int = 2) -> bool:
    """User and group names: one token of an identity provider, a distinguished name, or the name of a person or team in any script."""
    if not text or len(text) > 512:
        return not text
    if _DN.fullmatch(text):
        return all(
            is_titled(re.split(r" +", value.strip().replace("\\", "")) or [""], 8, 4)
            for value in re.findall(r"=([^=]*?)(?=[,/+] ?[\w.]+=|$)", text)
        )
    match = re.fullmatch(r"(.{1,128}) <([^<>\s]+@[^<>\s]+)>", text)
    if match:
        text = match.group(1)
    if " " not in text:
        text = text.replace("?", "") if "://" in text else text
        return (
            len(text) <= 256
            and bool(re.fullmatch(r"(?:[\w.:@#/|=+,'&()\\~$*-]|%[0-9A-Fa-f]{2})*", text))
            and bool(re.search(r"\w", text))
            and (text.isascii() or is_titled([re.sub(r"[:@#/|=+,&()\\~$*]", "-", text)], 1, 1))
        )
    return is_titled(text.split(" "), most, lower)


def group(text: str) -> bool:
    """Names of groups: as those of users, with more small words."""
    return person(text, 8, 3)
