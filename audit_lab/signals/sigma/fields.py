"""What a Sigma field is in a typed table: its kind, its SQL, and where it can be judged at all.

>>> import polars as pl
>>> fields_of({"verb": pl.String(), "images": pl.List(pl.String())})["images"].kind
'texts'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

Kind = Literal["text", "texts", "integer", "number", "boolean", "time"]


@dataclass(frozen=True)
class Field:
    """A field that a rule may name.

    Parameters
    ----------
    kind
        Type of its values; `texts` is a list of texts, which matches when any element does.
    sql
        SQL expression over the columns of the table.
    lower
        Values are known to be lower case: comparisons need no `lower()`.
    available
        SQL condition under which the event shows this field at all; None = always. A body field of an
        event whose body was cut or never logged is not null, it is unknown.
    """

    kind: Kind
    sql: str
    lower: bool = False
    available: str | None = None


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier.

    >>> identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a SQL string literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def fields_of(schema: Mapping[str, Any]) -> dict[str, Field]:
    """Return one field per column of a Polars schema; columns of other types than `Kind` knows are left out."""
    found: dict[str, Field] = {}
    for name, dtype in schema.items():
        kind = _kind(dtype)
        if kind is not None:
            found[name] = Field(kind, identifier(name))
    return found


def _kind(dtype: Any) -> Kind | None:
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    if dtype == pl.List(pl.String):
        return "texts"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    return "time" if dtype.is_temporal() else None
