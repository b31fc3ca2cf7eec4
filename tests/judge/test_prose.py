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


# Written while the checker was mended: sentences that are easily read for what they do not say.
EASILY_MISREAD = [
    "Nothing was denied to begin with, then secrets lists were refused five times.",
    "It listed secrets, while reading the config maps was refused.",
    "Listing secrets was refused in some namespaces and worked in others.",
    "Every attempt to delete a webhook failed.",
    "The webhooks could not be deleted.",
    "It was not only listing secrets but also bound cluster-admin.",
    "No fewer than seven secret lists were made.",
    "Secrets were listed in every namespace it knows, five times in vain.",
    "More than five lists of secrets.",
    "Two attempts to list secrets succeeded.",
    "It was able to list secrets twice.",
    "Secrets were listed, but not read by name.",
    "It did not stop at listing secrets.",
    "All attempts to list secrets in kube-system were refused.",
    "It could list secrets in two namespaces only.",
    "Listing secrets did not always work.",
    "Not every attempt to list secrets failed.",
    "Webhooks were not touched.",
    "No secrets, webhooks or role bindings were deleted.",
    "One request was refused for lack of rights on webhooks.",
    "About a third of the requests were denied.",
    "Roughly one in three requests was refused.",
    "All but seven of the 20 requests were allowed.",
    "Nobody deleted a webhook.",
    "The role cluster-admin was bound without any objection.",
    "Binding cluster-admin was never refused.",
    "Once cluster-admin was bound, nothing else happened but two refused webhook deletions.",
    "It took about half a minute.",
    "Had the webhook been deleted, admission would be open.",
    "Every namespace it listed secrets in was new to it.",
    "The user kept listing secrets although most tries failed.",
    "None of the secrets was read.",
    "The webhook deletion was refused with 403.",
    "The attempts were answered with 403, except for two lists of secrets.",
    "It bound cluster-admin, which should not have been permitted.",
    "It bound cluster-admin; this was not expected.",
    "The cluster-admin binding was created and has not been removed.",
    "Cluster-admin was granted and was not revoked.",
    "Secrets were listed and the activity was not routine.",
    "A role binding was created, which it did not need.",
    "It listed secrets, but not in kube-system.",
    "시크릿 목록 조회는 일부만 성공했습니다.",
    "시크릿 목록을 조회했지만 읽지는 않았습니다.",
    "It listed secrets seven times: five times it failed and twice it succeeded.",
    "It created a role binding; all of it without a refusal.",
    "Several lists of secrets were refused.",
    "The account never deleted webhooks, although it tried twice.",
    "Most lists of secrets were refused, and the binding went through.",
    "Cluster-admin was bound at the very end, not before.",
    "The account tried to delete a webhook twice and failed both times.",
    "Two tries at deleting a webhook came to nothing.",
    "Five of its seven secret lists were turned down, the remaining two went through.",
    "After some failures it bound cluster-admin.",
    "It gained cluster-admin through a new role binding; no pod was executed into.",
    "It did no harm to pods: none was deleted, none changed.",
    "No exec, no impersonation, no webhook change.",
    "The seven lists of secrets cover four namespaces; only two of these lists returned anything.",
    "There is no evidence that secrets were read by name.",
    "I see no sign of impersonation.",
    "Its rights did not suffice to delete webhooks.",
    "It lacked the right to delete the webhook.",
    "What stands out is a binding to cluster-admin that nobody asked for.",
    "A binding to cluster-admin was created, and no request for it was denied.",
    "Six requests came before the first refusal.",
    "The binding was created in the first minute and the deletions were attempted later.",
    "More than half of the requests were allowed.",
    "A little over a third of the requests were denied.",
    "Fewer than ten of the requests were denied.",
    "The account was refused seven times and had thirteen requests allowed.",
    "Not all requests were denied.",
    "Not a single webhook was deleted.",
    "It could not delete any webhook.",
    "It could delete nothing.",
    "Unless the binding is removed, the account can read every secret.",
    "With cluster-admin it can delete webhooks and run commands in pods.",
    "Nobody but the service account listed secrets.",
    "The service account, not a person, listed the secrets.",
    "Its two attempts to remove a webhook were both denied, while every binding it made was accepted.",
    "Neither webhook was deleted.",
    "시크릿 목록 조회 7회 중 5회는 거부되고 2회는 성공했습니다.",
    "웹훅은 삭제되지 않았습니다.",
    "cluster-admin이 부여되었으나 명령 실행은 없었습니다.",
]
CONTRADICTING = [
    "The webhooks were deleted without a refusal.",
    "Listing secrets always worked.",
    "Every attempt to list secrets was refused.",
    "Two thirds of the requests were denied.",
    "It managed to delete a webhook.",
    "The binding to cluster-admin did not succeed.",
    "Cluster-admin could not be bound.",
    "Dozens of webhooks were targeted for deletion... hundreds of role bindings were created.",
    "One in ten requests was refused.",
    "Nothing was refused.",
    "Everything was refused.",
    "Cluster-admin was bound before any secret was listed.",
    "It never listed secrets.",
    "The attempt to delete a webhook was successful.",
    "At least ten secret lists were made.",
    "More than thirty times cluster-admin was bound.",
    "The account failed to bind cluster-admin.",
    "Deleting the webhooks worked.",
    "Granting cluster-admin was not permitted.",
]


@pytest.mark.parametrize("summary", EASILY_MISREAD)
def test_true_prose_that_is_easily_misread_is_not_doubted(summary):
    assert check_prose(summary, CASE, 0.6) == []


@pytest.mark.parametrize("summary", CONTRADICTING)
def test_outcomes_fractions_and_bounds_are_held_against_the_tables(summary):
    assert check_prose(summary, CASE, 0.6)


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
