"""Examples: labelled cases of earlier time, shown before the question.

Published comparisons of alert triage found that a few good examples cut false alarms three- to fivefold (SecAlertBench,
2026), so they are a first-class input. An example is built by the same evidence queries as a case. A case is never
shown itself, its own story, or anything that came after it began (law 9).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.judge import facts as fact
from audit_lab.judge.baseline import checks_for, choose_grounds
from audit_lab.judge.evidence import build_evidence
from audit_lab.judge.prompt import Example, facts_text
from audit_lab.judge.routing import leaving, route_cases
from audit_lab.judge.rows import number_events
from audit_lab.judge.sentences import english, korean
from audit_lab.profile import JudgeSettings

# Shorter than a case's own pack: an example shows a pattern, not all facts.
EXAMPLE_TOKENS = 210
# A worked answer shows the form: its strongest ground is enough.
_GROUNDS_SHOWN = 1
# How a label reads as an answer. Not 0 and 1: a model that copies certainty is worth less.
SCORES = {"malicious": 0.92, "benign": 0.05, "benign-but-suspicious": 0.2}
_ACTIONS = {"malicious": "escalate", "benign": "close", "benign-but-suspicious": "watch"}
_SUMMARIES = {
    "malicious": "A person called such a case malicious.", "benign": "A person called such a case ordinary work.",
    "benign-but-suspicious": "A person called such a case unusual, but legitimate.",
}
_SUMMARIES_KO = {
    "malicious": "담당자가 이러한 사례를 악성으로 판단했습니다.", "benign": "담당자가 이러한 사례를 일상적인 작업으로 판단했습니다.",
    "benign-but-suspicious": "담당자가 이러한 사례를 이례적이지만 정당한 작업으로 판단했습니다.",
}


class Labelled(NamedTuple):
    """A labelled session as an example, with what is needed to choose among them."""

    session_id: str
    verdict: str
    ends: datetime
    actions: frozenset[str]
    example: Example


def labelled_examples(
    labels: pl.DataFrame, sessions: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, signals: pl.DataFrame,
    *, lang: str = "en", settings: JudgeSettings | None = None,
) -> list[Labelled]:
    """Return an example per labelled session, in the order of time; sessions labelled 'unsure' are left out.

    Parameters
    ----------
    labels, sessions, session_events, events, signals
        Tables of those names. Where several labels speak of a session, the last counts.
    lang
        Language of the answers' summaries.
    settings
        Section judge of the profile: says what is sensitive. An example `stays` in the house as a case with its events would, whatever
        its score; without settings all stay.
    """
    said = labels.filter(pl.col("verdict").is_in(list(SCORES))).drop_nulls("session_id")
    known = said.unique("session_id", keep="last", maintain_order=True)
    known = known.select("session_id", "verdict").join(sessions, on="session_id").sort("end", "session_id")
    if known.is_empty():
        return []
    cases = tables.conform(known.with_row_index("rank", 1).select(
        pl.col("session_id").map_elements(lambda session: short_id("c", session), return_dtype=pl.String).alias("case_id"),
        "rank", pl.concat_list("session_id").alias("session_ids"), pl.lit(0.0).alias("score"), pl.lit(None).alias("floor"),
        pl.lit("example").alias("selected_by"), pl.lit(1.0).alias("sampling_probability"), pl.lit("").alias("why"),
    ), "candidates")
    evidence = build_evidence(cases, sessions, session_events, events, signals, max_tokens=EXAMPLE_TOKENS)
    packs = {str(key[0]): part for key, part in evidence.sort("case_id", "row").group_by("case_id", maintain_order=True)}
    leave: set[str] = set()
    if settings is not None:
        leave = leaving(route_cases(cases, session_events, events, settings, sessions=sessions))
    found = []
    for case_id, item in zip(cases["case_id"], known.iter_rows(named=True), strict=True):
        example = _example(packs[case_id], item["verdict"], lang, stays=case_id not in leave)
        found.append(Labelled(item["session_id"], item["verdict"], item["end"], frozenset(item["actions"] or []), example))
    return found


def choose_examples(
    candidates: pl.DataFrame, sessions: pl.DataFrame, pool: list[Labelled], count: int, stories: pl.DataFrame | None = None,
    leave: Collection[str] = (),
) -> dict[str, list[Example]]:
    """Return for each case up to `count` examples: half of them malicious, the nearest by actions first.

    Parameters
    ----------
    candidates, sessions
        Tables of those names.
    pool
        What `labelled_examples` returned.
    count
        Most examples per case.
    stories
        Table stories: sessions of the case's own story are no examples for it.
    leave
        Cases that may be sent out of the house: only such examples are chosen for them, wherever they are judged in the end.
    """
    spans = fact.case_sessions(candidates).join(sessions, on="session_id").group_by("case_id", maintain_order=True).agg(
        pl.col("start").min(), pl.col("session_id"), pl.col("actions").list.explode(keep_nulls=False, empty_as_null=False).unique())
    own: dict[str, set[str]] = defaultdict(set)
    if stories is not None:
        told = stories.select("story_id", "session_id")
        kin = told.join(told.rename({"session_id": "other"}), on="story_id")
        for session_id, other in kin.select("session_id", "other").iter_rows():
            own[session_id].add(other)
    chosen: dict[str, list[Example]] = {}
    for item in spans.iter_rows(named=True):
        barred = set(item["session_id"]).union(*(own[session] for session in item["session_id"]))
        fitting = [one for one in pool if not (one.example.stays and item["case_id"] in leave)]
        earlier = [one for one in fitting if one.ends < item["start"] and one.session_id not in barred]
        actions = set(item["actions"])
        earlier.sort(key=lambda one, actions=actions: -len(one.actions & actions) / max(len(one.actions | actions), 1))  # type: ignore[misc]
        bad = [one for one in earlier if one.verdict == "malicious"][: count // 2]
        good = [one for one in earlier if one.verdict != "malicious"][: count - len(bad)]
        # Oldest first, as a reader would have met them.
        chosen[item["case_id"]] = [one.example for one in sorted([*bad, *good], key=lambda one: (one.ends, one.session_id))]
    return chosen


def _example(pack: pl.DataFrame, verdict: str, lang: str, *, stays: bool) -> Example:
    numbers = number_events(pack["event_ids"].to_list())
    claims = pack.drop_nulls("claim").select("claim", "event_ids").to_dicts()
    grounds = choose_grounds(claims)[:_GROUNDS_SHOWN] if verdict == "malicious" else []
    summaries, sentence = (_SUMMARIES_KO, korean) if lang == "ko" else (_SUMMARIES, english)
    summary = summaries[verdict] + (f" {sentence(grounds[0].claim.model_dump())}" if grounds else "")
    answer = {
        "score": SCORES[verdict], "summary": summary,
        # Parts that a kind does not use are left out: what is parsed is the same, and they would be a third of it.
        "grounds": [{
            "claim": ground.claim.model_dump(exclude_none=True),
            "event_ids": [f"e{numbers[event_id]}" for event_id in ground.event_ids[:4]],
        } for ground in grounds],
        "checks": checks_for(grounds), "action": _ACTIONS[verdict], "abstain": None,
    }
    facts = facts_text([*pack.filter(pl.col("query_id") != "cut")["text"], *_left_out(pack)])
    return Example(facts, json.dumps(answer, ensure_ascii=False), stays)


def _left_out(pack: pl.DataFrame) -> list[str]:
    """Return what an example leaves out in few words: it is cut to a pattern on purpose."""
    said = pack.filter(pl.col("query_id") == "cut")["text"].to_list()
    return [f"not shown: {sum(int(number) for number in re.findall('[0-9]+', text))} rows" for text in said]
