"""One deterministic text per session, in the closed vocabulary: what people, embeddings and judges read first.

At most 160 word pieces. No times, and counts in buckets, so that sessions that do the same read the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from audit_lab.classes import ACTOR_KINDS, CLIENT_FAMILIES, SOURCE_CLASSES, impersonation_class
from audit_lab.vocabulary import ENGLISH, LINKED, Pseudonyms, action_weight, bucket

MAX_TOKENS = 160
LINK_TOKENS = 24  # kept free for what links it to other sessions: known only when all sessions are
MAX_ACTIONS = 14  # more make a text that nobody compares
# These say that a user was somewhere else too, or that controllers did their work: they join no story.
WEAK_LINKS = ("new_source", "new_client", "follow_up")
# Words of ENGLISH that the tokenizer of all-MiniLM-L6-v2 (BERT's vocabulary) splits finer than one piece per four letters.
_SPLIT_FINER = frozenset({"escalate", "kubernetes", "outliers", "webhook"})


class Action(NamedTuple):
    """One distinct action of a session, as the summary needs it."""

    token: str
    n: int
    n_denied: int
    is_new: bool
    is_new_for_peers: bool


def summarize_sessions(sessions: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    """Return `session_id`, `summary` for every session.

    Columns in: `sessions` with the columns of `features.count_sessions` and `features.newness`; `actions` as from
    `features.mark_new`, in order of first use.
    """
    listed = actions.group_by("session_id", maintain_order=True).agg(
        _actions=pl.struct("action", "n", "n_denied", pl.col("new_for_user").fill_null(False), pl.col("new_for_peers").fill_null(False))
    )
    rows = sessions.join(listed, on="session_id", how="left", maintain_order="left")
    texts = [summarize(row, [Action(*action.values()) for action in row["_actions"] or []]) for row in rows.iter_rows(named=True)]
    return rows.select("session_id", pl.Series("summary", texts, dtype=pl.String))


def summarize(session: dict[str, Any], actions: Sequence[Action]) -> str:
    """Return the summary of one session; `session` is a row with the columns of table sessions.

    >>> row = {"user": "bob", "actor_kind": "human", "source_class": "public", "client_families": ["kubectl"], "n_namespaces": 1,
    ...        "is_known_user": True, "is_new_source": True}
    >>> summarize(row, [Action("list secrets cluster-wide", 4, 4, True, False)])
    'human user-1 from public source, client kubectl. New source. Did: list secrets cluster-wide x3-5 denied new. In 1 namespace.'
    """
    before, after = f"{_who(session)}. {_context(session)}", f" {_reach(session)}"
    known = bool(session.get("is_known_user"))
    phrases = [_phrase(action, known) for action in actions]
    budget = MAX_TOKENS - 2 - count_tokens(before) - count_tokens(after) - count_tokens("Did: . and 31-100 other actions.") - LINK_TOKENS
    chosen: list[int] = []
    for place in sorted(range(len(actions)), key=lambda index: (-_weight(actions[index]), index)):
        cost = count_tokens(phrases[place]) + 1
        if cost <= budget and len(chosen) < MAX_ACTIONS:
            chosen.append(place)
            budget -= cost
    shown = "; ".join(phrases[place] for place in sorted(chosen))
    left = len(actions) - len(chosen)
    rest = f" and {bucket(left)} other action{'s' if left > 1 else ''}" if left else ""
    did = f"Did: {shown}{rest}." if actions else "Did: nothing."
    return " ".join(f"{before}{did}{after}".split())


def add_links(sessions: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Return table sessions whose summaries also say what links them to other sessions.

    Only links that join sessions to stories are named, strongest first, as far as the 160 word pieces last. Digests stay those of the
    summaries without links: what a session did does not change with what comes of it later.
    """
    strong = links.filter(~pl.col("kind").is_in(WEAK_LINKS))
    ends = pl.concat([
        strong.select(session_id="from_session", kind="kind", score="score", way=pl.lit("later")),
        strong.select(session_id="to_session", kind="kind", score="score", way=pl.lit("earlier")),
    ])
    named = (
        ends.group_by("session_id", "way", "kind").agg(pl.col("score").max())
        .sort("session_id", "score", "way", "kind", descending=[False, True, True, False])
        .group_by("session_id", maintain_order=True).agg(said=pl.struct("way", "kind"))
    )
    rows = sessions.join(named, on="session_id", how="left", maintain_order="left")
    texts = [
        _with_links(text, [(link["way"], link["kind"]) for link in said or []]) for text, said in rows.select("summary", "said").iter_rows()
    ]
    return sessions.with_columns(pl.Series("summary", texts, dtype=pl.String))


def _with_links(text: str, links: list[tuple[str, str]]) -> str:
    for way, kind in links:
        longer = f"{text}{LINKED}{'a later' if way == 'later' else 'an earlier'} session: {kind.replace('_', ' ')}."
        if count_tokens(longer) > MAX_TOKENS - 2:
            break
        text = longer
    return text


def count_tokens(text: str) -> int:
    """Return how many word pieces a closed text has at most, without its two frame tokens.

    An upper bound for the tokenizer of all-MiniLM-L6-v2, checked against it in the tests.
    """
    return sum(_chunk_tokens(chunk) for chunk in text.split())


@lru_cache(maxsize=100_000)
def _chunk_tokens(chunk: str) -> int:
    pieces = 0
    for run in re.findall(r"[A-Za-z0-9]+|[^A-Za-z0-9]", chunk):
        word = run.lower()
        if not word.isalnum():
            pieces += 1
        elif any(character.isdigit() for character in word):
            pieces += len(word)
        elif word in ENGLISH and word not in _SPLIT_FINER:
            pieces += math.ceil(len(word) / 4)
        else:
            pieces += math.ceil(len(word) / 2.3)
    return pieces


def _who(session: dict[str, Any]) -> str:
    kind = session["actor_kind"] if session["actor_kind"] in ACTOR_KINDS else "other"
    name = "" if kind in ("anonymous", "unauthenticated") else " " + Pseudonyms().actor(session["user"], kind)
    source = session["source_class"] if session["source_class"] in SOURCE_CLASSES else "named-range"
    families = [client if client in CLIENT_FAMILIES else "other" for client in session["client_families"] or []]
    clients = ", ".join(list(dict.fromkeys(families))[:4]) or "none"
    acting = ""
    if session.get("impersonated_user"):
        acting = f" impersonating {impersonation_class(session['impersonated_user'], [])}"
    return f"{kind}{name}{acting} from {source} source, client {clients}"


def _context(session: dict[str, Any]) -> str:
    if session["user"] is None:
        return ""
    if not session.get("is_known_user"):
        return "First session of this actor. "
    news = [word for word, column in (("source", "is_new_source"), ("client", "is_new_client")) if session.get(column)]
    return f"New {' and '.join(news)}. " if news else ""


def _phrase(action: Action, known: bool) -> str:
    words = [action.token, f"x{bucket(action.n)}"]
    if action.n_denied:
        words.append("denied" if action.n_denied == action.n else "some denied")
    # What the actor is used to do is no news, however rare it is among peers.
    if action.is_new and action.is_new_for_peers:
        words.append("new to peers")
    elif action.is_new and known:
        words.append("new")
    return " ".join(words)


def _reach(session: dict[str, Any]) -> str:
    parts = []
    for column, one, many in (("n_namespaces", "namespace", "namespaces"), ("n_secrets", "secret by name", "secrets by name")):
        count = session.get(column) or 0
        if count:
            parts.append(f"{bucket(count)} {one if count == 1 else many}")
    text = f"In {' and '.join(parts)}." if parts and session.get("n_namespaces") else f"Read {parts[0]}." if parts else ""
    if session.get("n_unauthenticated"):
        text += f" Unauthenticated x{bucket(session['n_unauthenticated'])}."
    if session.get("n_errors"):
        text += f" Errors x{bucket(session['n_errors'])}."
    return text


def _weight(action: Action) -> int:
    news = action.is_new + 2 * (action.is_new and action.is_new_for_peers)
    return action_weight(action.token) + news + (action.n_denied > 0)
