"""Summaries say what links a session to others, in the closed vocabulary and within their length."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from audit_lab import Lab, tables
from audit_lab.sessions import LINK_KINDS, add_links, count_tokens
from audit_lab.sessions.summary import MAX_TOKENS, WEAK_LINKS
from audit_lab.vocabulary import is_closed


def test_every_kind_of_link_can_be_said_in_closed_words() -> None:
    for kind in set(LINK_KINDS) - set(WEAK_LINKS):
        assert is_closed(f"Linked to an earlier session: {kind.replace('_', ' ')}."), kind


def test_links_are_named_on_both_ends_and_weak_ones_are_not(tmp_path: Path, sample: Path) -> None:
    lab = Lab(tmp_path / "lab", "sample")
    lab.ingest(sample)
    lab.run(until="sessions")
    sessions, links = lab.store.read("sessions"), lab.store.read("links")
    assert (sessions["summary"].map_elements(count_tokens, return_dtype=pl.Int64) <= MAX_TOKENS - 2).all()
    assert all(is_closed(text) for text in sessions["summary"])
    strong = links.filter(~pl.col("kind").is_in(["follow_up", "new_source", "new_client"]))
    assert strong.height > 5
    summaries = dict(sessions.select("session_id", "summary").iter_rows())
    for link in strong.sort("score", descending=True).head(5).iter_rows(named=True):
        assert f"later session: {link['kind'].replace('_', ' ')}" in summaries[link["from_session"]]
        assert f"earlier session: {link['kind'].replace('_', ' ')}" in summaries[link["to_session"]]
    linked = set(strong["from_session"]) | set(strong["to_session"])
    assert not any("Linked" in text for session, text in summaries.items() if session not in linked)


def test_without_links_nothing_changes(sample: Path, tmp_path: Path) -> None:
    sessions = tables.empty("sessions")
    assert add_links(sessions, tables.empty("links")).equals(sessions)
