"""candidates -> evidence: the pack of typed rows that a judge is shown, and nothing else.

A pack is a list of short lines in the closed vocabulary, each with the events it speaks of and, where it can, the
typed claim that it supports. It is built for all cases at once. A pack holds at most `max_tokens`; the least telling
lines are cut first, and the last line says what was cut.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

import polars as pl

from audit_lab import tables
from audit_lab.judge import facts as fact
from audit_lab.judge.background import BACKGROUND_QUERIES, nearest_sessions
from audit_lab.judge.beyond import BEYOND_QUERIES, later_sessions, linked_sessions
from audit_lab.judge.detections import SIGNAL_QUERIES
from audit_lab.judge.queries import CASE_QUERIES, Facts, Query
from audit_lab.judge.rows import Row, claim_text, count_tokens, handles_text, is_shown, number_events
from audit_lab.vocabulary import Pseudonyms, action_token

# Changes whenever the queries or their words change: part of what identifies a verdict.
EVIDENCE_VERSION = "4"
QUERIES: tuple[Query, ...] = (*CASE_QUERIES, *SIGNAL_QUERIES, *BACKGROUND_QUERIES, *BEYOND_QUERIES)
# Room for the last line, which says what was cut, and for a row's number and line break.
_CUT_TOKENS, _ROW_TOKENS = 60, 4


def build_evidence(
    candidates: pl.DataFrame, sessions: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, signals: pl.DataFrame,
    *, max_tokens: int = 900, links: pl.DataFrame | None = None, labels: pl.DataFrame | None = None,
    windows: Sequence[str] = (), queries: Sequence[Query] = QUERIES,
) -> pl.DataFrame:
    """Return the evidence pack of every candidate.

    Parameters
    ----------
    candidates, sessions, session_events, events, signals
        Tables of those names; the last two of `session_events, events` may be lazy.
    max_tokens
        Upper bound of a pack, in tokens counted conservatively (`count_tokens`).
    links, labels
        Tables of those names, where they exist; labels of sessions that began before a case may be shown with it.
    windows
        Change windows of the profile, e.g. 'mon-fri 08:00-18:00', UTC.
    queries
        Functions `Facts -> list[Row]`; a row whose text is not closed is withheld, and the pack says so.

    Returns
    -------
    pl.DataFrame
        Table evidence: `text` in the closed vocabulary, ending with handles of events (`e1-e4`), `claim` where there is one.
    """
    tables.check(candidates, "candidates")
    tables.check(signals, "signals")
    if candidates.is_empty():
        return tables.empty("evidence")
    facts = gather_facts(candidates, sessions, session_events, events, signals, links=links, labels=labels, windows=windows)
    per_case: dict[str, list[Row]] = defaultdict(list)
    for query in queries:
        for row in query(facts):
            per_case[row.case_id].append(row)
    packs = [_pack(case_id, per_case[case_id], max_tokens) for case_id in candidates["case_id"].to_list()]
    return _frame([row for pack in packs for row in pack])


def gather_facts(
    candidates: pl.DataFrame, sessions: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, signals: pl.DataFrame,
    *, links: pl.DataFrame | None = None, labels: pl.DataFrame | None = None, windows: Sequence[str] = (),
) -> Facts:
    """Return the frames that evidence queries read, computed once for all cases."""
    columns = sorted({*fact.NEEDED, *action_columns(events)})
    inside = fact.case_events(candidates, session_events, events, columns).with_columns(action_token().alias("action"))
    inside = _with_known_namespaces(inside, events)
    matched = fact.matches(inside)
    seen = matched["predicate"].unique().to_list()
    names: dict[str, Pseudonyms] = {case_id: Pseudonyms() for case_id in candidates["case_id"].to_list()}
    return Facts(
        candidates, sessions, fact.case_sessions(candidates), inside, matched, fact.count_facts(matched),
        fact.novelty_facts(inside, matched, fact.history(events, seen)), fact.reach_facts(inside, matched), signals,
        tables.empty("links") if links is None else links, _last_said(labels), names,
        fact.earlier_writes(inside, events), tuple(windows),
    )


def outside_sessions(
    candidates: pl.DataFrame, sessions: pl.DataFrame, links: pl.DataFrame | None = None, labels: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the sessions outside each case whose deeds its pack tells of: those after it, linked with it, and nearest to it.

    Parameters
    ----------
    candidates, sessions, links, labels
        Tables of those names, as `build_evidence` gets them.

    Returns
    -------
    pl.DataFrame
        `case_id`, `session_id`, one row each. Counts over everybody's past (how often, how many others) tell of no session and name none.
    """
    none = pl.DataFrame()
    facts = Facts(
        candidates, sessions, fact.case_sessions(candidates), none, none, none, none, none, none,
        tables.empty("links") if links is None else links, _last_said(labels), {}, none)
    schema = {"case_id": pl.String, "session_id": pl.String}
    alike = pl.DataFrame([(one.case_id, one.session_id) for one in nearest_sessions(facts)], schema=schema, orient="row")
    joined = [] if facts.links.is_empty() else [linked_sessions(facts).select("case_id", pl.col("other").alias("session_id"))]
    told = pl.concat([later_sessions(facts).select("case_id", "session_id"), alike, *joined])
    return told.unique(maintain_order=True).join(facts.members, on=["case_id", "session_id"], how="anti")


def _last_said(labels: pl.DataFrame | None) -> pl.DataFrame:
    """Return one label per session: the last."""
    said = tables.empty("labels") if labels is None else labels.drop_nulls("session_id")
    return said.unique("session_id", keep="last", maintain_order=True)


def action_columns(events: fact.Frame) -> list[str]:
    """Return the columns of events that action tokens are made of."""
    return [column for column in action_token().meta.root_names() if column in events.lazy().collect_schema().names()]


def _with_known_namespaces(inside: pl.DataFrame, events: fact.Frame) -> pl.DataFrame:
    """Add `known_before`: the identity had worked in this namespace before the case began."""
    keys = ["cluster", "user", "namespace"]
    first = events.lazy().select(*keys, "time").drop_nulls(["user", "namespace"]).group_by(keys).agg(
        pl.col("time").min().alias("first_there")).collect()
    starts = inside.group_by("case_id").agg(pl.col("time").min().alias("case_start"))
    joined = inside.join(first, on=keys, how="left", maintain_order="left").join(starts, on="case_id", how="left", maintain_order="left")
    return joined.with_columns((pl.col("first_there") < pl.col("case_start")).fill_null(False).alias("known_before")).drop(
        "first_there", "case_start")


def _pack(case_id: str, rows: list[Row], max_tokens: int) -> list[Row]:
    """Cut the rows of one case to its budget, number its events, and say what was cut."""
    shown = sorted((row for row in rows if is_shown(row.text)), key=lambda row: row.priority)
    withheld = len(rows) - len(shown)
    in_place = sorted(shown, key=lambda row: (row.place, row.priority))
    numbers = number_events(row.event_ids for row in in_place)
    costs = {id(row): count_tokens(_finish(row, numbers)) + _ROW_TOKENS for row in shown}
    room = max_tokens if sum(costs.values()) <= max_tokens and not withheld else max_tokens - _CUT_TOKENS
    kept = []
    for row in shown:
        if costs[id(row)] <= room:
            room -= costs[id(row)]
            kept.append(row)
    if len(kept) == len(shown) and not withheld:
        return [row._replace(text=_finish(row, numbers)) for row in in_place]
    finished = _number(kept, max_tokens - _CUT_TOKENS)
    lost = Counter(row.query_id for row in shown)
    lost.subtract(row.query_id for row in finished)
    said = _cut_text({query: count for query, count in sorted(lost.items()) if count > 0}, withheld)
    return [*finished, Row(case_id, "cut", 999, 0, said)] if said else finished


def _cut_text(lost: dict[str, int], withheld: int) -> str:
    """Return what is not shown: by query where that fits its line, else as a number."""
    parts = [f"{count} {query}" for query, count in lost.items() if is_shown(query)]
    named = f"{', '.join(parts)} rows" if parts else ""
    closed = f"{withheld} rows that are not closed" if withheld else ""
    text = "not shown: " + "; ".join(part for part in (named, closed) if part)
    if count_tokens(text) + _ROW_TOKENS > _CUT_TOKENS:
        text = "not shown: " + "; ".join(part for part in (f"{sum(lost.values())} rows", closed) if part)
    return text if lost or withheld else ""


def _number(kept: list[Row], max_tokens: int) -> list[Row]:
    """Return the kept rows in place, with handles; the least telling go while the whole is too long after numbering anew."""
    while True:
        in_place = sorted(kept, key=lambda row: (row.place, row.priority))
        numbers = number_events(row.event_ids for row in in_place)
        finished = [row._replace(text=_finish(row, numbers)) for row in in_place]
        if not kept or sum(count_tokens(row.text) + _ROW_TOKENS for row in finished) <= max_tokens:
            return finished
        kept = kept[:-1]


def _finish(row: Row, numbers: dict[str, int]) -> str:
    said = f" {claim_text(row.claim)}" if row.claim else ""
    handles = f" [{handles_text(row.event_ids, numbers, row.n_events)}]" if row.event_ids else ""
    return f"{row.text}{handles}{said}"


def _frame(rows: list[Row]) -> pl.DataFrame:
    numbered = [
        {"case_id": row.case_id, "row": number, "query_id": row.query_id, "text": row.text, "event_ids": list(row.event_ids),
         "claim": dict(row.claim) if row.claim else None}
        for _, pack in groupby(rows, key=lambda row: row.case_id) for number, row in enumerate(pack, start=1)
    ]
    return tables.check(pl.DataFrame(numbered, schema=tables.TABLES["evidence"].schema), "evidence")
