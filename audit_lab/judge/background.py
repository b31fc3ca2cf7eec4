"""Evidence from before the case: what was usual, whose namespaces these are, what looks alike.

What speaks for innocence stands here: a judge that is only shown suspicion finds suspicion. Earlier sessions are those that began before
the case; of one that still ran all actions count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from audit_lab.judge.beyond import own_sessions, spans
from audit_lab.judge.queries import NOBODY, Facts
from audit_lab.judge.rows import Row

# Similarity below this is no resemblance worth a line.
MIN_SIMILARITY = 0.3
_BLOCK = 128
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def innocence(facts: Facts) -> list[Row]:
    """Say what speaks for an ordinary reason: the same routine, the same namespaces, nothing changed, nothing refused."""
    of_case = spans(facts)
    earlier = own_sessions(facts).filter(pl.col("start") < pl.col("case_start"))
    n_earlier = dict(earlier.group_by("case_id").agg(pl.len()).iter_rows())
    routine = {
        case: set(done) for case, done in
        earlier.group_by("case_id").agg(pl.col("actions").list.explode(keep_nulls=False, empty_as_null=False).unique()).iter_rows()
    }
    owned, shares = _known_namespaces(facts), {item["case_id"]: item for item in facts.writes.iter_rows(named=True)}
    rows: list[Row] = []
    for item in of_case.iter_rows(named=True):
        case_id, before = item["case_id"], n_earlier.get(item["case_id"], 0)
        if not item["users"] or item["actor_kind"] in NOBODY:
            # Everybody without credentials shares one name: its past is nobody's past.
            said, before = ["no identity: nothing is known of its past"], 0
        else:
            usual = len([action for action in item["actions"] if action in routine.get(case_id, ())])
            said = [f"{usual} of {len(item['actions'])} actions done by this actor before, in {before} earlier sessions"
                    if before else "no earlier session of this actor"]
            if before and case_id in owned:
                said.append(f"worked before in {owned[case_id][0]} of its {owned[case_id][1]} namespaces")
        if case_id in shares:
            said.append(_ownership(shares[case_id], bool(before)))
        if facts.windows and in_window(item["case_start"], facts.windows):
            said.append("within a change window")
        if not item["n_writes"]:
            said.append("reads only, nothing changed")
        if not item["n_denied"] + item["n_unauthenticated"]:
            said.append("nothing denied")
        rows.append(Row(case_id, "innocence", 900, 60, "innocence: " + "; ".join(said)))
    return rows


def _ownership(writes: dict[str, Any], known: bool) -> str:
    """Return who made the earlier writes in the case's namespaces: that is whose namespaces they are."""
    own = f"made {writes['n_own']} of {writes['n_all']} earlier writes in its namespaces" if known else (
        f"{writes['n_all']} earlier writes in its namespaces by others")
    if not writes["top_n"] or 2 * writes["top_n"] < writes["n_all"]:
        return own
    share = round(100 * writes["top_n"] / writes["n_all"])
    return f"{own}, {share}% of them by another {writes['top_kind'].replace('_', '-')}"


def in_window(moment: datetime, windows: Sequence[str]) -> bool:
    """Tell whether a time (UTC) lies in a change window, 'mon-fri 08:00-18:00'; one that ends before it starts runs past midnight.

    >>> in_window(datetime(2026, 3, 2, 9), ["mon-fri 08:00-18:00"]), in_window(datetime(2026, 3, 3, 1), ["mon 22:00-02:00"])
    (True, True)
    """
    minute = moment.hour * 60 + moment.minute
    for window in windows:
        days, _, span = window.partition(" ")
        first, _, last = days.partition("-")
        opens, closes = (int(part[:2]) * 60 + int(part[3:]) for part in span.split("-"))
        named = _days_between(first, last or first)
        today, yesterday = _DAYS[moment.weekday()] in named, _DAYS[moment.weekday() - 1] in named
        if opens <= closes and today and opens <= minute < closes:
            return True
        if opens > closes and ((today and minute >= opens) or (yesterday and minute < closes)):
            return True
    return False


def _days_between(first: str, last: str) -> set[str]:
    place, end = _DAYS.index(first), _DAYS.index(last)
    return {_DAYS[day % 7] for day in range(place, end + 1 if end >= place else end + 8)}


def _known_namespaces(facts: Facts) -> dict[str, tuple[int, int]]:
    """Return per case how many of its namespaces its identities had worked in before, and how many it has."""
    touched = facts.events.drop_nulls("namespace").group_by("case_id", "namespace").agg(pl.col("known_before").max())
    counted = touched.group_by("case_id").agg(pl.col("known_before").sum().alias("known"), pl.len().alias("n"))
    return {case: (known, n) for case, known, n in counted.select("case_id", "known", "n").iter_rows()}


class Alike(NamedTuple):
    """A session that did nearly the same as a case: what is said of it, how early that line is cut, and which session it is."""

    case_id: str
    priority: int
    text: str
    session_id: str


def nearest(facts: Facts) -> list[Row]:
    """Say which earlier sessions did most nearly the same (Jaccard similarity of action sets), and what people said of them."""
    return [Row(one.case_id, "nearest", 930, one.priority, one.text) for one in nearest_sessions(facts)]


def nearest_sessions(facts: Facts) -> list[Alike]:
    """Return the sessions that `nearest` speaks of."""
    of_case = spans(facts)
    # One line per distinct set of actions, identity and label: routines repeat.
    pool = facts.sessions.join(facts.labels.select("session_id", "verdict"), on="session_id", how="left").with_columns(
        pl.col("actions").list.sort().list.join("\n").alias("set"))
    pool = pool.sort("start").unique(["cluster", "actor_kind", "user", "set", "verdict"], keep="first", maintain_order=True)
    rows: list[Alike] = []
    for (cluster, kind), part in of_case.group_by("cluster", "actor_kind", maintain_order=True):
        peers = pool.filter((pl.col("cluster") == cluster) & (pl.col("actor_kind") == kind))
        rows += _nearest_of(part, peers)
    return rows


def _nearest_of(part: pl.DataFrame, peers: pl.DataFrame) -> list[Alike]:
    if peers.is_empty():
        return []
    words: dict[str, int] = defaultdict(lambda: len(words))
    theirs, ours = _sets(peers["actions"].to_list(), words), _sets(part["actions"].to_list(), words)
    matrix = _matrix(theirs, len(words))
    starts = peers["start"].to_numpy()
    codes: dict[str | None, int] = {user: code for code, user in enumerate(peers["user"].unique(maintain_order=True))}
    users = np.array([codes[user] for user in peers["user"]])
    verdicts = peers["verdict"].to_list()
    labelled = np.array([verdict is not None for verdict in verdicts])
    sizes = matrix.sum(axis=1)
    sessions = peers["session_id"].to_list()
    rows: list[Alike] = []
    cases = part.select("case_id", "case_start", "users").to_dicts()
    begins = part["case_start"].to_numpy()
    for offset in range(0, len(cases), _BLOCK):
        block = _matrix(ours[offset:offset + _BLOCK], len(words))
        shared = block @ matrix.T
        similarity = shared / np.maximum(block.sum(axis=1)[:, None] + sizes[None, :] - shared, 1)
        similarity[starts[None, :] >= begins[offset:offset + _BLOCK, None]] = -1
        for line, item in zip(similarity, cases[offset:offset + _BLOCK], strict=True):
            own = np.isin(users, [codes[user] for user in item["users"] if user in codes])
            rows += _resemblances(item["case_id"], line, own, labelled, verdicts, sessions)
    return rows


def _resemblances(
    case_id: str, line: np.ndarray, own: np.ndarray, labelled: np.ndarray, verdicts: list[Any], sessions: list[str],
) -> list[Alike]:
    found: list[Alike] = []
    for text, mask, priority in (
        ("nearest earlier session of the same actor", own, 245), ("nearest earlier session of another actor", ~own, 360),
        ("nearest labelled session", labelled, 140),
    ):
        candidates = np.where(mask, line, -1)
        best = int(candidates.argmax())
        if candidates[best] < MIN_SIMILARITY:
            continue
        said = f", labelled {verdicts[best]}" if verdicts[best] else ""
        shares = f"{text} shares {round(100 * float(candidates[best]))}% of the actions{said}"
        found.append(Alike(case_id, priority, shares, sessions[best]))
    return found


def _sets(actions: list[list[str] | None], words: dict[str, int]) -> list[list[int]]:
    return [[words[action] for action in dict.fromkeys(items or [])] for items in actions]


def _matrix(sets: list[list[int]], width: int) -> np.ndarray:
    matrix = np.zeros((len(sets), width), dtype=np.float32)
    for number, items in enumerate(sets):
        matrix[number, items] = 1
    return matrix


BACKGROUND_QUERIES = (innocence, nearest)
