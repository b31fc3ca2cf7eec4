"""A second reading of the Sigma specification, in plain Python over one event: what a rule should say, without SQL and without pySigma.

It knows nothing of how the backend works: it takes a rule's detection as written and a row as a dict, and answers yes or no.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from datetime import UTC, datetime
from typing import Any

WILD = {"*": ".*", "?": "."}


def tokens(text: str) -> list[tuple[bool, str]]:
    """Split a value into (is_wildcard, character); a backslash before a wildcard or a backslash takes its meaning away."""
    found, i = [], 0
    while i < len(text):
        if text[i] == "\\" and i + 1 < len(text) and text[i + 1] in "*?\\":
            found.append((False, text[i + 1]))
            i += 2
            continue
        found.append((text[i] in WILD, text[i]))
        i += 1
    return found


def literally(text: str) -> list[tuple[bool, str]]:
    return [(False, character) for character in text]


STAR = (True, "*")


def widened(value: list[tuple[bool, str]], modifiers: list[str]) -> list[tuple[bool, str]]:
    if "contains" in modifiers or "endswith" in modifiers:
        value = value if value[:1] == [STAR] else [STAR, *value]
    if "contains" in modifiers or "startswith" in modifiers:
        value = value if value[-1:] == [STAR] else [*value, STAR]
    return value


def fits(text: str, value: list[tuple[bool, str]], cased: bool) -> bool:
    pattern = "".join(WILD[c] if wild else re.escape(c if cased else c.lower()) for wild, c in value)
    return re.fullmatch(pattern, text if cased else text.lower(), re.DOTALL) is not None


def written(value: Any) -> str:
    """A typed value as text, as the table would print it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def as_number(text: Any) -> float | None:
    if isinstance(text, bool):
        return float(text)
    if isinstance(text, int | float):
        return float(text)
    if isinstance(text, str) and re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text):
        return float(text)
    return None


def as_time(text: Any) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        made = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return made.replace(tzinfo=made.tzinfo or UTC).astimezone(UTC)


def one_text(have: Any, value: list[tuple[bool, str]], cased: bool) -> bool:
    if isinstance(have, str):
        return fits(have, value, cased)
    if any(wild for wild, _ in value):
        return fits(written(have), value, cased)
    text = "".join(c for _, c in value)
    if isinstance(have, datetime):
        return as_time(text) == have
    if isinstance(have, bool):
        return text.strip().lower() in (("true", "1") if have else ("false", "0"))
    number = as_number(text)
    return number is not None and number == have


def encoded(text: str, modifiers: list[str]) -> list[str]:
    data = text.encode("utf-16-le") if "wide" in modifiers else text.encode("utf-16-be") if "utf16be" in modifiers else (
        b"\xff\xfe" + text.encode("utf-16-le") if "utf16" in modifiers else text.encode())
    if "base64" in modifiers:
        return [base64.b64encode(data).decode()]
    whole = []
    for shift in range(3):
        bits = base64.b64encode(b"\0" * shift + data).decode()
        # Only the characters that come from the data alone.
        first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
        whole.append(bits[first:last])
    return whole


def element(row: dict[str, Any], have: Any, modifiers: list[str], value: Any) -> bool:  # noqa: PLR0911
    """One value of the event (no list any more) against one value of the rule."""
    if have is None:
        return False
    if "fieldref" in modifiers:
        others = row[value] if isinstance(row[value], list) else [row[value]]
        return any(referred(have, other, modifiers) for other in others if other is not None)
    if "re" in modifiers:
        flags = sum({"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}[m] for m in modifiers if m in "ims")
        return re.search(value, written(have), flags) is not None
    if "cidr" in modifiers:
        return in_network(have, value)
    for name in ("minute", "hour", "day", "week", "month", "year"):
        if name in modifiers:
            moment = as_time(have)
            return moment is not None and (moment.isocalendar().week if name == "week" else getattr(moment, name)) == value
    compare = {"lt": "__lt__", "lte": "__le__", "gt": "__gt__", "gte": "__ge__"}.keys() & set(modifiers)
    if compare:
        number = None if isinstance(have, datetime) else as_number(have)
        return number is not None and bool(getattr(number, {"lt": "__lt__", "lte": "__le__", "gt": "__gt__", "gte": "__ge__"}[compare.pop()])(float(value)))
    if isinstance(value, bool):
        return have.lower() == written(value) if isinstance(have, str) else not isinstance(have, datetime) and have == value
    if isinstance(value, int | float):
        return have == str(value) if isinstance(have, str) else not isinstance(have, datetime) and have == value
    if modifiers and {"base64", "base64offset"} & set(modifiers):
        return any(one_text(have, widened(literally(text), modifiers), "cased" in modifiers) for text in encoded(value, modifiers))
    return one_text(have, widened(tokens(value), modifiers), "cased" in modifiers)


def referred(have: Any, other: Any, modifiers: list[str]) -> bool:
    if not {"contains", "startswith", "endswith"} & set(modifiers):
        if isinstance(have, bool) == isinstance(other, bool) and type(have) is type(other) and not isinstance(have, str):
            return bool(have == other)
        if not isinstance(have, bool | datetime) and not isinstance(other, bool | datetime) and not (isinstance(have, str) and isinstance(other, str)):
            return as_number(have) is not None and as_number(have) == as_number(other)
    x, y = written(have).lower(), written(other).lower()
    return y in x if "contains" in modifiers else x.startswith(y) if "startswith" in modifiers else x.endswith(y) if "endswith" in modifiers else x == y


def in_network(have: Any, network: str) -> bool:
    try:
        address = ipaddress.ip_address(have) if isinstance(have, str) else None
    except ValueError:
        return False
    if address is None:
        return False
    net = ipaddress.ip_network(network)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None and net.version == 4:
        address = address.ipv4_mapped
    return address.version == net.version and address in net


def item(row: dict[str, Any], key: str, value: Any) -> bool:
    field, *modifiers = key.split("|")
    have = row.get(field)
    present = bool(have) if isinstance(have, list) else have is not None

    def holds(one: Any) -> bool:
        if one is None:
            return not present
        if "exists" in modifiers:
            return present == one
        if one == "*" and not {"re", "fieldref"} & set(modifiers):
            return present
        return any(element(row, x, modifiers, one) for x in (have if isinstance(have, list) else [have]))

    values = value if isinstance(value, list) else [value]
    answer = (all if "all" in modifiers else any)(holds(one) for one in values)
    return answer != ("neq" in modifiers)


def detection(row: dict[str, Any], written_as: Any) -> bool:
    if isinstance(written_as, dict):
        return all(item(row, key, value) for key, value in written_as.items())
    return any(detection(row, one) if isinstance(one, dict) else keyword(row, one) for one in written_as)


def keyword(row: dict[str, Any], value: Any) -> bool:
    texts = [text for have in row.values() for text in (have if isinstance(have, list) else [have]) if isinstance(text, str)]
    return any(fits(text, [STAR, *tokens(str(value)), STAR], False) for text in texts)


def condition(row: dict[str, Any], tree: Any, selections: dict[str, Any]) -> bool:
    """Evaluate a condition tree: ('sel', name), ('not', t), ('and', t, …), ('or', t, …), ('of', '1'|'all', prefix)."""
    match tree:
        case ("sel", name):
            return detection(row, selections[name])
        case ("not", inner):
            return not condition(row, inner, selections)
        case ("of", how, prefix):
            named = [name for name in selections if name.startswith(prefix) and not name.startswith("_")]
            return (any if how == "1" else all)(detection(row, selections[name]) for name in named)
        case (word, *parts):
            return (all if word == "and" else any)(condition(row, part, selections) for part in parts)
    raise ValueError(tree)


def condition_text(tree: Any) -> str:
    match tree:
        case ("sel", name):
            return str(name)
        case ("not", inner):
            return f"not ({condition_text(inner)})"
        case ("of", how, prefix):
            return f"{how} of {prefix}*" if prefix else f"{how} of them"
        case (word, *parts):
            return "(" + f" {word} ".join(condition_text(part) for part in parts) + ")"
    raise ValueError(tree)
