"""Read one archive: lines in, event rows and quarantine rows out, in batches that bound memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import duckdb
import polars as pl
import pyarrow as pa

from audit_lab import tables
from audit_lab.archive.attempts import attempts_of_records
from audit_lab.archive.bodies import extract_bodies
from audit_lab.archive.files import ByteCount, Lines, read_lines
from audit_lab.archive.shapes import KEYS_SQL, KNOWN_KEYS, PARSE_SQL
from audit_lab.classes import actor_kind, client_family, command_classes, grant_classes, map_distinct, source_class
from audit_lab.duck import connect, query
from audit_lab.masking import TOKEN_NAMED_RESOURCES, excerpt, mask, mask_lists, mask_name, mask_text
from audit_lab.profile import ArchiveSettings

_TEXTS = pl.List(pl.String)
_COMMAND_PARAMETER = r"\b(?:command|cmd)=[^&]*&?"


@dataclass
class Reading:
    """What was seen while an archive was read."""

    count: ByteCount = field(default_factory=ByteCount)
    n_records: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    unknown_keys: Counter[str] = field(default_factory=Counter)
    bad_utf8: int = 0
    quarantine: list[dict[str, object]] = field(default_factory=list)


def read_archive(
    path: Path, settings: ArchiveSettings, cluster: str, reading: Reading, advance: Callable[[int], None] | None = None
) -> Iterator[pl.DataFrame]:
    """Yield batches of event rows: every column of table events but `archive_id` (known only at the end).

    One row per record that is an audit event, stages not yet merged. `reading` is filled on the way;
    `advance` is called with the decompressed bytes of each batch.

    Raises
    ------
    InputError
        When the file cannot be opened, is empty or no text.
    """
    connection = connect()
    try:
        done = 0
        for lines in read_lines(path, settings.batch_mib << 20, reading.count):
            reading.n_records += len(lines.text)
            yield read_batch(connection, lines, settings, cluster, reading)
            if advance:
                advance(reading.count.total - done)
                done = reading.count.total
    finally:
        connection.close()


def read_batch(
    connection: duckdb.DuckDBPyConnection, lines: Lines, settings: ArchiveSettings, cluster: str, reading: Reading
) -> pl.DataFrame:
    """Return the event rows of a batch of lines; what is no event goes to `reading.quarantine`."""
    try:
        text = pa.array([piece.decode("utf-8") for piece in lines.text], pa.large_string())
    except UnicodeDecodeError:
        decoded = [piece.decode("utf-8", "replace") for piece in lines.text]
        reading.bad_utf8 += sum(1 for piece, clean in zip(lines.text, decoded, strict=True) if piece != clean.encode())
        text = pa.array(decoded, pa.large_string())
    batch = pa.table({
        "text": text, "position": lines.position, "line": lines.line, "n_bytes": [len(piece) for piece in lines.text],
    })
    parsed = query(connection, PARSE_SQL, lines=batch)
    for key, n in query(connection, KEYS_SQL, lines=batch).iter_rows():
        if key not in KNOWN_KEYS:
            reading.unknown_keys[_safe_key(key)] += n
    _quarantine(parsed.filter(pl.col("reject").is_not_null()), lines, reading)
    events = parsed.filter(pl.col("reject").is_null())
    for api, n in events["api"].value_counts().iter_rows():
        reading.shapes[api if api in ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1") else "audit.k8s.io/?"] += n
    return _event_columns(connection, events, settings, cluster)


def _safe_key(key: str) -> str:
    plain = key.replace("_", "").replace(".", "").replace("-", "").isalnum()
    return key if plain and len(key) <= 64 and mask_text(key) == key else "(other)"


def _quarantine(rejected: pl.DataFrame, lines: Lines, reading: Reading) -> None:
    if rejected.is_empty():
        return
    place = {int(position): index for index, position in enumerate(lines.position)}
    for row in rejected.sort("position").select("position", "line", "n_bytes", "reject").iter_rows(named=True):
        index = place[row["position"]]
        cut = index == len(lines.text) - 1 and not lines.terminated and row["reject"] == "not JSON"
        reading.quarantine.append({
            "line": row["line"], "position": row["position"], "n_bytes": row["n_bytes"],
            "reason": "not JSON: the record is cut off at the end of the file" if cut else row["reject"],
            "excerpt": excerpt(lines.text[index]),
        })


def _event_columns(
    connection: duckdb.DuckDBPyConnection, records: pl.DataFrame, settings: ArchiveSettings, cluster: str
) -> pl.DataFrame:
    """Turn parsed records into the columns of table events: masked, classified, with the facts of their bodies."""
    bodies = extract_bodies(connection, records)
    # A message of the authorizer reads: RBAC: allowed by RoleBinding "name/namespace" of ClusterRole "name" to …
    binding = pl.col("decision_reason").str.extract_groups(r'allowed by (ClusterRoleBinding|RoleBinding) "([^"/]*)(?:/([^"]*))?"')
    role = pl.col("decision_reason").str.extract_groups(r'of (ClusterRole|Role) "([^"/]*)')
    other_parameters = (
        pl.col("uri").str.extract(r"\?(.*)$").str.replace_all(_COMMAND_PARAMETER, "").str.strip_chars("&") + pl.lit("&")
    ).str.replace("^&$", "")
    runs_commands = pl.col("subresource").is_in(["exec", "attach", "proxy"])
    exec_commands = map_distinct(records.select(pl.when(runs_commands).then(pl.col("uri")))["uri"], _exec_command, _TEXTS)
    frame = pl.concat([records.drop("body"), bodies], how="horizontal").with_columns(
        exec_commands.alias("exec_commands"), attempts_of_records(records, exec_commands).alias("hostile")
    )
    frame = frame.with_columns(mask_lists(pl.col("exec_commands"))).with_columns(
        pl.from_epoch("time_us", "us").dt.replace_time_zone("UTC").alias("time"),
        pl.from_epoch("stage_us", "us").dt.replace_time_zone("UTC").alias("stage_time"),
        ((pl.col("stage_us") - pl.col("time_us")) / 1000.0).alias("latency_ms"),
        mask_name(pl.col("user")), mask_name(pl.col("impersonated_user")), mask_name(pl.col("credential_pod")),
        mask(pl.col("user_agent").str.slice(0, 512)),
        # A command split over URI parameters would slip past the masks: it stands there as the masked command line.
        mask(pl.when(pl.col("exec_commands").is_not_null())
             .then(pl.format("{}?{}command={}", pl.col("uri").str.extract(r"^([^?]*)"), other_parameters, pl.col("exec_commands").list.first()))
             .otherwise(pl.col("uri")).str.slice(0, 2048)).alias("uri"),
        pl.col("source_ips").list.last().alias("source_ip"),
        pl.when(pl.col("resource").is_in(TOKEN_NAMED_RESOURCES)).then(pl.lit("***"))
        .otherwise(mask_name(pl.coalesce("name", "body_name"))).alias("name"),
        pl.when(binding.struct.field("2").is_not_null()).then(
            pl.concat_str([binding.struct.field(part) for part in ("1", "3", "2")], separator="/", ignore_nulls=True)
        ).alias("grant_binding"),
        pl.when(role.struct.field("2").is_not_null()).then(
            pl.concat_str([role.struct.field("1"), role.struct.field("2")], separator="/")
        ).alias("grant_role"),
        pl.coalesce("exec_commands", "commands").alias("commands"),
        pl.concat_list(
            pl.col("attributes").fill_null([]), pl.concat_list(pl.col("hostile").fill_null([]), pl.col("attempts").fill_null([])).list.unique(maintain_order=True),
        ).alias("attributes"),
        pl.lit(cluster).alias("cluster"), pl.lit(1, pl.Int64).alias("n_stages"), pl.lit("").alias("archive_id"),
    )
    frame = frame.with_columns(
        pl.when(pl.col("user").is_null()).then(pl.lit("")).when(pl.col("impersonated_user").is_null()).then(pl.col("user"))
        .otherwise(pl.format("{} as {}", "user", "impersonated_user")).alias("actor"),
        map_distinct(frame["user"], actor_kind, pl.String).alias("actor_kind"),
        map_distinct(frame["source_ip"], lambda ip: source_class(ip, settings.cidrs), pl.String).alias("source_class"),
        map_distinct(frame["user_agent"], client_family, pl.String).alias("client_family"),
        _classes_of_lists(frame["commands"], command_classes).alias("command_classes"),
        _classes_of_lists(frame["granted"], grant_classes).alias("granted_classes"),
    )
    lists = [column for column, spec in tables.TABLES["events"].columns.items() if spec.dtype == tables.TEXTS]
    # An empty list says no more than null: one spelling, so that equal events are equal.
    frame = frame.with_columns(pl.when(pl.col(column).list.len() > 0).then(pl.col(column)).alias(column) for column in lists)
    return tables.conform(frame, "events")


def _exec_command(uri: str | None) -> list[str] | None:
    """Return the command line of an exec request: its repeated, percent-encoded `command` parameters, joined."""
    if not uri or "?" not in uri:
        return None
    words = [value for key, value in parse_qsl(uri.split("?", 1)[1], errors="replace") if key in ("command", "cmd")]
    return [" ".join(words)] if words else None


def _classes_of_lists(values: pl.Series, function: Callable[[str], list[str]]) -> pl.Series:
    """Return the distinct classes of all strings of each list, in order of appearance; null where there are none."""

    def classes(items: list[str] | None) -> list[str] | None:
        if not items:
            return None
        return list(dict.fromkeys(word for item in items for word in function(item))) or None

    # Lists are compared as JSON text: Polars cannot join on lists.
    keys = values.list.join("\x1f")
    return map_distinct(keys, lambda key: classes(key.split("\x1f")) if key else None, _TEXTS)
