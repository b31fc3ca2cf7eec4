from __future__ import annotations

import polars as pl
import pytest

from audit_lab.judge import judge_cases, verify_verdicts
from audit_lab.judge.omissions import names_innocence
from audit_lab.judge.prompt import failures
from audit_lab.judge.relevance import tells
from audit_lab.judge.rows import claim
from audit_lab.judge.schema import ALL_COMMON, NO_GROUND, Answer, Claim, Ground
from audit_lab.judge.verdicts import verdict_frame, verdict_row
from tests.judge.story import events_of_story, story

HINT = "give one that sets this case apart, or, for a low score, say in the summary what speaks for innocence"


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


def judged(case, pack, score, fused, grounds, summary="", floor=None, action="close"):
    answer = Answer(score=score, summary=summary, action=action, grounds=[Ground(claim=Claim(**said), event_ids=cited) for said, cited in grounds])
    row = verdict_row(case.candidates["case_id"][0], "test", "1", answer=answer, floor=floor)
    candidates = case.candidates.with_columns(score=pl.lit(fused))
    return verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, candidates).row(0, named=True)


def test_what_everybody_does_is_no_ground_for_either_verdict(case, pack):
    """A model that always says 'a request was made' held all its grounds and talked cases down."""
    everybody, rare = (claim("count", "request", 1), ids(case)[:1]), (claim("count", "secret_get", 5), ids(case, verb="get"))
    for score, fused, usable in ((0.9, 0.2, False), (0.9, 0.9, False), (0.05, 0.9, False), (0.05, 0.2, True)):
        lazy = judged(case, pack, score, fused, [everybody])
        assert (lazy["usable"], lazy["set_aside"]) == (usable, None if usable else ALL_COMMON), (score, fused)
        assert lazy["grounded_share"] == 0
        assert failures(lazy) == ([] if usable else [f"{ALL_COMMON}; {HINT}"])
        telling = judged(case, pack, score, fused, [everybody, rare])
        assert (telling["usable"], telling["set_aside"], telling["grounded_share"]) == (True, None, 0.5)


def test_a_low_score_against_the_signals_may_rest_on_what_speaks_for_innocence_and_is_true(case, pack):
    everybody = [(claim("count", "request", 1), ids(case)[:1])]
    text = "innocence: 4 of 4 actions done by this actor before, in 9 earlier sessions; nothing denied"
    innocent = pack.with_columns(pl.when(pl.col("query_id") == "innocence").then(pl.lit(text)).otherwise("text").alias("text"))
    routine, silent = "The actor did its usual routine.", "Nothing was denied."
    assert judged(case, innocent, 0.05, 0.9, everybody, routine)["usable"]
    # What is not so, what is true of most attacks, a number without any ground, and a high score cannot rest on it.
    assert judged(case, pack, 0.05, 0.9, everybody, routine)["set_aside"] == ALL_COMMON
    assert judged(case, innocent, 0.05, 0.9, everybody, silent)["set_aside"] == ALL_COMMON
    assert judged(case, innocent, 0.05, 0.9, [], routine)["set_aside"] == NO_GROUND
    assert judged(case, innocent, 0.9, 0.9, everybody, routine)["set_aside"] == ALL_COMMON


def test_refusals_after_which_nothing_was_allowed_speak_for_innocence():
    said = ["refused 3 of 8 requests; allowed 5 before the first refusal and 0 after it [e2-e4] {denial request 3}"]
    assert names_innocence([], said, "All its tries were refused.")
    assert not names_innocence([], [said[0].replace("and 0 after", "and 4 after")], "All its tries were refused.")


def test_a_floor_raises_the_action_with_the_score_and_the_prose_must_fit_it(case, pack):
    rare = [(claim("count", "secret_get", 5), ids(case, verb="get"))]
    lifted = judged(case, pack, 0.01, 0.9, rare, "Ordinary work, nothing suspicious.", floor=0.7)
    assert (lifted["score"], lifted["raw_score"], lifted["action"]) == (0.7, 0.01, "review")
    assert lifted["summary_wrong"] == "calls the case ordinary at a score of 0.70"
    assert judged(case, pack, 0.01, 0.9, rare, floor=0.9)["action"] == "escalate"
    assert judged(case, pack, 0.01, 0.9, rare, floor=0.7, action="escalate")["action"] == "escalate"
    assert judged(case, pack, 0.01, 0.9, rare)["action"] == "close"
    silent = verdict_row("c", "test", "1", answer=Answer(score=None, abstain="no idea", action="close"), floor=0.7)
    assert (silent["score"], silent["action"]) == (None, "review")


def test_with_too_few_peers_what_is_ordinary_by_itself_tells_nothing():
    ground = {"holds": True, "relevance": None, "claim": claim("count", "request", 1)}
    assert not tells(ground)
    assert tells({**ground, "claim": claim("count", "secret_list", 1)})
    assert not tells({**ground, "holds": False, "claim": claim("count", "secret_list", 1)})
