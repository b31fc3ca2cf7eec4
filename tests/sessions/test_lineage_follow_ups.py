"""Follow-ups: what controllers do is attached to who asked for it, through owners and names."""

import polars as pl
import pytest
from story_frames import AWAY, account, creates, mints, world

DAY = 86_400


def controller(which: str, **row: object) -> dict:
    return {"user": account(f"{which}-controller", "kube-system"), "source_ip": "10.0.0.5", "namespace": "dev", "status": 201, **row}


def deployment(name: str = "web", **row: object) -> dict:
    return creates("deployments", name, api_group="apps", **row)


def follow_ups(made) -> dict[str, tuple[list[str], list[str], float]]:
    """Controller -> (events that asked, events that answered, score)."""
    names = dict(made.sessions.select("session_id", "actor").iter_rows())
    rows = made.links.filter(pl.col("kind") == "follow_up").iter_rows(named=True)
    return {names[row["to_session"]].rsplit(":", 1)[-1].removesuffix("-controller"): (row["from_event_ids"], row["to_event_ids"], row["score"])
            for row in rows}


REPLICASET = controller("deployment", verb="create", resource="replicasets", api_group="apps", name="web-5d4f8", owner_kind="Deployment",
                        owner_name="web", at=1)
POD = controller("replicaset", verb="create", resource="pods", name="web-5d4f8-x7k2p", owner_kind="ReplicaSet", owner_name="web-5d4f8", at=2)


def test_a_deployment_its_replica_set_and_its_pod():
    made = world(deployment(at=0), REPLICASET, POD,
                 {"user": "system:kube-scheduler", "source_ip": "10.0.0.5", "verb": "create", "resource": "pods", "subresource": "binding",
                  "name": "web-5d4f8-x7k2p", "namespace": "dev", "status": 201, "at": 3})
    found = follow_ups(made)
    assert found["deployment"] == (["e0000"], ["e0001"], 0.9)
    assert found["replicaset"] == (["e0000"], ["e0002"], 0.9)
    assert found["kube-scheduler"] == (["e0000"], ["e0003"], 0.6)


def test_follow_ups_of_one_session_alone_make_no_story_and_are_attached_to_one():
    assert world(deployment(at=0), REPLICASET, POD).stories.is_empty()
    made = world(mints("bot", at=0), {"user": account("bot"), "source_ip": AWAY, "at": 0.5}, deployment(at=0.7), REPLICASET, POD)
    roles = dict(made.stories.join(made.sessions, on="session_id").select("actor", "role").iter_rows())
    assert roles == {"ann": "cause", account("bot"): "member", account("deployment-controller", "kube-system"): "follow_up",
                     account("replicaset-controller", "kube-system"): "follow_up"}


def test_a_controller_that_answers_two_stories_is_in_both_and_joins_neither():
    first = [mints("bot", at=0), {"user": account("bot"), "source_ip": AWAY, "at": 1}, deployment("web", at=2)]
    second = [mints("other", user="ben", source_ip="10.0.0.2", at=3), {"user": account("other"), "source_ip": "203.0.113.77", "at": 4},
              deployment("api", user="ben", source_ip="10.0.0.2", at=5)]
    answers = [{**REPLICASET, "at": 6}, {**REPLICASET, "name": "api-77c5d", "owner_name": "api", "at": 7}]
    made = world(*first, *second, *answers)
    assert len(made.groups()) == 2
    assert made.stories.filter(pl.col("role") == "follow_up")["session_id"].n_unique() == 1
    assert made.stories.filter(pl.col("role") == "follow_up").height == 2


def test_a_cronjob_goes_on_causing_jobs_and_pods_for_hours():
    job = controller("cronjob", verb="create", resource="jobs", api_group="batch", name="sync-17954", owner_kind="CronJob", owner_name="sync", at=7200)
    pod = controller("job", verb="create", resource="pods", name="sync-17954-68m2p", owner_kind="Job", owner_name="sync-17954", at=7201)
    made = world(creates("cronjobs", "sync", api_group="batch", at=0), job, pod)
    assert set(follow_ups(made)) == {"cronjob", "job"}
    assert follow_ups(world(creates("cronjobs", "sync", api_group="batch", at=0), {**job, "at": 2 * DAY}, {**pod, "at": 2 * DAY})) == {}


def test_what_comes_much_later_has_another_cause():
    assert follow_ups(world(deployment(at=0), {**REPLICASET, "at": 600}, {**POD, "at": 601})) == {}


def test_an_autoscaler_in_between_is_the_nearer_cause():
    scale = controller("horizontal-pod-autoscaler", verb="update", resource="deployments", api_group="apps", subresource="scale", name="web",
                       status=200, at=5)
    scale["user"] = account("horizontal-pod-autoscaler", "kube-system")
    assert follow_ups(world(deployment(at=0), scale, {**REPLICASET, "verb": "update", "status": 200, "at": 6})) == {}


def test_a_deleted_pod_is_made_again_by_its_owner():
    delete = {"verb": "delete", "resource": "pods", "name": "web-5d4f8-old22", "namespace": "dev", "at": 0}
    assert follow_ups(world(delete, {**POD, "at": 2}))["replicaset"] == (["e0000"], ["e0001"], 0.9)


def test_garbage_is_collected_by_name_and_namespaces_are_emptied():
    collect = {"user": account("generic-garbage-collector", "kube-system"), "source_ip": "10.0.0.5", "verb": "delete", "resource": "pods",
               "name": "web-5d4f8-x7k2p", "namespace": "dev", "at": 2}
    delete = {"verb": "delete", "resource": "deployments", "api_group": "apps", "name": "web", "namespace": "dev", "at": 0}
    assert follow_ups(world(delete, collect))["generic-garbage-collector"][2] == 0.6
    empty = controller("namespace", verb="deletecollection", resource="configmaps", status=200, at=3)
    gone = {"verb": "delete", "resource": "namespaces", "name": "dev", "namespace": "dev", "at": 0}
    assert follow_ups(world(gone, empty))["namespace"] == (["e0000"], ["e0001"], 0.5)


def test_an_account_gets_its_secret_and_a_certificate_is_signed():
    secret = {"user": "system:kube-controller-manager", "source_ip": "10.0.0.5", "verb": "create", "resource": "secrets",
              "name": "bot-token-x7k2p", "namespace": "dev", "status": 201, "at": 1}
    assert follow_ups(world(creates("serviceaccounts", "bot", at=0), secret))["kube-controller-manager"][2] == 0.6
    csr = {"resource": "certificatesigningrequests", "api_group": "certificates.k8s.io", "name": "req", "namespace": None}
    sign = controller("certificate", **{**csr, "verb": "update", "subresource": "status", "status": 200, "at": 2, "namespace": None})
    assert follow_ups(world({**csr, "verb": "create", "status": 201, "at": 0}, sign))["certificate"][2] == 0.8


@pytest.mark.parametrize("change", [{"namespace": "shop"}, {"owner_name": "api"}, {"status": 409}])
def test_other_namespaces_other_owners_and_failures_are_not_answers(change):
    assert follow_ups(world(deployment(at=0), {**REPLICASET, **change})) == {}


def test_operators_and_people_follow_up_nothing():
    operator = {**REPLICASET, "user": account("operator"), "source_ip": "10.9.0.1"}
    assert follow_ups(world(deployment(at=0), operator)) == {}
