"""Proposals are written down, replaced and withdrawn by rows; none is ever changed, and none changes anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.govern.proposals import KINDS, add_proposals, make_proposal, standing_proposals

T0 = datetime(2026, 11, 25, tzinfo=UTC)
EMPTY = tables.empty("proposals")


def rule(name: str, n: int = 20) -> dict[str, object]:
    return make_proposal("rule", name, f"look at {name}", f"{n} false alarms", {"rule_id": name}, {"n": n})


def test_the_same_proposal_is_written_down_once() -> None:
    first = add_proposals(EMPTY, [rule("a")], "kim", T0)
    again = add_proposals(first, [rule("a")], "lee", T0 + timedelta(days=1))
    assert again.equals(first)
    assert first.select("kind", "target", "state", "author", "content").row(0) == ("rule", "a", "open", "kim", '{"rule_id": "a"}')


def test_new_evidence_replaces_by_a_row_and_what_no_longer_follows_is_withdrawn() -> None:
    ledger = add_proposals(EMPTY, [rule("a"), rule("b")], "kim", T0)
    ledger = add_proposals(ledger, [rule("a", 30)], "kim", T0)
    assert ledger["state"].to_list() == ["open", "open", "open", "withdrawn"]
    assert ledger["replaces"].to_list()[2:] == ledger["proposal_id"].to_list()[:2]
    assert standing_proposals(ledger).select("target", "reason").rows() == [("a", "30 false alarms")]
    ledger = add_proposals(ledger, [rule("a", 30), rule("b")], "kim", T0)
    assert standing_proposals(ledger)["target"].to_list() == ["a", "b"], "it follows again"
    assert ledger["proposal_id"].is_unique().all()


def test_kinds_that_were_not_computed_stay() -> None:
    ledger = add_proposals(EMPTY, [rule("a"), make_proposal("threshold", "t", "set t", "why", {"t": 0.5})], "kim", T0)
    ledger = add_proposals(ledger, [], "kim", T0, asked=("threshold",))
    assert standing_proposals(ledger)["kind"].to_list() == ["rule"]
    with pytest.raises(ValueError, match="no kind of proposal 'wish'"):
        make_proposal("wish", "x", "x", "x", {})
    assert set(KINDS) == {"example", "exception", "threshold", "rule", "prompt"}


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), max_size=4), max_size=8))
def test_the_table_only_grows_and_says_what_follows_now(turns: list[dict[str, int]]) -> None:
    ledger = EMPTY
    for turn in turns:
        before = ledger
        ledger = add_proposals(ledger, [rule(name, n) for name, n in turn.items()], "kim", T0)
        assert ledger.head(before.height).equals(before)
        assert {row["target"]: row["reason"] for row in standing_proposals(ledger).iter_rows(named=True)} == {
            name: f"{n} false alarms" for name, n in turn.items()}
        assert ledger["proposal_id"].is_unique().all()
