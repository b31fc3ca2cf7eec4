"""Set-wise facts against slow, obvious references."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab.judge import facts as fact
from audit_lab.predicates import match_predicates
from tests.judge.story import START, event, frame

EVENTS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", "c", "d", "e", "f", None]), st.sampled_from(["get", "list"]),
              st.sampled_from(["secrets", "pods", "configmaps"]), st.sampled_from([200, 403]), st.sampled_from(["k1", "k2"]), st.sampled_from(["n", "m"])),
    min_size=1, max_size=40,
)


def world(drawn):
    rows = [event(at, user, verb, resource, status=status, cluster=cluster, namespace=space, name=f"x{number % 3}", event_id=f"{number:03d}")
            for number, (at, user, verb, resource, status, cluster, space) in enumerate(drawn)]
    events = frame(rows)
    members = events.select("event_id", pl.format("s-{}-{}-{}", pl.col("user").fill_null("-"), "cluster", pl.col("time").dt.minute()).alias("session_id"))
    sessions = members["session_id"].unique(maintain_order=True).to_list()
    cases = [sessions[number::3] for number in range(3) if sessions[number::3]]
    candidates = pl.DataFrame({"case_id": [f"c{number}" for number in range(len(cases))], "session_ids": cases})
    return events, members, candidates


def predicates_of(events):
    found = {}
    for event_id, name in match_predicates(events).iter_rows():
        found.setdefault(event_id, set()).add(name)
    return found


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_counts_reach_and_novelty_are_what_a_loop_says(drawn):
    events, members, candidates = world(drawn)
    of_case = {case: set(members.filter(pl.col("session_id").is_in(sessions))["event_id"]) for case, sessions in candidates.iter_rows()}
    rows = {row["event_id"]: row for row in events.iter_rows(named=True)}
    names = predicates_of(events)
    inside = fact.case_events(candidates, members, events)
    matched = fact.matches(inside)
    counts = {(item["case_id"], item["predicate"]): item for item in fact.count_facts(matched).iter_rows(named=True)}
    reach = {(case, name, scope): n for case, name, scope, n in
             fact.reach_facts(inside, matched).select("case_id", "predicate", "scope", "n").iter_rows()}
    novelty = {(item["case_id"], item["predicate"]): item for item in
               fact.novelty_facts(inside, matched, fact.history(events, matched["predicate"].unique().to_list())).iter_rows(named=True)}
    for case, ids in of_case.items():
        start = min(rows[event_id]["time"] for event_id in ids)
        for name in {name for event_id in ids for name in names[event_id]}:
            mine = [event_id for event_id in ids if name in names[event_id]]
            assert counts[case, name]["n"] == len(mine)
            assert counts[case, name]["n_denied"] == sum(rows[event_id]["status"] == 403 for event_id in mine)
            assert counts[case, name]["first"] == min(rows[event_id]["time"] for event_id in mine)
            assert reach[case, name, "namespaces"] == len({rows[event_id]["namespace"] for event_id in mine})
            users = {(rows[event_id]["cluster"], rows[event_id]["user"]) for event_id in mine} - {("k1", None), ("k2", None)}
            if not users:
                assert (case, name) not in novelty
                continue
            past = [row for row in rows.values() if row["time"] < start and row["user"]]
            known = [user for user in users if any((row["cluster"], row["user"]) == user for row in past)]
            fresh = [user for user in known if not any((row["cluster"], row["user"]) == user and name in names[row["event_id"]] for row in past)]
            assert novelty[case, name]["new_for_actor"] == (None if not known else bool(fresh))
            clusters = {cluster for cluster, _ in users}
            everybody = {(row["cluster"], row["user"]) for row in past if row["cluster"] in clusters}
            own = {(rows[event_id]["cluster"], rows[event_id]["user"]) for event_id in ids}
            if len(clusters) == 1 and len({cluster for cluster, _ in own}) == 1:
                peers = everybody - own
                did = {(row["cluster"], row["user"]) for row in past if name in names[row["event_id"]]} & peers
                assert novelty[case, name]["n_peers"] == len(peers)
                assert novelty[case, name]["new_for_peers"] == (None if len(peers) < fact.MIN_PEERS else not did)


def test_no_case_and_no_event_give_empty_facts():
    events = frame([event(0, "a", "get", "pods")])
    members = pl.DataFrame({"event_id": [events["event_id"][0]], "session_id": ["s"]})
    nobody = pl.DataFrame(schema={"case_id": pl.String, "session_ids": pl.List(pl.String)})
    inside = fact.case_events(nobody, members, events)
    assert inside.is_empty()
    matched = fact.matches(inside)
    assert fact.count_facts(matched).is_empty()
    assert fact.novelty_facts(inside, matched, fact.history(events, [])).is_empty()
    assert fact.reach_facts(inside, matched).is_empty()
    assert START is not None
