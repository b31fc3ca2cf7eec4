"""The ledger only grows; agreement equals the field's golden numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.review import (
    append_labels,
    cohen_kappa,
    current_labels,
    disagreements,
    krippendorff_alpha,
    new_label,
    ratings,
    session_classes,
)

T0 = datetime(2026, 11, 23, 9, tzinfo=UTC)
EMPTY = tables.empty("labels")


def say(target: str, verdict: str, author: str = "ann", minute: int = 0, **keys: object) -> pl.DataFrame:
    return new_label("session", target, verdict, author, T0 + timedelta(minutes=minute), **keys)


def test_a_label_keeps_everything_that_was_said() -> None:
    row = new_label("case", "c-1", "malicious", "ann", T0, reason="read all secrets", session_id="s-1", event_ids=["e1"], minutes=2.5,
                    blind=True).row(0, named=True)
    assert (row["target_kind"], row["session_id"], row["minutes"], row["blind"], row["at"], row["event_ids"]) == (
        "case", "s-1", 2.5, True, T0, ["e1"])
    assert say("s-9", "benign")["session_id"].to_list() == ["s-9"]


def test_undo_and_correction_leave_the_first_word_readable() -> None:
    first = say("s-1", "benign")
    ledger = append_labels(EMPTY, first)
    ledger = append_labels(ledger, say("s-1", "withdrawn", minute=1, replaces=first["label_id"][0]))
    assert current_labels(ledger).is_empty()
    again = say("s-1", "malicious", minute=2)
    ledger = append_labels(ledger, again)
    ledger = append_labels(ledger, say("s-1", "benign-but-suspicious", minute=3, replaces=again["label_id"][0]))
    assert ledger["verdict"].to_list() == ["benign", "withdrawn", "malicious", "benign-but-suspicious"]
    assert current_labels(ledger)["verdict"].to_list() == ["benign-but-suspicious"]
    assert session_classes(current_labels(ledger)).rows() == [("s-1", "benign-but-suspicious")]


def test_the_same_label_twice_is_once_and_a_later_word_counts() -> None:
    ledger = append_labels(append_labels(EMPTY, say("s-1", "benign")), say("s-1", "benign"))
    assert ledger.height == 1
    ledger = append_labels(ledger, say("s-1", "malicious", minute=5))
    assert current_labels(ledger)["verdict"].to_list() == ["malicious"]


def test_old_rows_can_neither_be_changed_nor_replaced_twice() -> None:
    first = say("s-1", "benign")
    ledger = append_labels(EMPTY, first)
    with pytest.raises(InputError, match="labels are never changed"):
        append_labels(ledger, first.with_columns(verdict=pl.lit("malicious")))
    with pytest.raises(InputError, match="label 'y-x' cannot be replaced: it is not in the ledger"):
        append_labels(ledger, say("s-1", "malicious", minute=1, replaces="y-x"))
    name = first["label_id"][0]
    ledger = append_labels(ledger, say("s-1", "malicious", minute=1, replaces=name))
    with pytest.raises(InputError, match="was replaced before"):
        append_labels(ledger, say("s-1", "unsure", minute=2, replaces=name))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["malicious", "benign", "unsure"]), st.sampled_from(["ann", "bob"])), max_size=12))
def test_the_ledger_only_grows(words: list[tuple[int, str, str]]) -> None:
    ledger = EMPTY
    for minute, (target, verdict, author) in enumerate(words):
        before = ledger
        ledger = append_labels(ledger, say(f"s-{target}", verdict, author, minute))
        assert ledger.head(before.height).equals(before)
    standing = current_labels(ledger)
    last = {(f"s-{target}", author): verdict for target, verdict, author in words}
    assert {(row["target_id"], row["author"]): row["verdict"] for row in standing.to_dicts()} == last


@pytest.mark.parametrize(("call", "says"), [
    (lambda: say("s", "evil"), "no verdict 'evil' .*benign-but-suspicious"),
    (lambda: new_label("pod", "p", "benign", "ann", T0), "a label for a 'pod'"),
    (lambda: say("s", "benign", " "), "without author"),
    (lambda: say("s", "withdrawn"), "names no label"),
    (lambda: new_label("case", "c", "benign", "ann", datetime(2026, 1, 1)), "without a time zone"),
    (lambda: say("s", "benign", minutes=-1.0), "-1 minutes"),
])
def test_bad_labels_are_one_line(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_disagreements_are_listed_and_unsure_is_none() -> None:
    ledger = EMPTY
    for row in (say("s-1", "benign", "ann"), say("s-1", "malicious", "bob"), say("s-2", "benign", "ann"), say("s-2", "unsure", "bob")):
        ledger = append_labels(ledger, row)
    assert disagreements(ledger).rows() == [("session", "s-1", ["ann", "bob"], ["benign", "malicious"])]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=60))
def test_kappa_equals_scikit_learn_and_statsmodels(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    ours = cohen_kappa(first, second)
    if len(set(first) | set(second)) == 1:
        assert ours.value is None
        return
    assert ours.value == pytest.approx(cohen_kappa_score(first, second))
    counts = np.zeros((3, 3))
    np.add.at(counts, (first, second), 1)
    assert ours.value == pytest.approx(cohens_kappa(counts).kappa)
    if ours.low is not None:
        assert ours.low <= ours.value <= ours.high


def test_alpha_equals_krippendorffs_own_example() -> None:
    """Four observers, twelve units, gaps: α = 0.743 for nominal data (Krippendorff 2011, section C)."""
    gap = 0
    table = np.array([
        [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
        [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
    ]) - 1
    found = krippendorff_alpha(table)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11
    assert found.low <= found.value <= found.high


def test_agreement_from_labels_and_its_refusals() -> None:
    labels = pl.concat([say(f"s-{number}", "malicious" if number % 3 == 0 else "benign", author) for number in range(12) for author in ("ann", "bob")])
    table, authors, verdicts = ratings(labels)
    assert (authors, verdicts, table.shape) == (["ann", "bob"], ["benign", "malicious"], (2, 12))
    assert cohen_kappa(table[0], table[1]).value == 1.0
    assert krippendorff_alpha(table).value == 1.0
    few = cohen_kappa(np.array([0, 1, 0]), np.array([0, 1, 1]))
    assert (few.low, few.reason) == (None, "fewer than 10 targets: no interval")
    assert krippendorff_alpha(np.array([[0, -1], [-1, 1]])).as_dict()["reason"] == "no target that two reviewers rated"
    assert "all verdicts are the same" in cohen_kappa(np.zeros(12, dtype=int), np.zeros(12, dtype=int)).reason
