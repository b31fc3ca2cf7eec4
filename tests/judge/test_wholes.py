"""English prose: outcomes by many names, exceptions, orders told by 'first' and 'last', actors by other means than the subject, and wholes."""

from __future__ import annotations

import dataclasses

import pytest

from audit_lab.judge.case_numbers import CaseNumbers, number_value
from audit_lab.judge.prose import check_prose
from tests.judge.test_prose import CASE as SOME
from tests.judge.test_prose import at

# The case of `test_prose.py` (a service account lists secrets, binds cluster-admin, fails to delete a webhook), with what wholes need.
CASE = dataclasses.replace(
    SOME, counts={**SOME.counts, "delete_any": 2, "write_or_delete": 3, "denied": 7},
    denied={**SOME.denied, "delete_any": 2, "write_or_delete": 2, "denied": 7},
    succeeded={**SOME.succeeded, "delete_any": 0, "write_or_delete": 1, "denied": 0},
    spans={**SOME.spans, "request": at(0, 31), "denied": at(1, 31)}, routine=(3, 10))
TRUE = [
    "A robot account went looking for secrets in four namespaces and, having been told no five times, made itself cluster-admin.",
    "Thirteen of the twenty requests got through; the remaining seven bounced.",
    "Both attempts to get rid of a webhook were rebuffed.",
    "The webhook survived two attempts to delete it.",
    "The webhook was left in place because both deletions were refused.",
    "It took the account twenty seconds to get from its first list of secrets to cluster-admin.",
    "Within half a minute the whole thing was over.",
    "Only two of the seven secret lists returned anything.",
    "Listing secrets mostly failed; binding cluster-admin did not.",
    "No pod was started, no shell was opened, and no token was minted.",
    "Nothing was deleted.",
    "Nothing was deleted, although two deletions were attempted.",
    "Apart from the binding, nothing was changed.",
    "Other than creating one binding, it changed nothing.",
    "The single change that went through is a binding to cluster-admin.",
    "One write out of three was accepted.",
    "Cluster-admin came only after the lists of secrets.",
    "The binding to cluster-admin was preceded by seven lists of secrets.",
    "The binding followed the secret lists by about ten seconds.",
    "First it listed secrets, then it bound cluster-admin, and at the end it went for the webhooks.",
    "Webhooks were targeted last.",
    "It had never bound cluster-admin before.",
    "For the first time this account bound cluster-admin.",
    "The account is a service account, not a human.",
    "There is no sign of a person at work here.",
    "A human should look at the binding.",
    "An administrator should check whether the binding was intended.",
    "The role binding gives a service account full control.",
    "A developer may have used this service account.",
    "The other webhooks were left alone.",
    "More requests were allowed than refused.",
    "Refusals made up a third of the traffic.",
    "There were nearly twice as many successes as refusals.",
    "Two thirds of the requests went through.",
    "The majority of requests were let through.",
    "A handful of requests were refused.",
    "Half a dozen or so requests were refused.",
    "Seven refusals in thirty seconds.",
    "All refusals concern secrets and webhooks.",
    "Every refusal is about secrets or webhooks.",
    "None of the refusals concerned the binding.",
    "It was refused access to secrets in some namespaces and got it in others.",
    "Refused at first, it listed secrets successfully in the end.",
    "All of its attempts on webhooks were thwarted.",
    "It asked for secrets seven times and was turned away five times.",
    "Cluster-admin was granted once, and that was enough.",
    "The one grant of cluster-admin was honoured.",
    "Its requests were answered with a mix of 200 and 403.",
    "Some of its calls were answered with 403.",
    "It never touched pods or nodes.",
    "Role bindings aside, nothing was written.",
    "It left roles untouched.",
    "Roles were left untouched.",
    "It could neither delete nor change any webhook.",
    "Its hunt for secrets met with limited success.",
    "The account did not act under another name.",
    "No impersonation took place, nor was any certificate requested.",
    "What it did with cluster-admin afterwards was nothing but two refused deletions.",
    "The session is short: twenty requests in about thirty seconds.",
    "Four namespaces saw a list of their secrets requested.",
    "The service account's token may have been stolen.",
    "The service account made a binding; who made the service account is unknown.",
    "The attempt to bind cluster-admin succeeded at once.",
    "A failed attempt to delete a webhook was repeated once.",
    "It listed secrets twice with success and five times without.",
    "Twenty requests, seven refusals, one new binding.",
    "With its own rights it could list secrets in only two places.",
    "It was allowed to list secrets twice.",
    "Five secret lists ran into a 403.",
    "It seems to be an automated job that tests its permissions.",
]
FALSE = [
    "The webhook was taken down.",
    "A webhook was successfully removed.",
    "Both webhook deletions went through.",
    "The grant of cluster-admin was turned down.",
    "It failed to get hold of cluster-admin.",
    "Binding cluster-admin bounced with a 403.",
    "Cluster-admin was never granted.",
    "No binding was created.",
    "The account left the role bindings untouched.",
    "Role bindings were left alone.",
    "It bound cluster-admin first and listed secrets afterwards.",
    "The lists of secrets followed the binding to cluster-admin.",
    "Once cluster-admin was bound, it began to list secrets.",
    "Each of the secret lists succeeded.",
    "All lists of secrets were refused.",
    "Not one list of secrets got through.",
    "Nearly every request was refused.",
    "Nine in ten requests were refused.",
    "Most requests bounced.",
    "None of the requests was turned down.",
    "It met no resistance at all.",
    "There were more refusals than successes.",
    "Failures outnumbered successes.",
    "There were fewer successes than failures.",
    "Seventy requests were sent.",
    "Two dozen namespaces were touched.",
    "Secrets were listed more than a dozen times.",
    "Sixty-three requests were refused.",
    "The session went on for several hours.",
    "A developer bound cluster-admin.",
    "The secrets were listed by an administrator.",
    "It was a human who listed the secrets.",
    "The actor is a node.",
    "This is the work of an anonymous client.",
    "An anonymous caller listed secrets.",
    "Commands were issued in a container.",
    "It opened a shell in a pod.",
    "It impersonated another user.",
    "A token was minted.",
    "Several objects were deleted.",
    "It deleted three secrets.",
    "Pods were created in two namespaces.",
    "A privileged pod was started.",
    "DNS settings were changed.",
    "A certificate was requested and approved.",
    "Nothing was changed.",
    "The session only looked around.",
    "It was strictly read-only.",
    "The account changed nothing.",
    "A daemon set was deployed on every node.",
    "It wrote a role with wildcard rights.",
    "The account did nothing it had not done before; all of it was routine.",
    "It made five bindings to cluster-admin.",
]


@pytest.mark.parametrize("summary", TRUE)
def test_true_english_prose_is_not_doubted(summary):
    assert check_prose(summary, CASE, 0.6) == []


@pytest.mark.parametrize("summary", FALSE)
def test_false_english_prose_is_found(summary):
    assert check_prose(summary, CASE, 0.6)


def test_what_an_actor_always_did_is_not_new():
    case = CaseNumbers({}, {"secret_get": 2}, {"secret_get": 2}, routine=(5, 5))
    assert check_prose("It had never read secrets before.", case, 0.6)
    assert check_prose("It had never read secrets before.", dataclasses.replace(case, routine=(3, 5)), 0.6) == []
    assert check_prose("Nothing about it is new.", dataclasses.replace(case, routine=(1, 5)), 0.6)


@pytest.mark.parametrize(("words", "value"), [("sixty-three", 63), ("two dozen", 24), ("half a dozen", 6), ("three hundred", 300), ("1,200", 1200)])
def test_compound_numbers_are_read(words, value):
    assert number_value(words) == value


def test_a_denial_with_a_scope_is_of_that_scope():
    assert check_prose("Nothing was created under that name.", CASE, 0.6) == []
    assert check_prose("Nothing was created.", CASE, 0.6)
    assert check_prose("The other role bindings were left alone.", CASE, 0.6) == []
    assert check_prose("The role bindings were left alone.", CASE, 0.6)
