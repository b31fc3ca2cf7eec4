"""One comparison of a typed field with a Sigma value, as SQL.

A comparison is never an error because of types: a text against a number column compares as a number where it
is one and is false where it is not. The result is true, false or null; null counts as false, and the backend
makes it so wherever it negates. FALSE and TRUE are returned as these words, so that callers can fold them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import duckdb
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.types import CompareOperators, Placeholder, SigmaRegularExpression, SigmaString, SpecialChars, TimestampPart

from audit_lab.signals.sigma.fields import Field, literal

TRUE, FALSE = "TRUE", "FALSE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATORS = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "<>",
}


def join(parts: list[str | None], word: str) -> str:
    """Join SQL conditions, folding TRUE and FALSE; grouped whenever there is more than one."""
    neutral, absorbing = (FALSE, TRUE) if word == "OR" else (TRUE, FALSE)
    kept = list(dict.fromkeys(part for part in parts if part is not None and part != neutral))
    if absorbing in kept:
        return absorbing
    if len(kept) < 2:
        return kept[0] if kept else neutral
    other = " OR " if word == "AND" else " AND "
    return f" {word} ".join(f"({part})" if other in part else part for part in kept)


def judged(leaf: str, available: str | None, negated: bool, absent: bool = False) -> str:
    """Return what may count of a comparison where its field cannot be seen: neither the match nor its negation.

    Three values in two: inside an odd number of negations a comparison stands for 'may be true', elsewhere for 'is true', so
    that whatever is built of them holds only where it would whatever the unseen field says. A value that shows is seen.

    >>> judged("a = 1", "seen", negated=True), judged("a IS NULL", "seen", negated=False, absent=True)
    ('NOT COALESCE(seen, FALSE) OR a = 1', 'COALESCE(seen, FALSE) AND a IS NULL')
    """
    if available is None or leaf in (TRUE, FALSE) or negated == absent:
        return leaf
    if absent:
        return f"COALESCE({available}, FALSE) AND {leaf}"
    return f"NOT COALESCE({available}, FALSE) OR {leaf if ' AND ' not in leaf else f'({leaf})'}"


def any_element(field: Field, predicate: Callable[[str], str]) -> str:
    """Return `predicate` over a text field, or over any element of a list field."""
    if field.kind != "texts":
        return predicate(field.sql)
    return f"list_bool_or(list_transform({field.sql}, lambda x: {predicate('x')}))"


def text_leaf(field: Field, value: SigmaString, cased: bool) -> str:
    """Return `field` = text with wildcards; without `cased` upper and lower case are the same."""
    parts: list[object] = [part for part in value.s if part != ""]
    if any(isinstance(part, str) and "\x00" in part for part in parts):
        raise SigmaFeatureNotSupportedByBackendError("a text with a NUL character cannot be searched")
    _no_placeholder(parts)
    if parts and all(part == SpecialChars.WILDCARD_MULTI for part in parts):
        return exists_leaf(field)
    if field.kind in ("text", "texts"):
        return _text_in_text(field, parts, cased)
    if not all(isinstance(part, str) for part in parts):
        return _text_in_text(Field("text", as_text(field)), parts, cased)
    return _text_in_typed(field, "".join(map(str, parts)))


def _text_in_typed(field: Field, plain: str) -> str:
    """Return a text without wildcards compared with a time, truth value or number: as one of these, or false."""
    if field.kind == "time":
        moment = _moment(plain)
        return FALSE if moment is None else f"epoch_us({field.sql}) = {moment}"
    if field.kind == "boolean":
        words = {"true": TRUE, "1": TRUE, "false": FALSE, "0": FALSE}
        word = words.get(plain.strip().lower())
        return FALSE if word is None else f"{field.sql} = {word}"
    if not re.fullmatch(r"\s*[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?\s*", plain):
        return FALSE
    return f"{field.sql} = {plain.strip()}"


def as_text(field: Field) -> str:
    """Return SQL that writes a value that is no text as one; a time as the API server writes it, 2026-01-05T07:30:00.000000Z."""
    if field.kind == "time":
        return f"strftime(make_timestamp(epoch_us({field.sql})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({field.sql} AS VARCHAR)"


def _moment(text: str) -> int | None:
    """Return a written time in microseconds since 1970, UTC where it names no zone, or None where it is no time."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def _no_placeholder(parts: Sequence[object]) -> None:
    for part in parts:
        if isinstance(part, Placeholder):
            raise SigmaFeatureNotSupportedByBackendError(
                f"the placeholder '%{part.name}%' was not filled in: give a pipeline that expands it"
            )


def _text_in_text(field: Field, parts: list[object], cased: bool) -> str:
    fold = not cased and not field.lower
    multi = SpecialChars.WILDCARD_MULTI
    texts = [part for part in parts if isinstance(part, str)]

    def left(x: str) -> str:
        return f"lower({x})" if fold else x

    def right(text: str) -> str:
        if cased:
            return literal(text)
        # Python and SQL fold some letters differently: outside ASCII let SQL fold both sides.
        return literal(text.lower()) if text.isascii() else f"lower({literal(text)})"

    if len(texts) == len(parts):
        text = "".join(texts)
        if field.kind == "texts" and not fold:
            return f"list_contains({field.sql}, {right(text)})"
        return any_element(field, lambda x: f"{left(x)} = {right(text)}")
    if len(texts) == 1 and all(part == multi or isinstance(part, str) for part in parts):
        starts, ends = parts[0] != multi, parts[-1] != multi
        if not starts and not ends:
            return any_element(field, lambda x: f"contains({left(x)}, {right(texts[0])})")
        if len(parts) == 2:
            function = "starts_with" if starts else "ends_with"
            return any_element(field, lambda x: f"{function}({left(x)}, {right(texts[0])})")
    pattern = "".join(
        "%" if part == multi else "_" if part == SpecialChars.WILDCARD_SINGLE else re.sub(r"([\\%_])", r"\\\1", str(part))
        for part in parts
    )
    return any_element(field, lambda x: f"{left(x)} LIKE {right(pattern)} ESCAPE '\\'")


def number_leaf(field: Field, number: float) -> str:
    """Return `field` = number."""
    if field.kind in ("text", "texts"):
        return any_element(field, lambda x: f"{x} = {literal(str(number))}")
    if field.kind == "boolean":
        return f"{field.sql} = {TRUE if number else FALSE}" if number in (0, 1) else FALSE
    return FALSE if field.kind == "time" else f"{field.sql} = {number}"


def boolean_leaf(field: Field, value: bool) -> str:
    """Return `field` = true or false; a text column compares with the word, a number with 1 or 0."""
    word = TRUE if value else FALSE
    if field.kind == "boolean":
        return f"{field.sql} = {word}"
    if field.kind in ("text", "texts"):
        return any_element(field, lambda x: f"lower({x}) = {literal(word.lower())}")
    return FALSE if field.kind == "time" else f"{field.sql} = {int(value)}"


def compare_leaf(field: Field, operator: CompareOperators, number: float) -> str:
    """Return `field` < number and its like; a text that is no number compares false."""
    sign = _OPERATORS[operator]
    if field.kind in ("text", "texts"):
        # 'nan' and 'inf' are words here: as numbers they would be greater than every other.
        return any_element(field, lambda x: f"isfinite(TRY_CAST({x} AS DOUBLE)) AND TRY_CAST({x} AS DOUBLE) {sign} {number}")
    if field.kind == "boolean":
        return f"CAST({field.sql} AS INTEGER) {sign} {number}"
    return FALSE if field.kind == "time" else f"{field.sql} {sign} {number}"


def time_part_leaf(field: Field, part: TimestampPart, number: float) -> str:
    """Return `part` of a time, UTC (the week is ISO's) = number; a text that is no time compares false."""
    if field.kind not in ("time", "text", "texts"):
        return FALSE

    def build(x: str) -> str:
        return f"{part.name.lower()}(make_timestamp(epoch_us({x}))) = {number}"

    if field.kind == "time":
        return build(field.sql)
    return any_element(field, lambda x: build(f"TRY_CAST({x} AS TIMESTAMPTZ)"))


def exists_leaf(field: Field) -> str:
    """Return whether `field` has a value; an empty list has none."""
    return f"len({field.sql}) > 0" if field.kind == "texts" else f"{field.sql} IS NOT NULL"


def regex_leaf(field: Field, expression: SigmaRegularExpression) -> str:
    """Return whether the regular expression is found in `field` (RE2 syntax, as DuckDB has it)."""
    _no_placeholder(expression.regexp.s)
    pattern = expression.escape(escaped=[], escape_char="", escape_escape_char=False)
    problem = _regex_problem(pattern)
    if problem:
        raise SigmaFeatureNotSupportedByBackendError(f"regular expression not supported: {problem}")
    target = field if field.kind in ("text", "texts") else Field("text", as_text(field))
    return any_element(target, lambda x: f"regexp_matches({x}, {literal(pattern)})")


@lru_cache(maxsize=4096)
def _regex_problem(pattern: str) -> str:
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute("SELECT regexp_matches('', $1)", [pattern]).fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
    return ""


def reference_leaf(field: Field, other: Field, starts: bool, ends: bool) -> str:
    """Return `field` = another field of the same event, or starts with, ends with or contains (both flags) it."""
    kinds = {field.kind, other.kind}
    if not (starts or ends):
        if kinds <= {"integer", "number"} or (len(kinds) == 1 and kinds <= {"boolean", "time"}):
            return f"{field.sql} = {other.sql}"
        if kinds & {"integer", "number"} and "text" in kinds:
            return " = ".join(side.sql if side.kind != "text" else f"TRY_CAST({side.sql} AS DOUBLE)" for side in (field, other))
    left, right = (side if side.kind in ("text", "texts") else Field("text", as_text(side)) for side in (field, other))
    if right.kind != "texts":
        return any_element(left, lambda x: _reference(right.sql, x, starts, ends))
    inner = any_element(left, lambda x: _reference("y", x, starts, ends))
    return f"list_bool_or(list_transform({right.sql}, lambda y: {inner}))"


def _reference(needle: str, x: str, starts: bool, ends: bool) -> str:
    left, right = f"lower({x})", f"lower({needle})"
    if starts and ends:
        return f"contains({left}, {right})"
    if starts:
        return f"starts_with({left}, {right})"
    return f"ends_with({left}, {right})" if ends else f"{left} = {right}"


def cidr_leaf(field: Field, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """Return whether an address lies in `network`; texts that are no address compare false."""
    if field.kind not in ("text", "texts"):
        return FALSE
    if isinstance(network, ipaddress.IPv4Network):
        return any_element(field, lambda x: _in_ipv4(x, network))
    return any_element(field, lambda x: _in_ipv6(x, network))


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = f"{_OCTET}([.]{_OCTET}){{3}}"


def _in_ipv4(x: str, network: ipaddress.IPv4Network) -> str:
    # An IPv4 address may be written as mapped into IPv6.
    address = f"regexp_replace(lower({x}), '^::ffff:', '')"
    octets = str(network.network_address).split(".")
    whole, rest = divmod(network.prefixlen, 8)
    terms = [f"regexp_full_match({address}, '{_IPV4}')"]
    if whole:
        prefix = ".".join(octets[:whole])
        terms.append(f"{address} = {literal(prefix)}" if whole == 4 else f"starts_with({address}, {literal(prefix + '.')})")
    if rest:
        first = int(octets[whole])
        last = first + (1 << (8 - rest)) - 1
        terms.append(f"TRY_CAST(split_part({address}, '.', {whole + 1}) AS INTEGER) BETWEEN {first} AND {last}")
    return "(" + " AND ".join(terms) + ")"


def _in_ipv6(x: str, network: ipaddress.IPv6Network) -> str:
    # Write the address out as 32 hex digits, then compare the leading ones and, where the prefix ends inside one, its range.
    tail = f"regexp_extract(lower({x}), '{_IPV4}$')"
    octets = ", ".join(f"CAST(split_part({tail}, '.', {n}) AS INTEGER)" for n in (1, 2, 3, 4))
    hexed = f"format('{{:02x}}{{:02x}}:{{:02x}}{{:02x}}', {octets})"
    address = f"CASE WHEN {tail} <> '' THEN regexp_replace(lower({x}), '{_IPV4}$', {hexed}) ELSE lower({x}) END"
    sides = [f"list_filter(string_split(split_part(a, '::', {n}), ':'), lambda h: h <> '')" for n in (1, 2)]
    zeros = f"list_transform(range(greatest(0, 8 - len({sides[0]}) - len({sides[1]}))), lambda z: '0')"
    digits = f"array_to_string(list_transform({sides[0]} || {zeros} || {sides[1]}, lambda h: lpad(h, 4, '0')), '')"
    bits = network.network_address.packed.hex()
    whole, rest = divmod(network.prefixlen, 4)
    terms = [
        "regexp_full_match(a, '([0-9a-f]{1,4}:|:)+([0-9a-f]{1,4}|:)')", "NOT regexp_matches(a, ':::|::.*::|^:[^:]|[^:]:$')",
        f"len({digits}) = 32",
    ]
    if whole:
        terms.append(f"starts_with({digits}, {literal(bits[:whole])})")
    if rest:
        first = int(bits[whole], 16)
        last = first + (1 << (4 - rest)) - 1
        terms.append(f"substr({digits}, {whole + 1}, 1) BETWEEN '{first:x}' AND '{last:x}'")
    terms.append("(contains(a, '::') OR len(string_split(a, ':')) = 8)")
    # One element list: the way to name a value once inside an expression.
    return f"list_transform([{address}], lambda a: {' AND '.join(terms)})[1]"
