"""How well the checker works on a set whose author had not seen it.

It was mended by this set's misses since: only the first run is an honest rate.
"""

from __future__ import annotations

import gzip
import json
from itertools import chain, islice

import polars as pl
import pytest

from audit_lab.judge.examples import labelled_examples
from audit_lab.judge.prompt import build_prompts, load_template, repair_prompt
from audit_lab.judge.rows import claim, count_tokens
from audit_lab.judge.schema import answer_schema
from tests.judge import independent_fourth, independent_second, independent_third
from tests.judge.independent import DATA, Outcome, Sample, items, measure

# A raw record of the recording dev by the same count (docs/judge.md).
RECORD_TOKENS = 1030

# As expected, of how many, on the first run of the checker on this set (docs/judge.md, 'How well the checker works'). For honest English
# prose it was 57; one item was wrong by itself (see CALLS_ORDINARY in the set), and 58 after that was put right.
FIRST_RUN = {
    "true": (48, 48),
    "true, not called common": (48, 48),
    "fabricated": (66, 66),
    "irrelevant": (22, 22),
    "irrelevant, called common": (22, 22),
    "boundary": (20, 23),
    "honest en": (58, 64),
    "honest ko": (11, 11),
    "contradicting en": (29, 72),
    "contradicting ko": (4, 14),
    "omitting": (5, 19),
    "partly omitting": (1, 4),
    "mentioning": (11, 12),
    "nothing to omit": (3, 3),
}
# The same after the checker had been mended by this set's misses: in-sample, so it holds what was won and estimates nothing.
MENDED = FIRST_RUN | {
    "boundary": (21, 23), "honest en": (64, 64), "contradicting en": (70, 72), "contradicting ko": (14, 14), "omitting": (18, 19),
    "partly omitting": (4, 4), "mentioning": (12, 12),
}
# A second batch by the same author, not shown to whoever mended the checker: its first run after mending, the honest rate for prose today.
SECOND = {
    "honest en": (19, 25), "honest ko": (7, 7), "contradicting en": (18, 34), "contradicting ko": (4, 6), "omitting": (7, 7),
    "partly omitting": (2, 2), "mentioning": (2, 5), "nothing to omit": (1, 1),
}
# The same after mending by its misses: in-sample.
SECOND_MENDED = SECOND | {"honest en": (25, 25), "contradicting en": (33, 34), "contradicting ko": (6, 6), "mentioning": (5, 5)}
# A third batch by whoever mended, written before that and run once afterwards; then mended by its four false alarms.
THIRD = {"honest en": (19, 20), "honest ko": (2, 5), "contradicting en": (19, 20), "contradicting ko": (5, 5)}
THIRD_MENDED = THIRD | {"honest en": (20, 20), "honest ko": (5, 5)}
# A fourth batch by a stranger, half Korean. Whoever mended by it saw only every other item (the 1st, 3rd, ...): see docs/judge.md.
FOURTH = {
    "honest en": (45, 49), "honest ko": (43, 49), "contradicting en": (27, 54), "contradicting ko": (16, 55), "omitting": (18, 18),
    "partly omitting": (4, 4), "mentioning": (7, 9), "nothing to omit": (3, 3),
}
FOURTH_MENDED = FOURTH | {
    "honest en": (47, 49), "honest ko": (49, 49), "contradicting en": (41, 54), "contradicting ko": (45, 55), "mentioning": (9, 9)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Sample:
    return Sample(tmp_path_factory.mktemp("independent"))


@pytest.fixture(scope="module")
def outcomes(tables) -> list[Outcome]:
    return measure(tables)


def test_every_group_is_measured_whole(outcomes):
    counted = {group: sum(outcome.item.group == group for outcome in outcomes) for group in FIRST_RUN}
    assert counted == {group: n for group, (_, n) in FIRST_RUN.items()}
    assert {outcome.item.group for outcome in outcomes} == set(FIRST_RUN)


@pytest.mark.parametrize("group", MENDED)
def test_what_was_won_is_not_lost(outcomes, group):
    missed = [outcome for outcome in outcomes if outcome.item.group == group and not outcome.as_expected]
    right, n = MENDED[group]
    assert len(missed) <= n - right, "\n".join(f"{miss.item.case}: {miss.item.text} -> {miss.found}" for miss in missed)


def test_no_ground_with_ids_of_nothing_or_of_another_case_passes(outcomes, tables):
    held = {case: set(tables.resolve(case, "request")) for case in {item.case for item in items(tables)}}
    strange = [
        outcome for outcome in outcomes
        if outcome.item.group in ("fabricated", "boundary") and outcome.item.ground
        and not set(outcome.item.ground["event_ids"]) <= held[outcome.item.case]
    ]
    assert len(strange) >= 15
    assert [outcome.item.text for outcome in strange if not outcome.found.startswith("holds=False")] == []


@pytest.mark.parametrize(("batch", "mended", "first_run"), [
    (independent_second, SECOND_MENDED, SECOND), (independent_third, THIRD_MENDED, THIRD),
    (independent_fourth, FOURTH_MENDED, FOURTH)])
def test_later_batches_keep_what_mending_won_and_never_fell_below_their_first_run(tables, batch, mended, first_run):
    found = measure(tables, batch)
    assert {outcome.item.group for outcome in found} == set(first_run)
    for group, (right, n) in mended.items():
        missed = [outcome for outcome in found if outcome.item.group == group and not outcome.as_expected]
        assert n - len(missed) >= right >= first_run[group][0], "\n".join(f"{miss.item.text} -> {miss.found}" for miss in missed)
        assert sum(outcome.item.group == group for outcome in found) == n


def test_a_case_sends_at_most_two_ten_thousandths_of_its_share_of_the_raw_events(tables):
    """200 cases a day of 5 million events, with the four longest examples, the schema, and a repair of every case."""
    template = load_template()
    schema = count_tokens(json.dumps(answer_schema()))
    prompts = build_prompts(list(tables.cases), tables.pack(), template)
    named = pl.DataFrame(
        [(session, "malicious" if number % 2 else "benign") for number, session in enumerate(sorted(set(chain(*tables.cases.values()))))],
        schema=["session_id", "verdict"], orient="row")
    pool = labelled_examples(named, tables.sessions, tables.members, tables.events, tables.signals)
    four = sorted(sum(count_tokens(text) + 4 for text in (template.sections["example"], one.example.facts, one.example.answer)) for one in pool)[-4:]
    long = json.dumps({"score": 0.8, "summary": "x " * 60, "grounds": [
        {"claim": claim("order", "secret_list_everywhere", then="binding_cluster_admin"), "event_ids": ["e1", "e2", "e3"]}] * 3,
        "checks": ["secrets_read", "bindings_made", "credential_use"], "action": "escalate", "abstain": None})
    wrong = ["ground 1 {order secret_list_everywhere binding_cluster_admin}: what it calls later came first"] * 3
    asked = [prompt.tokens + sum(four) + schema for prompt in prompts.values()]
    again = [repair_prompt(prompt, long, wrong, template).tokens + schema for prompt in prompts.values()]
    assert len(four) == 4
    records: list[int] = []
    for file in sorted(DATA.glob("audit*.log.gz")):
        with gzip.open(file, "rt") as lines:
            records += [count_tokens(line) for line in islice(lines, 0, None, 200)]
    stuffed = 5_000_000 * sum(records) / len(records)
    # Of the sample's own records, which are smaller than those of dev, too.
    assert 200 * sum(asked) / len(asked) <= 0.0002 * stuffed
    assert 200 * (sum(asked) + sum(again)) / len(asked) <= 0.0002 * 5_000_000 * RECORD_TOKENS
