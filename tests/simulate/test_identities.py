"""Names change everywhere at once, keep their class, and never meet."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.classes import source_class
from audit_lab.simulate.aliases import MAX_TEAMS, WORDS, Names, TeamNames, json_text, request_text
from audit_lab.simulate.identities import Identities, request_names
from audit_lab.simulate.recording import read_recording
from tests.simulate.conftest import Simulated
from tests.simulate.recorded import NAMES, signing_request


@pytest.fixture(scope="module")
def identities(simulated: Simulated) -> Identities:
    return Identities(read_recording(simulated.source).index)


def records(simulated: Simulated, every: int = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for _, line in simulated.lines[::every]]


def test_what_is_an_identity(identities: Identities) -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for token, kind in identities.tokens.items():
        kinds[kind].add(token)
    assert kinds["person"] == {"ann", "ben", "cho", "dora", "old-runner"}
    assert kinds["namespace"] == {"shop", "books", "ci"}
    assert {"app", "deployer"} <= kinds["account"]
    assert kinds["node"] == {"pool-a1", *(f"n{number}" for number in range(9))}
    assert "flux" not in identities.tokens  # a product is called the same everywhere
    assert "flux-system" not in identities.tokens


def render(identities: Identities, parts: tuple[str | int, ...]) -> str:
    return "".join(part if isinstance(part, str) else f"<{identities.slots[part].kind}>" for part in parts)


@pytest.mark.parametrize(("text", "expected"), [
    ("system:serviceaccount:shop:app", "system:serviceaccount:<namespace>:<account>"),
    ("ann@corp.example", "<person>@corp.example"),
    ('RoleBinding "edit/shop" to ServiceAccount "app/shop"', 'RoleBinding "edit/<namespace>" to ServiceAccount "<account>/<namespace>"'),
    ("till-7d9f8c6b5-x2k4z", "<workload>-<suffix>-<suffix>"),
    ("workshop apps annotate", "workshop apps annotate"),
    ("team-shop.svc", "team-<namespace>.svc"),
    ("app-settings", "app-settings"),  # an everyday word inside of a name is no account
    ("10.60.200.1 and 1.2.3.4.5", "<ip> and 1.2.3.4.5"),
])
def test_texts_are_split_at_names(identities: Identities, text: str, expected: str) -> None:
    assert render(identities, identities.split(text)) == expected


@pytest.mark.parametrize(("uri", "expected"), [
    ("/api/v1/namespaces/shop/pods/till-7d9f8c6b5-x2k4z/exec?command=x%3A%2F%2Fshop.svc",
     "/api/v1/namespaces/<namespace>/pods/<workload>-<suffix>-<suffix>/exec?command=x%3A%2F%2F<namespace>.svc"),
    ("/apis/apps/v1/namespaces/books/deployments", "/apis/apps/v1/namespaces/<namespace>/deployments"),
    ("/api/v1/nodes/pool-a1/proxy/run/shop/till/till", "/api/v1/nodes/<node>/proxy/run/<namespace>/<workload>/<workload>"),
    ("/api/v1/namespaces/shop", "/api/v1/namespaces/<namespace>"),
    ("/healthz", "/healthz"), ("/shop/../etc", "/shop/../etc"),
])
def test_uris_keep_what_belongs_to_the_api(identities: Identities, uri: str, expected: str) -> None:
    assert render(identities, identities.split_uri(uri)) == expected


@given(st.text(alphabet=st.sampled_from("shopann/-.:@ 1%2F\"\u00e9\u200b")) | st.text())
def test_splitting_loses_nothing(identities: Identities, text: str) -> None:
    for parts in (identities.split(text), identities.split_uri(text)):
        assert "".join(part if isinstance(part, str) else identities.slots[part].token for part in parts) == text


def test_no_recorded_name_is_left(simulated: Simulated) -> None:
    for record in records(simulated, 7):
        text = json.dumps(record)
        assert not [name for name in NAMES if re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text) and not name.startswith("203.")]


def test_a_record_names_the_same_thing_the_same_way(simulated: Simulated) -> None:
    seen = 0
    for record in records(simulated, 3):
        about, user = record["objectRef"], record["user"]
        if "namespace" in about:
            assert f"/namespaces/{about['namespace']}/" in record["requestURI"] + "/"
            if record["annotations" if "annotations" in record else "verb"] and user:
                assert f"edit/{about['namespace']}\"" in record["annotations"]["authorization.k8s.io/reason"]
        if about.get("name"):
            assert f"/{about['name']}" in record["requestURI"]
        if user.get("username", "").startswith("system:serviceaccount:"):
            home, account = user["username"].split(":")[2:]
            assert f"system:serviceaccounts:{home}" in user["groups"]
            assert user["extra"]["authentication.kubernetes.io/pod-name"][0].startswith(account)
        for body in (record.get("requestObject"), record.get("responseObject")):
            if isinstance(body, dict) and body.get("metadata", {}).get("namespace"):
                assert body["metadata"]["namespace"] == about["namespace"]
                seen += 1
    assert seen > 100


def test_an_identity_lasts(simulated: Simulated) -> None:
    uids: dict[tuple[str, str], set[str]] = defaultdict(set)
    sources: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cluster, user, source in simulated.events.select("cluster", "user", "source_ip").iter_rows():
        sources[cluster, user].add(source)
    for cluster, line in simulated.lines[::3]:
        user = json.loads(line)["user"]
        if "uid" in user:
            uids[cluster, user["username"]].add(user["uid"])
    assert {len(found) for found in uids.values()} == {1}
    assert len({next(iter(found)) for found in uids.values()}) == len(uids)
    benign = simulated.truth.filter(pl.col("kind") == "benign").group_by("cluster", "actor").agg(pl.col("source_ip").n_unique())
    assert benign.filter(pl.col("actor").str.starts_with("system:serviceaccount"))["source_ip"].max() == 1


def test_teams_do_not_share_names(identities: Identities) -> None:
    names = Names(identities, 5)
    for kind in ("person", "namespace", "account", "workload", "node"):
        slots = [identities.number(kind, token) for token, other in identities.tokens.items() if other == kind]
        made = [names.of_team(cluster, team)[slot] for cluster in range(3) for team in range(MAX_TEAMS) for slot in slots]
        assert len(made) == len(set(made))


def test_words_give_distinct_names() -> None:
    for words in WORDS.values():
        assert len(words) == len(set(words))
        assert len(words) % 7 != 0  # names step through the list by seven


@given(st.ip_addresses(v=4) | st.sampled_from(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]).flatmap(lambda net: st.ip_addresses(network=net)), st.integers(0, 40), st.integers(0, 100))
def test_addresses_keep_their_class(identities: Identities, address: ipaddress.IPv4Address, cluster: int, team: int) -> None:
    new = TeamNames(identities, 1, cluster, team)[identities.number("ip", str(address))]
    assert source_class(new) == source_class(str(address))


def test_addresses_of_a_team_stay_apart(identities: Identities) -> None:
    names = TeamNames(identities, 1, 1, 9)
    recorded = [f"10.{second}.{third}.{fourth}" for second in (60, 244) for third in range(0, 256, 5) for fourth in range(0, 256, 5)]
    assert len({names[identities.number("ip", address)] for address in recorded}) == len(recorded)


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1, max_size=40), min_size=1, max_size=3))
def test_signing_requests_carry_names_only(names: list[str]) -> None:
    assert request_names(request_text(names)) == names


def test_a_signing_request_names_the_new_identity(identities: Identities, simulated: Simulated) -> None:
    (slot,) = identities.split_request(signing_request("old-runner", "builders"))
    names = TeamNames(identities, 3, 0, 2)
    assert request_names(names[slot]) == [names[identities.number("person", "old-runner")], names[identities.number("group", "builders")]]
    assert identities.split_request("bm8gcmVxdWVzdA==") == ("***",)
    # And in the archives: whom a certificate was asked for is who then acts, in the same incident.
    asked = dict(simulated.events.filter(pl.col("csr_subject").is_not_null()).select("event_id", "csr_subject").iter_rows())
    stories = [incident for incident in simulated.incidents if set(incident["audit_ids"]) & set(asked)]
    assert stories
    for incident in stories:
        assert {asked[audit_id] for audit_id in incident["audit_ids"] if audit_id in asked} < set(incident["users"])


@given(st.text())
def test_json_text_is_json(text: str) -> None:
    assert json.loads(f'"{json_text(text)}"') == text
    assert not set(json_text(text)) & set("<>&\u2028\u2029\n")
