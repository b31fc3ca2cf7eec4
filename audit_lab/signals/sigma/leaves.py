"""One comparison of a typed field with a Sigma value, as SQL.

A comparison is never an error because of types: a text against a number column compares as a number where it
is one and is false where it is not. The result is true, false or null; null counts as false, and the backend
makes it so wherever it negates. FALSE and TRUE are returned as these words, so that callers can fold them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

import duckdb
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.types import CompareOperators, SigmaRegularExpression, SigmaString, SpecialChars

from audit_lab.signals.sigma.fields import Field, literal

TRUE, FALSE = "TRUE", "FALSE"
_OPERATORS = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "<>",
}


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
    if parts and all(part == SpecialChars.WILDCARD_MULTI for part in parts):
        return exists_leaf(field)
    if field.kind in ("text", "texts"):
        return _text_in_text(field, parts, cased)
    plain = "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None
    if plain is None or field.kind == "time":
        as_text = Field("text", f"CAST({field.sql} AS VARCHAR)")
        return _text_in_text(as_text, parts, cased)
    if field.kind == "boolean":
        words = {"true": TRUE, "1": TRUE, "false": FALSE, "0": FALSE}
        word = words.get(plain.strip().lower())
        return FALSE if word is None else f"{field.sql} = {word}"
    if not re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", plain):
        return FALSE
    return f"{field.sql} = {plain.strip()}"


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
        return any_element(field, lambda x: f"TRY_CAST({x} AS DOUBLE) {sign} {number}")
    if field.kind == "boolean":
        return f"CAST({field.sql} AS INTEGER) {sign} {number}"
    return FALSE if field.kind == "time" else f"{field.sql} {sign} {number}"


def exists_leaf(field: Field) -> str:
    """Return whether `field` has a value; an empty list has none."""
    return f"len({field.sql}) > 0" if field.kind == "texts" else f"{field.sql} IS NOT NULL"


def regex_leaf(field: Field, expression: SigmaRegularExpression) -> str:
    """Return whether the regular expression is found in `field` (RE2 syntax, as DuckDB has it)."""
    pattern = expression.escape(escaped=[], escape_char="", escape_escape_char=False)
    problem = _regex_problem(pattern)
    if problem:
        raise SigmaFeatureNotSupportedByBackendError(f"regular expression not supported: {problem}")
    target = field if field.kind in ("text", "texts") else Field("text", f"CAST({field.sql} AS VARCHAR)")
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
    if field.kind == "texts" and other.kind == "texts":
        folded = [f"list_transform({side.sql}, lambda x: lower(x))" for side in (field, other)]
        return f"list_has_any({folded[0]}, {folded[1]})"
    if field.kind != "texts" and other.kind == "texts":
        inner = _reference("y", f"CAST({field.sql} AS VARCHAR)", starts, ends)
        return f"list_bool_or(list_transform({other.sql}, lambda y: {inner}))"
    if field.kind in ("integer", "number", "boolean", "time") and field.kind == other.kind and not (starts or ends):
        return f"{field.sql} = {other.sql}"
    left = field if field.kind in ("text", "texts") else Field("text", f"CAST({field.sql} AS VARCHAR)")
    return any_element(left, lambda x: _reference(f"CAST({other.sql} AS VARCHAR)", x, starts, ends))


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


def _in_ipv4(x: str, network: ipaddress.IPv4Network) -> str:
    # An IPv4 address may be written as mapped into IPv6.
    address = f"regexp_replace(lower({x}), '^::ffff:', '')"
    octets = str(network.network_address).split(".")
    whole, rest = divmod(network.prefixlen, 8)
    terms = [f"regexp_full_match({address}, '[0-9]{{1,3}}([.][0-9]{{1,3}}){{3}}')"]
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
    address = f"lower({x})"
    head, tail = f"split_part({address}, '::', 1)", f"split_part({address}, '::', 2)"
    groups = [f"list_filter(string_split({side}, ':'), lambda h: h <> '')" for side in (head, tail)]
    zeros = f"list_transform(range(greatest(0, 8 - len({groups[0]}) - len({groups[1]}))), lambda z: '0')"
    digits = f"array_to_string(list_transform({groups[0]} || {zeros} || {groups[1]}, lambda h: lpad(h, 4, '0')), '')"
    bits = network.network_address.packed.hex()
    whole, rest = divmod(network.prefixlen, 4)
    terms = [f"contains({address}, ':')", f"len({digits}) = 32"]
    if whole:
        terms.append(f"starts_with({digits}, {literal(bits[:whole])})")
    if rest:
        first = int(bits[whole], 16)
        last = first + (1 << (4 - rest)) - 1
        terms.append(f"substr({digits}, {whole + 1}, 1) BETWEEN '{first:x}' AND '{last:x}'")
    return "(" + " AND ".join(terms) + ")"
