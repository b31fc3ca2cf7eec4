"""Which writable fields of a record talk to a reader or break their form: looked at while reading, before anything is masked or cut.

Each distinct value is looked at once. What is kept is a word of a closed list for each field ('hostile_text:name', 'odd_text:uri'),
never the text; so fields that no table keeps can be looked at too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from audit_lab.disguise import canonical
from audit_lab.hostile import FIELDS, look_at, pieces
from audit_lab.orders import TRIGGERS, addresses_reader

WORDS = tuple(f"{kind}:{field}" for field in FIELDS for kind in ("hostile_text", "odd_text"))
_OF_RECORDS = (
    "event_id",
    "user",
    "user_groups",
    "credential_pod",
    "impersonated_user",
    "impersonated_groups",
    "source_ips",
    "user_agent",
    "verb",
    "uri",
    "api_group",
    "api_version",
    "resource",
    "subresource",
    "namespace",
    "name",
    "status_reason",
)
_OF_BODIES = (
    "role_ref",
    "subjects",
    "granted",
    "host_paths",
    "capabilities",
    "images",
    "commands",
    "pod_service_account",
    "owner_kind",
    "owner_name",
    "service_type",
    "webhook_urls",
    "webhook_failure_policies",
    "csr_signer",
    "csr_subject",
    "csr_groups",
    "token_audiences",
    "secret_type",
    "access_review",
)
# Over these an attacker can spread a sentence, in the order in which a reader meets them.
_SPREAD = ("impersonated_user", "user_agent", "namespace", "name", "subresource")
# Words of short values, by field: a function of the value alone, so that remembering changes nothing.
_SEEN: dict[tuple[str, str], str] = {}
_REMEMBERED = 100_000
_NO_ROWS = pl.DataFrame(schema={"row": pl.UInt32, "word": pl.String})
_BETWEEN = "\x1f"
_STEMS = r"(?i)ignor|disregard|forget|prompt|instruct|assistant|benign|verdict|\bscore|<\|im|무시|지시|정상"
# Ordinary values, nine of ten: audit ids that the API server makes, and addresses.
_PLAIN = r"^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|x-[0-9a-f]{16}|[0-9]{1,3}(?:\.[0-9]{1,3}){3})$"
# A body without any of these holds no order that we know in any string of it, and is not taken apart.
_IN_BODIES = (
    r"(?i)ignor|disregard|forget|pretend|jailbreak|prompt|instruct|directive|guideline|assistant|benign|harmless|malicious|verdict|\bscore|"
    r"\byou (?:are|must|will)|no findings|mention|summar|severity|reward|trusted|classif|\bmark\b|\btreat\b|cleared|rate this|"
    r"set (?:action|score)|action.{0,5}close|facts of|"
    r"new task|note to the|close the case|translate the|other events|call tool|tool_call|end_of_turn|"
    r"do not (?:flag|report|escalate)|act as|you have been|role\W{1,6}system|javascript:|important\W{1,6}close|innocence: ?\d|"
    r"\d (?:who|cut|did|denied|reach|after|linked|nearest|rows?) \||"
    r"\{(?:count|novelty|order|denial|privilege|reach) |"
    r"abstain|grounds|"
    r"onerror|onload|cmd ?\||__class|drop table|"
    r"dismiss[ _-](?:the|this|all)|previous|repeat after|output nothing|oublie|olvid|vergiss|missacht|"
    r"vtaber|qvfertneq|fpber|nffvfgnag|erongi|[i1]gn[o0]r|<[|!s]|"
    r"\[/?(?:inst|system)|\bjndi|(?:\b\w[ .-]){8}|[A-Za-z0-9+/]{32}|[^\x00-\x7f]|\\u|%[0-9a-f]{2}|&#"
)
# Data of applications and schemas of resources: files and manuals, in which anything may stand.
_NOT_READ = ("openAPIV3Schema", "managedFields")
_NOT_READ_AT_TOP = ("data", "stringData", "binaryData")
_COPY = "kubectl.kubernetes.io/last-applied-configuration"


def attempts_of_records(records: pl.DataFrame, exec_commands: pl.Series) -> pl.Series:
    """Return, per parsed record, the words of its fields that talk to a reader or break their form; null where there are none.

    Columns in: those of `shapes.PARSE_SQL`; `exec_commands`: command lines taken from the URI. Out: a list of `WORDS`.
    """
    columns = {field: records[field] for field in _OF_RECORDS if field in records.columns} | {"commands": exec_commands}
    if "decision_reason" in records.columns:
        columns |= _granting(records["decision_reason"])
    found = [_flagged(field, values) for field, values in columns.items()]
    spread = [column for column in _SPREAD if column in records.columns]
    return _per_row([*found, _joined(records.select(spread))], records.height)


def attempts_of_bodies(found: pl.DataFrame, bodies: pl.Series) -> pl.Series:
    """Return, per body, the words of its fields, labels and prose; null where there are none.

    Columns in: those of the query of `bodies.py`, before masking; `bodies`: their JSON text. Out: a list of `WORDS`.
    """
    flagged = [_flagged(field, found[field]) for field in _OF_BODIES if field in found.columns]
    flagged.append(_flagged("name", found["body_name"]))
    flagged += [_flagged_by(found["annotations"], _of_annotations), _flagged_by(found["labels"], _of_labels)]
    suspects = pl.select(pl.when(bodies.str.contains(_IN_BODIES)).then(bodies)).to_series()
    flagged.append(_flagged_by(suspects, _of_body, together=False))
    return _per_row(flagged, found.height)


def _granting(reasons: pl.Series) -> dict[str, pl.Series]:
    """Names of the binding and the role in the authorizer's message."""
    frame = reasons.to_frame("reason").select(
        grant_binding=pl.col("reason")
        .str.extract(r'allowed by ((?:ClusterRoleBinding|RoleBinding) "[^"]*)')
        .str.replace(' "', "/", literal=True),
        grant_role=pl.col("reason").str.extract(r'of ((?:ClusterRole|Role) "[^"]*)').str.replace(' "', "/", literal=True),
    )
    return {name: frame[name] for name in frame.columns}


def _look(field: str, values: list[str]) -> dict[str, str]:
    """Look at distinct values of a field; return the word of each that is worth one. What an earlier batch held is remembered."""
    known = {value: _SEEN[field, value] for value in values if (field, value) in _SEEN}
    fresh = _look_afresh(field, [value for value in values if value not in known])
    if len(_SEEN) > _REMEMBERED:
        _SEEN.clear()
    _SEEN.update({(field, value): fresh.get(value, "") for value in values if value not in known and len(value) <= 512})
    return fresh | {value: word for value, word in known.items() if word}


def _look_afresh(field: str, values: list[str]) -> dict[str, str]:
    read = [pieces(value, field) for value in values]
    flat = pl.Series([piece for pieces_ in read for piece in pieces_], dtype=pl.String)
    suspects = set(flat.filter(flat.str.contains(TRIGGERS)))
    kinds = [
        look_at(field, value, found, [piece for piece in found if piece in suspects]) for value, found in zip(values, read, strict=True)
    ]
    return {value: f"{kind}:{field}" for value, kind in zip(values, kinds, strict=True) if kind}


def _flagged(field: str, values: pl.Series) -> pl.DataFrame:
    """Rows of `values` (strings or lists of strings) and their words: columns row, word."""
    if values.dtype == pl.Null or values.dtype == pl.List(pl.Null):
        return _NO_ROWS
    distinct = (values if values.dtype == pl.String else values.drop_nulls().explode(empty_as_null=False)).drop_nulls().unique()
    words = _look(field, distinct.filter(~distinct.str.contains(_PLAIN)).to_list())
    if not words:
        return _NO_ROWS
    rows = values.rename("value").to_frame().with_row_index("row").drop_nulls()
    if values.dtype != pl.String:
        rows = rows.explode("value", empty_as_null=False).drop_nulls()
    return _spread_back(rows, {value: [word] for value, word in words.items()})


def _flagged_by(values: pl.Series, strings_of: Callable[[str], Iterator[tuple[str, str]]], *, together: bool = True) -> pl.DataFrame:
    """As `_flagged`, for texts that hold several strings each: `strings_of` one text, with their fields; `together`: also in a row."""
    rows = values.rename("value").to_frame().with_row_index("row").drop_nulls()
    texts = rows["value"].unique().to_list()
    parts = [list(strings_of(text)) for text in texts]
    known: dict[tuple[str, str], str] = {}
    for field in {field for found in parts for field, _ in found}:
        strings = dict.fromkeys(text for found in parts for where, text in found if where == field)
        known |= {(field, text): word for text, word in _look(field, list(strings)).items()}
    words = {text: [known[part] for part in found if part in known] for text, found in zip(texts, parts, strict=True)}
    if together:
        whole = [_BETWEEN.join(part[:512] for _, part in found[:64]) for found in parts]
        said = set(_said_together(pl.Series(whole, dtype=pl.String)))
        for text, row in zip(texts, whole, strict=True):
            words[text] += ["hostile_text:body"] if row in said else []
    return _spread_back(rows, {text: found for text, found in words.items() if found})


def _spread_back(rows: pl.DataFrame, words: dict[str, list[str]]) -> pl.DataFrame:
    if not words:
        return _NO_ROWS
    table = pl.DataFrame({"value": list(words), "word": list(words.values())}, schema={"value": pl.String, "word": pl.List(pl.String)})
    return rows.join(table, on="value", how="inner").select("row", "word").explode("word", empty_as_null=False)


def _per_row(found: Sequence[pl.DataFrame], height: int) -> pl.Series:
    order = pl.DataFrame({"word": WORDS}).with_row_index("place")
    words = pl.concat(found).unique().join(order, on="word").sort("row", "place").group_by("row", maintain_order=True).agg("word")
    rows = pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
    return rows.join(words, on="row", how="left", maintain_order="left")["word"].rename("attempts")


def _joined(records: pl.DataFrame) -> pl.DataFrame:
    """Sentences spread over the fields of a record, each part harmless by itself: columns row, word."""
    rows = records.select(value=pl.concat_str(pl.all(), separator=_BETWEEN, ignore_nulls=True)).with_row_index("row")
    return _spread_back(rows, {text: ["hostile_text:joined"] for text in _said_together(rows["value"].unique())})


def _said_together(texts: pl.Series) -> list[str]:
    """Return the texts whose parts (split at `_BETWEEN`) say in a row, in either direction, what no part says alone."""
    stems = texts.str.replace_all(_BETWEEN, " ").str.contains(_STEMS) | texts.str.replace_all(_BETWEEN, "").str.contains(_STEMS)
    return [text for text in texts.filter(stems).to_list() if _is_said_together(text.split(_BETWEEN))]


def _is_said_together(parts: list[str]) -> bool:
    parts = [canonical(part[:512]) for part in parts[:64] if part]
    if len(parts) < 2:
        return False
    said = any(addresses_reader(text, "prose") for row in (parts, parts[::-1]) for text in (" ".join(row), "".join(row)))
    return said and not any(addresses_reader(part, "prose") for part in parts)


def _of_labels(text: str) -> Iterator[tuple[str, str]]:
    for key, value in _object(text).items():
        yield "labels", key
        if isinstance(value, str):
            yield "labels", value


def _of_annotations(text: str) -> Iterator[tuple[str, str]]:
    """Keys have the form of label keys; values are prose, and kubectl's copy of the object is read like the object."""
    for key, value in _object(text).items():
        yield "labels", key
        if key == _COPY and isinstance(value, str):
            yield from _strings(_object(value))
        elif isinstance(value, str):
            yield "body", value


def _of_body(text: str) -> Iterator[tuple[str, str]]:
    return _strings(_object(text))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _strings(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """All strings below a value that somebody may have written as prose."""
    if isinstance(value, str):
        if len(value) > 5 and not re.fullmatch(r"[a-z0-9.:/-]{1,24}", value):
            yield "body", value
    elif isinstance(value, dict) and depth < 40:
        for key, item in value.items():
            if key not in _NOT_READ and key != _COPY and (depth or key not in _NOT_READ_AT_TOP):
                yield from _strings(item, depth + 1)
    elif isinstance(value, list) and depth < 40:
        for item in value:
            yield from _strings(item, depth + 1)
