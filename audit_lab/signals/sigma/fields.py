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
    """Return one field per column of a Polars schema, or of a DuckDB table as {column: type}; columns of other types are left out.

    >>> import duckdb
    >>> table = duckdb.sql("SELECT 'get' AS verb, 200::SMALLINT AS status, ['a'] AS groups, {'a': 1} AS rest")
    >>> {name: field.kind for name, field in fields_of(dict(zip(table.columns, table.types, strict=True))).items()}
    {'verb': 'text', 'status': 'integer', 'groups': 'texts'}
    """
    found: dict[str, Field] = {}
    for name, dtype in schema.items():
        kind = _kind(dtype) if isinstance(dtype, type(pl.String) | pl.DataType) else _duckdb_kind(str(dtype))
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
    return "time" if dtype in (pl.Datetime, pl.Date) else None


def _duckdb_kind(name: str) -> Kind | None:
    if name in ("VARCHAR", "UUID") or name.startswith("ENUM"):
        return "text"
    if name == "VARCHAR[]":
        return "texts"
    if name == "BOOLEAN":
        return "boolean"
    if name in ("FLOAT", "DOUBLE") or name.startswith("DECIMAL"):
        return "number"
    if name.endswith("INT") or name == "INTEGER":
        return "integer"
    return "time" if name == "DATE" or name.startswith("TIMESTAMP") else None
