from __future__ import annotations

import polars as pl
import pytest

from audit_lab.judge import judge_cases, verify_verdicts
from audit_lab.judge.rows import claim
from audit_lab.judge.schema import Answer, Claim, Ground
from audit_lab.judge.verdicts import verdict_frame, verdict_row
from tests.judge.story import events_of_story, story


def ids(case, **wanted) -> list[str]:
    found = case.events.filter(pl.col("user") == "mallory", pl.col("source_ip") == "198.51.100.9")
    for column, value in wanted.items():
        found = found.filter(pl.col(column) == value)
    return found["event_id"].to_list()


def verify(case, pack, said, event_ids, score=0.9):
    answer = Answer(score=score, grounds=[Ground(claim=Claim(**said), event_ids=event_ids)])
    row = verdict_row(case.candidates["case_id"][0], "test", "1", answer=answer)
    return verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, case.candidates)


def ground(case, pack, said, event_ids):
    return verify(case, pack, said, event_ids)["grounds"][0][0]


def test_every_claim_of_a_pack_holds(case, pack):
    rows = pack.drop_nulls("claim")
    assert rows.height > 8
    for item in rows.iter_rows(named=True):
        found = ground(case, pack, item["claim"], item["event_ids"])
        assert found["holds"], (item["text"], found["wrong"])


TRUE = [
    (claim("count", "secret_get", 5), {"resource": "secrets", "verb": "get"}, "The actor read a secret by name 5 times."),
    (claim("count", "secret_get", 2), {"resource": "secrets", "verb": "get"}, "The actor read a secret by name 5 times."),
    (claim("denial", "secret_get", 3), {"status": 403}, "The actor was denied 3 times when it tried to read a secret by name."),
    (claim("denial", "denied", 3), {"status": 403}, "The actor was denied 3 times."),
    (claim("privilege", "binding_cluster_admin"), {"resource": "clusterrolebindings"}, "The actor bound the role cluster-admin, and it succeeded."),
    (claim("novelty", "secret_get", scope="actor"), {"resource": "secrets", "verb": "get"},
     "The actor read a secret by name, which it had not done before."),
    (claim("novelty", "pod_exec", scope="peers"), {"subresource": "exec"},
     "The actor ran a command in a container, which no other identity of its kind had done before."),
    (claim("reach", "secret_get", 4, "secrets"), {"resource": "secrets", "verb": "get"}, "The actor read a secret by name: 5 different secrets."),
]


@pytest.mark.parametrize(("said", "wanted", "sentence"), TRUE, ids=[f"{case[0]['kind']}-{case[0]['predicate']}" for case in TRUE])
def test_a_true_claim_holds_and_its_sentence_is_ours(case, pack, said, wanted, sentence):
    found = ground(case, pack, said, ids(case, **wanted))
    assert (found["holds"], found["wrong"], found["sentence"]) == (True, None, sentence)
    assert any("\uac00" <= char <= "\ud7a3" for char in found["sentence_ko"])


def test_an_order_holds_only_the_right_way_round(case, pack):
    both = ids(case, resource="clusterrolebindings") + ids(case, subresource="exec")
    assert ground(case, pack, claim("order", "binding_cluster_admin", then="pod_exec"), both)["holds"]
    turned = ground(case, pack, claim("order", "pod_exec", then="binding_cluster_admin"), both)
    assert turned["wrong"] == "what it calls later came first"


FALSE = [
    (claim("count", "secret_get", 6), {"resource": "secrets", "verb": "get"}, "happened 5 times, not 6"),
    (claim("count", "secret_list", 1), {"resource": "secrets", "verb": "get"}, "5 of 5 cited events are not of that kind"),
    (claim("denial", "secret_get", 4), {"status": 403}, "3 such requests were denied, not 4"),
    (claim("denial", "secret_get", 3), {"resource": "secrets", "verb": "get"}, "2 of 5 cited events were not denied"),
    (claim("privilege", "pod_exec"), {"subresource": "exec"}, "this kind of event grants no privilege"),
    (claim("novelty", "request", scope="actor"), {"verb": "list"}, "the actor had done it before"),
    (claim("novelty", "request", scope="peers"), {"verb": "list"}, "others of its kind had done it before"),
    (claim("reach", "secret_get", 6, "secrets"), {"resource": "secrets", "verb": "get"}, "reached 5 different secrets, not 6"),
    (claim("reach", "secret_get", 1), {"verb": "get"}, "a reach needs one of: namespaces, secrets, nodes, resources"),
    (claim("order", "pod_exec", then="pod_exec"), {"subresource": "exec"}, "an order needs two different kinds of events"),
    (claim("order", "pod_exec", then="secret_list"), {"subresource": "exec"}, "does not cite an event of each of the two kinds"),
    (claim("guess", "pod_exec"), {"subresource": "exec"}, "claim is not in the grammar"),
    (claim("count", "evil_intent", 1), {"subresource": "exec"}, "claim is not in the grammar"),
    (claim("count", "pod_exec", 1), {"verb": "nothing"}, "cites no event"),
]


@pytest.mark.parametrize(("said", "wanted", "wrong"), FALSE, ids=[case[2] for case in FALSE])
def test_a_false_claim_is_marked_with_the_reason(case, pack, said, wanted, wrong):
    said = {**said, "kind": said["kind"]}
    answer = Answer(score=0.9, grounds=[Ground.model_construct(claim=Claim.model_construct(**said), event_ids=ids(case, **wanted))])
    row = verdict_row(case.candidates["case_id"][0], "test", "1", answer=answer)
    checked = verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, case.candidates)
    assert checked["grounds"][0][0]["wrong"] == wrong
    assert not checked["usable"][0]
    assert checked["score"][0] == 0.9


def test_events_that_do_not_exist_or_belong_to_another_case_are_marked(case, pack):
    other = case.events.filter(pl.col("user") == "dev-1")["event_id"][0]
    for strange in ("e99", other):
        found = ground(case, pack, claim("count", "request", 1), [strange])
        assert found["wrong"] == "cites 1 event outside the case's evidence"


def test_a_privilege_that_was_refused_does_not_hold(pack):
    rows = events_of_story()
    for row in rows:
        if row["resource"] == "clusterrolebindings":
            row.update(status=403, decision="forbid")
    tale = story(rows)
    from audit_lab.judge import build_evidence

    refused = ids(tale, resource="clusterrolebindings")
    found = ground(tale, build_evidence(*tale, max_tokens=3000), claim("privilege", "binding_cluster_admin"), refused)
    assert found["wrong"] == "none of the cited requests succeeded"
    tried = ground(tale, build_evidence(*tale, max_tokens=3000), claim("count", "binding_cluster_admin", 1), refused)
    assert tried["sentence"] == "The actor tried to bind the role cluster-admin once."


def test_a_true_claim_that_most_peers_could_make_is_called_common(case, pack):
    found = ground(case, pack, claim("count", "request", 1), ids(case))
    assert found["holds"]
    assert found["relevance"] == 0
    assert found["note"] == "common: 100% of 13 comparable sessions show the same"
    rare = ground(case, pack, claim("count", "secret_get", 5), ids(case, verb="get"))
    assert (rare["relevance"], rare["note"]) == (1.0, None)


def test_too_few_peers_give_no_relevance_but_a_reason():
    tale = story(events_of_story(n_peers=4))
    from audit_lab.judge import build_evidence

    found = ground(tale, build_evidence(*tale, max_tokens=3000), claim("count", "secret_get", 5), ids(tale, resource="secrets", verb="get"))
    assert found["holds"]
    assert found["relevance"] is None
    assert found["note"] == "only 5 comparable sessions: nobody knows how common this is"


def test_a_number_alone_neither_raises_an_alarm_nor_talks_one_down(case, pack):
    for score, fused, usable in ((0.9, 0.2, False), (0.1, 0.2, True), (0.1, 0.8, False), (0.9, 0.8, False)):
        row = verdict_row(case.candidates["case_id"][0], "test", "1", answer=Answer(score=score))
        candidates = case.candidates.with_columns(score=pl.lit(fused))
        checked = verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, candidates)
        assert checked["usable"][0] is usable, (score, fused)
        assert checked["grounded_share"][0] is None


def test_an_abstention_passes_through(case, pack):
    row = verdict_row(case.candidates["case_id"][0], "test", "1", abstain="too little to say")
    checked = verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, case.candidates)
    assert (checked["score"][0], checked["usable"][0], checked["abstain"][0]) == (None, False, "too little to say")


def test_the_baseline_stands_on_grounds_that_hold(case, pack):
    judged = judge_cases(case.candidates, pack, case.signals)
    checked = verify_verdicts(judged.verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["grounded_share"].to_list() == [1.0]
    assert checked["usable"].to_list() == [True]
    assert checked["grounds"].list.len().to_list() == [3]
