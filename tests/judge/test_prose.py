"""What a model's own words are held against: whole sentences, shares, numbers; in English and Korean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit_lab.judge.case_numbers import CaseNumbers
from audit_lab.judge.prose import check_prose
from audit_lab.judge.topics import TOPICS, find_mentions
from audit_lab.predicates import PREDICATES

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def at(first: float, last: float) -> tuple[datetime, datetime]:
    return START + timedelta(seconds=first), START + timedelta(seconds=last)


# A service account lists secrets seven times (five refused), then binds cluster-admin once, and writes nothing else. Two tries to
# delete a webhook were refused.
CASE = CaseNumbers(
    named={"events": 20, "writes": 3, "denied": 7, "namespaces": 4, "secrets": 0, "nodes": 0},
    counts={"secret_list": 7, "binding_cluster_admin": 1, "binding_write": 1, "webhook_delete": 2, "request": 20},
    succeeded={"secret_list": 2, "binding_cluster_admin": 1, "binding_write": 1, "webhook_delete": 0, "request": 13},
    shown=frozenset({1, 2, 4, 5, 7, 13, 20}),
    denied={"secret_list": 5, "webhook_delete": 2, "request": 7},
    spans={"secret_list": at(0, 10), "binding_cluster_admin": at(20, 20), "webhook_delete": at(30, 31)},
    kinds=frozenset({"service_account"}),
)
TRUE = [
    "The service account listed secrets seven times, five of these refused, and then bound cluster-admin.",
    "It tried to delete a webhook, in vain.",
    "Deleting the webhooks was refused.",
    "Secrets were listed before cluster-admin was bound.",
    "Seven of 20 requests were denied; most of the requests were allowed.",
    "About 35% of the requests were denied.",
    "No webhook was deleted and no commands were run.",
    "The requests came from a service account.",
    "A role binding to cluster-admin was created under a workload's identity.",
    "Some requests were refused.",
    "서비스 어카운트가 시크릿 목록을 7회 조회했습니다.",
    "웹훅 삭제 시도는 거부되었습니다.",
    "요청 20건 중 7건이 거부되었습니다.",
]
FALSE = [
    ("The service account deleted two webhooks.", "all 2 tries were refused"),
    ("Binding cluster-admin was refused.", "the tables say allowed"),
    ("It bound cluster-admin and only then listed secrets.", "the tables say the reverse"),
    ("After binding cluster-admin, it listed secrets.", "the tables say the reverse"),
    ("A developer listed secrets.", "names 'developer' as the actor"),
    ("The requests came from a node.", "names 'node' as the actor"),
    ("All requests were allowed.", "7 of 20 requests refused"),
    ("Most of the requests were denied.", "7 of 20 requests refused"),
    ("Half of the requests were refused... or all 20 requests were denied.", "7 of 20 requests refused"),
    ("80% of requests were denied.", "7 of 20 requests refused"),
    ("Only four requests were denied.", "7 of 20 requests refused"),
    ("Secrets were never listed.", "denies"),
    ("Thirty cluster role bindings were created.", "did not happen"),
    ("Commands were run in a container.", "did not happen"),
    ("It listed secrets twelve times.", "says 12 times"),
    ("사람이 시크릿 목록을 조회했습니다.", "as the actor"),
    ("모든 요청이 모두 허용되었습니다. 거부된 요청은 없었습니다.", "says that nothing was denied"),
    ("cluster-admin 바인딩은 거부되었습니다.", "the tables say allowed"),
    ("웹훅을 삭제했습니다.", "all 2 tries were refused"),
    ("시크릿 목록을 조회하지 않았습니다.", "which happened"),
]


@pytest.mark.parametrize("summary", TRUE)
def test_true_prose_passes(summary):
    assert check_prose(summary, CASE, 0.6) == []


@pytest.mark.parametrize(("summary", "wrong"), FALSE)
def test_false_prose_is_told_why(summary, wrong):
    assert any(wrong in line for line in check_prose(summary, CASE, 0.6)), check_prose(summary, CASE, 0.6)


def test_every_topic_names_predicates_that_exist():
    assert {name for topic in TOPICS for name in topic.predicates} <= set(PREDICATES)


def test_verb_and_noun_that_stand_closest_belong_together():
    words = [mention.words for mention in find_mentions("It created a service account and read secrets of two namespaces.")]
    assert words == ["created a service account", "read secrets"]


@pytest.mark.parametrize("text", ["", "a " * 5000, "listed " * 2000 + "secrets", "시크릿" * 3000, "1 " * 4000, "all " * 3000 + "requests"])
def test_long_and_odd_prose_takes_no_time(text):
    import time

    started = time.process_time()
    check_prose(text[:600], CASE, 0.5)
    assert time.process_time() - started < 0.5
