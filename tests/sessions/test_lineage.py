"""Links: what is made in one session and used in another, each kind on a world of a few requests."""

import polars as pl
import pytest
from story_frames import AWAY, GAP_S, HOME, RBAC, account, binds, creates, mints, world, writes_role

from audit_lab import tables
from audit_lab.errors import ContractError
from audit_lab.sessions.lineage import BUDGET, JOIN_SCORE, LINK_KINDS, link_sessions, link_traces
from audit_lab.sessions.traces import find_traces, merge_traces

BOT = account("bot")
HOUR, DAY = 3600, 86_400


def at_home(name: str = "ann") -> str:
    return f"{name}@{HOME}"


def away(name: str = BOT) -> str:
    return f"{name}@{AWAY}"


# ---- a service account, its token, its use ---------------------------------------------------------------------------


def test_account_made_bound_minted_and_used_from_elsewhere_is_one_story():
    # ann creates the account, binds it to cluster-admin, mints a token; the account acts from a public address.
    made = world(
        creates("serviceaccounts", "bot", at=0),
        creates("clusterrolebindings", "bot-admin", None, api_group=RBAC, subjects=["ServiceAccount/dev/bot"],
                role_ref="ClusterRole/cluster-admin", at=2),
        mints("bot", at=4),
        {"user": BOT, "source_ip": AWAY, "verb": "list", "resource": "secrets", "at": 9,
         "grant_binding": "ClusterRoleBinding/bot-admin", "grant_role": "ClusterRole/cluster-admin"},
    )
    assert made.kinds(JOIN_SCORE) == {
        ("account_created", at_home(), away()), ("token_minted", at_home(), away()), ("right_granted", at_home(), away()),
    }
    assert made.groups() == [{at_home(), away()}]
    assert dict(made.stories.join(made.sessions, on="session_id").select("actor", "role").iter_rows()) == {"ann": "cause", BOT: "member"}


def test_links_cite_the_events_of_both_sides_and_name_the_object():
    made = world(mints("bot", at=0), {"at": 1}, {"user": BOT, "source_ip": AWAY, "at": 5}, {"user": BOT, "source_ip": AWAY, "at": 6})
    link = made.links.filter(pl.col("kind") == "token_minted").row(0, named=True)
    assert link["from_event_ids"] == ["e0000"]
    assert link["to_event_ids"] == ["e0002", "e0003"]
    assert link["object"] == "ServiceAccount/dev/bot"
    assert link["link_id"].startswith("l-")


def test_chain_over_three_sessions_is_one_story():
    made = world(
        creates("serviceaccounts", "bot", user="ann", at=0),
        mints("bot", user="ben", source_ip="10.0.0.2", at=5),
        {"user": BOT, "source_ip": AWAY, "at": 9},
    )
    assert made.groups() == [{at_home(), "ben@10.0.0.2", away()}]


def test_reading_the_secret_of_an_account_gives_its_token():
    made = world(
        {"user": BOT, "source_ip": "10.9.9.9", "at": 0},
        {"verb": "get", "resource": "secrets", "namespace": "dev", "name": "bot-token-x7k2p", "at": 2},
        {"user": BOT, "source_ip": AWAY, "at": 4},
    )
    assert ("token_minted", at_home(), away()) in made.kinds(JOIN_SCORE)


@pytest.mark.parametrize("name", ["bot-token-x7a2p", "bot-token", "bot-token-x7k2p9"])
def test_other_secrets_are_no_tokens(name):
    # The generated part of a name has five characters and no vowel.
    made = world({"verb": "get", "resource": "secrets", "namespace": "dev", "name": name, "at": 2}, {"user": BOT, "source_ip": AWAY, "at": 4})
    assert "token_minted" not in made.links["kind"].to_list()


def test_a_written_token_secret_counts_by_the_account_that_it_is_for():
    made = world(
        creates("secrets", "mine", attributes=["token_for:bot"], secret_type="kubernetes.io/service-account-token", at=0),
        {"user": BOT, "source_ip": AWAY, "at": 4},
    )
    assert ("token_minted", at_home(), away()) in made.kinds(JOIN_SCORE)


def test_a_token_bound_to_a_pod_is_not_the_minted_one():
    made = world(mints("bot", at=0), {"user": BOT, "source_ip": AWAY, "credential_pod": "bot-1", "at": 5})
    assert made.groups() == []
    assert ("token_minted", at_home(), away()) in made.kinds()


def test_an_account_that_goes_on_where_it_was_is_no_use_of_a_new_token():
    made = world({"user": BOT, "source_ip": AWAY, "at": 0}, mints("bot", at=2), {"user": BOT, "source_ip": AWAY, "at": 5})
    assert "token_minted" not in made.links["kind"].to_list()


def test_the_same_place_counts_as_new_after_a_day():
    made = world(
        {"user": BOT, "source_ip": AWAY, "at": 0}, mints("bot", at=2 * DAY), {"user": BOT, "source_ip": AWAY, "at": 2 * DAY + 9},
    )
    assert ("token_minted", at_home(), away()) in made.kinds(JOIN_SCORE)


def test_a_refused_request_makes_nothing():
    made = world(mints("bot", status=403, decision="forbid", at=0), {"user": BOT, "source_ip": AWAY, "at": 5})
    assert made.links.is_empty()


def test_what_is_made_after_its_use_or_a_day_before_it_joins_nothing():
    assert world({"user": BOT, "source_ip": AWAY, "at": 0}, mints("bot", at=5)).links.is_empty()
    assert world(mints("bot", at=0), {"user": BOT, "source_ip": AWAY, "at": DAY + HOUR}).groups() == []


def test_clusters_are_apart():
    assert world(mints("bot", at=0), {"user": BOT, "source_ip": AWAY, "cluster": "c2", "at": 5}).links.is_empty()


# ---- rights ----------------------------------------------------------------------------------------------------------


def test_the_first_use_of_a_binding_is_linked_and_later_ones_are_not():
    use = {"user": "ben", "source_ip": "10.0.0.2", "grant_binding": "RoleBinding/dev/team", "grant_role": "ClusterRole/edit"}
    made = world(binds("team", "User/ben", at=0), {**use, "at": 10}, {**use, "at": 10 + 5 * GAP_S})
    granted = made.links.filter(pl.col("kind") == "right_granted")
    assert granted.height == 1
    assert granted["to_event_ids"].to_list() == [["e0001"]]
    assert granted["object"].to_list() == ["RoleBinding/dev/team"]


def test_who_uses_what_it_made_itself_has_had_the_first_use():
    use = {"grant_binding": "RoleBinding/dev/mine", "grant_role": "ClusterRole/admin"}
    made = world(binds("mine", "User/ann", at=0), {**use, "at": 5}, {**use, "at": 5 + 5 * GAP_S})
    assert made.links.is_empty()


def test_a_rewritten_binding_gives_nothing_to_those_who_had_it():
    use = {"user": "ben", "source_ip": "10.0.0.2", "grant_binding": "RoleBinding/dev/team", "grant_role": "ClusterRole/edit"}
    rewrite = {**binds("team", "User/ben"), "verb": "patch", "status": 200}
    assert world({**use, "at": 0}, {**rewrite, "at": 5}, {**use, "at": 5 * GAP_S}).groups() == []
    assert world({**rewrite, "at": 5}, {**use, "at": 5 * GAP_S}).groups() == [{at_home(), "ben@10.0.0.2"}]


def test_a_widened_role_is_linked_to_the_first_use_of_the_new_rule_only():
    ben = {"user": "ben", "source_ip": "10.0.0.2", "namespace": "dev", "grant_binding": "RoleBinding/dev/team", "grant_role": "Role/app"}
    made = world(
        writes_role("app", "get core pods", verb="create", status=201, user="root", source_ip="10.0.0.9", at=0),
        {**ben, "verb": "get", "resource": "pods", "at": 10},
        writes_role("app", "get core pods,secrets", at=20),
        {**ben, "verb": "get", "resource": "pods", "at": 30},
        {**ben, "verb": "get", "resource": "secrets", "name": "db", "at": 31},
    )
    granted = made.links.filter((pl.col("kind") == "right_granted") & (pl.col("object") == "Role/dev/app (get secrets)"))
    assert granted["to_event_ids"].to_list() == [["e0004"]]
    assert granted["from_event_ids"].to_list() == [["e0002"]]


@pytest.mark.parametrize("rule", ["* core secrets", "get * *", "* * *"])
def test_a_wildcard_rule_grants_what_it_covers(rule):
    made = world(
        writes_role("app", rule, at=0),
        {"user": "ben", "source_ip": "10.0.0.2", "verb": "get", "resource": "secrets", "name": "db", "namespace": "dev",
         "grant_binding": "RoleBinding/dev/team", "grant_role": "Role/app", "at": 9},
    )
    assert ("right_granted", at_home(), "ben@10.0.0.2") in made.kinds(JOIN_SCORE)


def test_a_role_of_the_same_name_in_another_namespace_is_another_role():
    made = world(
        writes_role("app", "* * *", at=0),
        {"user": "ben", "source_ip": "10.0.0.2", "grant_binding": "RoleBinding/shop/team", "grant_role": "Role/app", "at": 9},
    )
    assert made.links.is_empty()


def test_without_a_reason_in_the_log_the_subject_itself_tells():
    made = world(binds("x", "User/eve", at=0), {"user": "eve", "source_ip": AWAY, "at": 9})
    assert made.groups() == [{at_home(), away("eve")}]


# ---- certificates ----------------------------------------------------------------------------------------------------

CSR = {"resource": "certificatesigningrequests", "api_group": "certificates.k8s.io", "name": "req"}


def test_certificate_requested_by_one_approved_by_another_used_by_a_third():
    made = world(
        {**CSR, "verb": "create", "status": 201, "csr_subject": "backup-agent", "at": 0},
        {**CSR, "verb": "update", "subresource": "approval", "csr_condition": "Approved", "user": "ben", "source_ip": "10.0.0.2", "at": 9},
        {"user": "backup-agent", "source_ip": AWAY, "at": 20},
    )
    assert made.kinds(JOIN_SCORE) == {
        ("certificate_requested", at_home(), "ben@10.0.0.2"), ("certificate_issued", "ben@10.0.0.2", away("backup-agent")),
    }
    assert len(made.groups()[0]) == 3


def test_a_denied_certificate_gives_no_user():
    made = world(
        {**CSR, "verb": "create", "status": 201, "csr_subject": "backup-agent", "at": 0},
        {**CSR, "verb": "update", "subresource": "approval", "csr_condition": "Denied", "at": 9},
        {"user": "backup-agent", "source_ip": AWAY, "at": 20},
    )
    assert made.links.is_empty()


# ---- workloads and pods ----------------------------------------------------------------------------------------------


def test_a_pod_under_an_account_is_linked_to_the_account_acting_from_a_new_place():
    made = world(
        {"user": BOT, "source_ip": "10.9.0.1", "at": 0},
        creates("pods", "shell", images=["alpine"], pod_service_account="bot", at=5),
        {"user": BOT, "source_ip": "10.9.0.2", "at": 9},
    )
    assert ("workload_started", at_home(), f"{BOT}@10.9.0.2") in made.kinds(JOIN_SCORE)


def test_who_starts_hundreds_of_pods_of_an_account_explains_no_single_use():
    pods = [creates("pods", f"job-{number}", images=["ci"], pod_service_account="bot", at=number / 10) for number in range(200)]
    made = world(*pods, {"user": BOT, "source_ip": "10.9.0.2", "at": 30})
    assert made.groups() == []


def test_a_token_used_away_from_its_pod_is_linked_to_who_entered_the_pod():
    token = {"user": BOT, "credential_pod": "api-1"}
    made = world(
        {**token, "source_ip": "10.9.0.1", "at": 0},
        creates("pods", "api-1", subresource="exec", status=101, at=5),
        {**token, "source_ip": AWAY, "at": 9},
        {**token, "source_ip": "10.9.0.1", "at": 12},
    )
    assert made.kinds(JOIN_SCORE) == {("pod_entered", at_home(), away()), ("credential_shared", f"{BOT}@10.9.0.1", away())}
    assert len(made.groups()) == 1


# ---- one object, two people ------------------------------------------------------------------------------------------


def test_entering_a_pod_that_another_user_has_just_made_joins():
    exec_ = creates("pods", "shell", subresource="exec", status=101, user="ben", source_ip="10.0.0.2", at=9)
    assert world(creates("pods", "shell", at=0), exec_).groups() == [{at_home(), "ben@10.0.0.2"}]
    by_websocket = {**exec_, "verb": "get"}
    assert world(creates("pods", "shell", at=0), by_websocket).groups() == [{at_home(), "ben@10.0.0.2"}]


def test_changing_what_a_colleague_made_is_everyday():
    patch = {"verb": "patch", "resource": "configmaps", "name": "flags", "namespace": "dev", "user": "ben", "source_ip": "10.0.0.2", "at": 9}
    made = world(creates("configmaps", "flags", at=0), patch)
    assert made.groups() == []
    assert ("object_taken", at_home(), "ben@10.0.0.2") in made.kinds()


def test_who_deletes_things_of_many_people_is_in_no_story_with_any():
    people = ["ann", "ben", "cai"]
    made = [creates("configmaps", f"of-{name}", user=name, source_ip=f"10.0.1.{place}", at=place) for place, name in enumerate(people)]
    deletes = [{"verb": "delete", "resource": "configmaps", "name": f"of-{name}", "namespace": "dev", "user": "sweep", "at": 9}
               for name in people]
    assert world(*made, *deletes).groups() == []


# ---- one user: names, credentials, places ----------------------------------------------------------------------------


def test_impersonation_is_linked_to_the_own_session_beside_it():
    made = world({"at": 0}, {"impersonated_user": "root", "at": 3}, {"impersonated_user": BOT, "at": 5}, {"at": 8})
    assert made.kinds(JOIN_SCORE) == {
        ("impersonation", at_home(), at_home("ann as root")), ("impersonation", at_home(), at_home(f"ann as {BOT}")),
    }


def test_names_taken_one_after_the_other_hang_together_without_an_own_session():
    made = world({"impersonated_user": "root", "at": 0}, {"impersonated_user": "ben", "at": 5}, {"impersonated_user": "cai", "at": 9})
    assert made.groups() == [{at_home("ann as root"), at_home("ann as ben"), at_home("ann as cai")}]


def test_impersonation_far_from_the_own_session_is_not_beside_it():
    assert world({"at": 0}, {"impersonated_user": "root", "at": 10 * GAP_S}).links.is_empty()


def test_a_portal_that_acts_for_everybody_glues_nobody():
    made = world({"at": 0}, *({"impersonated_user": f"user{number}", "at": number} for number in range(40)))
    assert made.groups() == []
    assert made.links.filter(pl.col("kind") == "impersonation").height == 40


def test_one_pod_token_from_two_sources_joins_and_one_user_name_does_not():
    token = {"user": BOT, "credential_pod": "api-1"}
    certain = world({**token, "source_ip": "10.9.0.1", "at": 0}, {**token, "source_ip": AWAY, "at": 5}, {**token, "source_ip": "10.9.0.1", "at": 9})
    assert certain.kinds(JOIN_SCORE) == {("credential_shared", f"{BOT}@10.9.0.1", away())}
    perhaps = world({"at": 0}, {"source_ip": AWAY, "at": 5}, {"at": 9})
    assert ("credential_shared", at_home(), away("ann")) in perhaps.kinds()
    assert perhaps.groups() == []


def test_a_new_source_and_a_new_client_are_weak_links_to_the_session_before():
    made = world({"at": 0}, {"source_ip": AWAY, "at": 300}, {"client_family": "http_library", "at": 600})
    assert made.kinds() == {("new_source", at_home(), away("ann")), ("new_client", away("ann"), at_home())}
    assert made.groups() == []


def test_an_account_in_many_places_by_design_shares_no_credential():
    pods = [{"user": BOT, "source_ip": f"10.9.0.{number}", "at": number} for number in range(10)]
    made = world(*pods, *({**pod, "at": pod["at"] + 20} for pod in pods))
    shared = made.links.filter(pl.col("kind") == "credential_shared")
    assert (shared["score"] < 0.4).all()


def test_the_user_goes_on_from_the_new_source_for_a_day():
    visits = [{"user": BOT, "source_ip": AWAY, "at": 9 + 600 * number} for number in range(4)]
    made = world(mints("bot", at=0), *visits)
    assert made.links.filter(pl.col("kind") == "continued").height == 3
    assert made.stories.height == 5


def test_who_settles_at_the_new_source_is_not_drawn_in_for_ever():
    visits = [{"user": BOT, "source_ip": AWAY, "at": 9 + 600 * number} for number in range(60)]
    made = world(mints("bot", at=0), *visits)
    assert made.stories.height == 2


# ---- what must not glue ----------------------------------------------------------------------------------------------


def test_the_setup_of_a_cluster_is_no_story_with_everything_that_it_set_up():
    many = 4 * BUDGET
    accounts = [creates("serviceaccounts", f"app{number}", at=number / 10) for number in range(many)]
    uses = [{"user": account(f"app{number}"), "source_ip": f"10.9.0.{number}", "at": 10 + number} for number in range(many)]
    made = world(*accounts, *uses)
    assert made.links.filter(pl.col("kind") == "account_created").height == many
    assert made.groups() == []
    assert len(world(*accounts[:3], *uses[:3]).groups()[0]) == 4


def test_a_binding_for_everybody_is_no_story_of_everybody():
    users = [{"user": f"user{number}", "source_ip": f"10.2.0.{number}", "grant_binding": "ClusterRoleBinding/all", "at": 5 + number}
             for number in range(4 * BUDGET)]
    made = world(creates("clusterrolebindings", "all", None, api_group=RBAC, subjects=["Group/system:authenticated"],
                         role_ref="ClusterRole/view", at=0), *users)
    assert made.groups() == []


@pytest.mark.parametrize("user", ["system:node:worker-1", "system:kube-controller-manager", account("daemon-set-controller", "kube-system")])
def test_the_machinery_makes_nothing_at_home_but_its_credential_elsewhere_does(user):
    usual = [{"user": user, "source_ip": "10.0.0.5", "at": 0}, mints("bot", user=user, source_ip="10.0.0.5", at=2)]
    assert world(*usual, {"user": BOT, "source_ip": "10.9.0.7", "at": 5}).groups() == []
    stolen = [{"user": user, "source_ip": "10.0.0.5", "at": 0}, mints("bot", user=user, source_ip=AWAY, at=2)]
    assert world(*stolen, {"user": BOT, "source_ip": "10.9.0.7", "at": 5}).groups() == [{away(user), f"{BOT}@10.9.0.7"}]


# ---- laws ------------------------------------------------------------------------------------------------------------


def busy_world():
    return world(
        creates("serviceaccounts", "bot", at=0), binds("b", "ServiceAccount/dev/bot", at=1), mints("bot", at=2), {"impersonated_user": "root", "at": 3},
        {"user": BOT, "source_ip": AWAY, "grant_binding": "RoleBinding/dev/b", "grant_role": "ClusterRole/edit", "at": 9},
        creates("pods", "p", user="ben", source_ip="10.0.0.2", at=10), creates("pods", "p", subresource="exec", status=101, at=12),
        {"user": BOT, "source_ip": AWAY, "at": 400},
    )


@pytest.mark.parametrize("seed", range(3))
def test_links_do_not_depend_on_the_order_of_rows(seed):
    made = busy_world()
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (made.events, made.sessions, made.session_events)]
    assert link_sessions(*shuffled, near_s=GAP_S).equals(made.links)
    assert made.links.height >= 5


def test_traces_of_partitions_add_up_to_those_of_the_whole():
    made = busy_world()
    whole = find_traces(made.events, made.session_events)
    by_time = [find_traces(part, made.session_events) for part in made.events.sort("time").iter_slices(3)]
    by_actor = [find_traces(part, made.session_events) for part in made.events.partition_by("actor")]
    assert merge_traces(pl.concat(by_time)).equals(whole)
    assert merge_traces(pl.concat(by_actor)).equals(whole)


def test_links_fit_the_contract_and_use_known_kinds():
    made = busy_world()
    tables.check(made.links, "links")
    assert set(made.links["kind"]) <= set(LINK_KINDS)
    assert made.links["score"].is_between(0, 1).all()
    assert made.links["link_id"].is_unique().all()
    held = dict(made.session_events.iter_rows())
    for row in made.links.iter_rows(named=True):
        assert {held[event] for event in row["from_event_ids"]} == {row["from_session"]}
        assert {held[event] for event in row["to_event_ids"]} == {row["to_session"]}


def test_nothing_gives_nothing():
    empty = [tables.empty(name) for name in ("events", "sessions", "session_events")]
    assert link_sessions(*empty).equals(tables.empty("links"))
    assert link_traces(find_traces(empty[0], empty[2]), empty[1], link_follow_ups()).is_empty()


def link_follow_ups() -> pl.DataFrame:
    from audit_lab.sessions.follow_ups import find_follow_ups

    return find_follow_ups(*(tables.empty(name) for name in ("events", "sessions", "session_events")))


def test_a_frame_that_does_not_fit_is_refused_by_name():
    with pytest.raises(ContractError, match="table 'session_events'"):
        link_sessions(tables.empty("events"), tables.empty("sessions"), tables.empty("links"))


def test_every_kind_is_documented():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "stories.md").read_text(encoding="utf-8")
    assert [kind for kind in LINK_KINDS if f"`{kind}`" not in text] == []
