"""Hostile text in every field that somebody else can write: the prompt is identical but for typed facts (law 5)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import classes, tables
from audit_lab.judge import build_evidence
from audit_lab.judge.prompt import build_prompts, load_template
from audit_lab.judge.rows import is_shown
from tests.judge.injections import CORPUS, ENGLISH
from tests.judge.story import START, event, story

PLAIN = "zebra"
RBAC, ADMISSION, CERTIFICATES = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"
TYPED = sorted({
    *classes.CLIENT_FAMILIES, *classes.COMMAND_CLASSES, *classes.IMAGE_CLASSES, *classes.URI_CLASSES, *classes.HOST_PATH_CLASSES,
    *classes.CAPABILITY_CLASSES, *classes.PROXY_CLASSES, *classes.SUBJECT_CLASSES, *classes.IMPERSONATION_CLASSES, *classes.WEBHOOK_CLASSES,
}, key=len, reverse=True)
_TYPED = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, TYPED))})(,({'|'.join(map(re.escape, TYPED))}))*(?![\w-])")


def rows_of(cluster: str, text: str, fields: frozenset[str] | None = None) -> list[dict[str, Any]]:
    """A takeover in one cluster, with `text` in all writable fields, or in `fields` only."""
    def put(field: str, value: str = PLAIN) -> str:
        return f"{value}{text}" if fields is None or field in fields else f"{value}{PLAIN}"

    common = {
        "cluster": cluster, "source_ip": "198.51.100.9", "source_class": "public", "user_agent": put("user_agent"),
        "user_groups": [put("user_groups")], "source_ips": [put("source_ips"), "198.51.100.9"], "credential_pod": put("credential_pod"),
        "grant_binding": put("grant_binding"), "grant_role": put("grant_role"), "status_reason": put("status_reason"),
        "uri": f"/api/v1/x?{put('uri')}",
    }
    common["client_family"] = classes.client_family(common["user_agent"])
    user = put("user")

    def one(at: float, verb: str, resource: str, **more: Any) -> dict[str, Any]:
        return event(at, user, verb, resource, **{**common, "event_id": put("event_id", f"{cluster}-{at}-"), **more})

    space = put("namespace")
    commands = [put("commands", "sh -c ")]
    return [
        one(0, "list", "pods", namespace=space), one(1, "get", "configmaps", namespace=space, name=put("name")),
        one(7200, "get", "secrets", namespace=space, name=put("name")),
        one(7201, "create", "clusterrolebindings", api_group=RBAC, name=put("name"), role_ref=put("role_ref", "ClusterRole/"),
            subjects=[put("subjects", "User/")]),
        one(7202, "create", "clusterroles", api_group=RBAC, name=put("name"), granted=[put("granted", "get,list core ")], granted_classes=["read"]),
        one(7203, "create", "pods", namespace=space, name=put("name"), images=[put("images", "registry.example/")], commands=commands,
            command_classes=classes.command_classes(commands[0]), host_paths=[put("host_paths", "/data/")], capabilities=[put("capabilities")],
            pod_service_account=put("pod_service_account"), owner_kind=put("owner_kind"), owner_name=put("owner_name")),
        one(7204, "create", "pods", subresource="exec", namespace=space, name=put("name"), commands=commands, command_classes=["shell"]),
        one(7205, "create", "mutatingwebhookconfigurations", api_group=ADMISSION, name=put("name"), webhook_urls=[put("webhook_urls", "https://")],
            webhook_failure_policies=[put("webhook_failure_policies")]),
        one(7206, "create", "certificatesigningrequests", api_group=CERTIFICATES, name=put("name"), csr_signer=put("csr_signer"),
            csr_subject=put("csr_subject"), csr_groups=[put("csr_groups")]),
        one(7207, "create", "serviceaccounts", subresource="token", namespace=space, name=put("name"), token_audiences=[put("token_audiences")]),
        one(7208, "create", "secrets", namespace=space, name=put("name"), secret_type=put("secret_type")),
        one(7209, "get", "pods", namespace=space, impersonated_user=put("impersonated_user"), impersonated_groups=[put("impersonated_groups")]),
        one(7210, put("verb"), put("resource"), api_group=put("api_group", "example.org/"), subresource=put("subresource"), name=put("name")),
        one(7211, "create", "services", namespace=space, name=put("name"), service_type=put("service_type")),
        one(7212, "create", "selfsubjectaccessreviews", api_group="authorization.k8s.io", access_review=put("access_review", "get core/")),
        one(7213, "get", "nodes", subresource="proxy", name=put("name"), uri=f"/api/v1/nodes/n/proxy/{put('uri')}"),
    ]


FIELDS = sorted({
    "user_agent", "user_groups", "source_ips", "credential_pod", "grant_binding", "grant_role", "status_reason", "uri", "user", "event_id",
    "namespace", "name", "role_ref", "subjects", "granted", "images", "commands", "host_paths", "capabilities", "pod_service_account",
    "owner_kind", "owner_name", "webhook_urls", "webhook_failure_policies", "csr_signer", "csr_subject", "csr_groups", "token_audiences",
    "secret_type", "impersonated_user", "impersonated_groups", "verb", "resource", "api_group", "subresource", "service_type", "access_review",
})


def prompts_of(variants: list[tuple[str, frozenset[str] | None]]) -> list[list[str]]:
    """The lines of each variant's prompt: each variant is a cluster of its own, all built in one pass."""
    rows = [row for number, (text, fields) in enumerate(variants) for row in rows_of(f"k{number:05d}", text, fields)]
    tale = story(rows, None)
    pack = build_evidence(*tale, max_tokens=4000)
    assert all(is_shown(text) for text in pack["text"])
    clusters = dict(tale.sessions.select(pl.format("c-{}", "session_id"), "cluster").iter_rows())
    prompts = build_prompts(tale.candidates["case_id"].to_list(), pack, load_template())
    found: dict[str, list[str]] = {}
    for case_id, prompt in prompts.items():
        found[clusters[case_id]] = "\n".join(message["content"] for message in prompt.messages).split("\n")
    return [found[f"k{number:05d}"] for number in range(len(variants))]


def skeleton(lines: list[str]) -> list[str]:
    """Lines with every typed word replaced, runs of spaces too: what must not depend on what somebody wrote."""
    return [re.sub(r"^\d+ ", "", _TYPED.sub("TYPED", line)) for line in lines]


def test_the_corpus_is_large_and_its_strings_differ():
    assert len(set(CORPUS)) >= 150


def test_every_string_in_all_fields_at_once_changes_typed_facts_only():
    plain, *others = prompts_of([(PLAIN, None), *((text, None) for text in CORPUS)])
    shape = skeleton(plain)
    typed = 0
    for text, lines in zip(CORPUS, others, strict=True):
        assert "\n".join(lines).isascii()
        # A string that makes another class true (of an image, a command) may change the few lines that say so; all lines are closed.
        gone = [line for line in skeleton(lines) if line not in shape]
        assert len(gone) <= 8, (text, gone)
        typed += lines != plain
        for part in re.findall(r"\w{9,}", text):
            assert part not in "\n".join(lines) or part in "\n".join(plain) or part in TYPED, (text, part)
    assert typed < len(CORPUS) / 3


def test_a_field_alone_changes_nothing_but_its_own_classes():
    texts = [PLAIN, *CORPUS[::20], *ENGLISH[:2]]
    variants = [(field, text) for field in FIELDS for text in texts]
    found = dict(zip(variants, prompts_of([(text, frozenset({field})) for field, text in variants]), strict=True))
    for field, text in variants:
        shape = skeleton(found[field, PLAIN])
        different = [line for line in skeleton(found[field, text]) if line not in shape]
        assert len(different) <= 3, (field, text, different)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=80), min_size=16, max_size=16))
def test_no_text_whatever_reaches_a_prompt(texts):
    # prompts_of holds that every line of every pack is closed.
    for lines in prompts_of([(text, None) for text in texts]):
        assert "\n".join(lines).isascii()


def test_the_attempt_is_itself_a_fact_that_is_shown():
    rows = rows_of("k", ENGLISH[0])
    rows[2]["attributes"] = ["hostile_text:name"]
    pack = build_evidence(*story(rows, None), max_tokens=4000)
    shown = pack.filter(pl.col("text").str.contains("{count hostile_text 1}", literal=True))
    assert shown["text"][0].startswith("wrote text that addresses its reader or hides characters x1")


def test_detectors_and_labels_cannot_carry_text_into_a_prompt():
    rows = rows_of("k", PLAIN)
    tale = story(rows, None)
    hostile = tale.signals.with_columns(pl.lit(ENGLISH[0]).alias("reason"), pl.lit(ENGLISH[1]).alias("detector_id"), pl.lit("custom").alias("kind"))
    early = tale.sessions.filter(pl.col("start") < START + timedelta(hours=1))["session_id"][0]
    label = {"label_id": "l", "target_kind": "session", "target_id": early, "session_id": early, "verdict": "benign", "author": "a",
             "at": None, "reason": ENGLISH[2], "event_ids": []}
    link = {"link_id": "l", "kind": ENGLISH[3], "from_session": tale.candidates["session_ids"][0][0], "to_session": early, "score": 1.0,
            "from_event_ids": [], "to_event_ids": [], "object": ENGLISH[4]}
    pack = build_evidence(
        *tale._replace(signals=hostile), links=tables.conform(pl.DataFrame([link], schema=tables.TABLES["links"].schema), "links"),
        labels=tables.conform(pl.DataFrame([label], schema=tables.TABLES["labels"].schema), "labels"))
    everything = "\n".join(pack["text"])
    assert [text for text in pack["text"] if not is_shown(text)] == []
    for text in ENGLISH[:5]:
        assert text[:20] not in everything


def test_no_module_that_writes_prompts_reads_events():
    """prompt, client, models and replay see evidence only: no function of theirs takes table events."""
    import inspect

    from audit_lab.judge import cache, client, compare, models, prompt, replay

    for module in (prompt, client, models, replay, compare, cache):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                assert "events" not in inspect.signature(function).parameters, name
        assert "read_parquet" not in inspect.getsource(module)


# Text columns of table events that nobody outside can choose: what we computed, closed words, and addresses of the direct peer.
OURS = {
    "cluster", "archive_id", "level", "stage", "actor_kind", "source_ip", "source_class", "client_family", "decision", "granted_classes",
    "command_classes", "csr_condition",
}
# Made of writable fields, or shown in the same way as one; see the tests below for what they may carry.
MADE_OF_OTHERS = {"actor": "user", "api_version": "api_group", "attributes": "name"}


def test_every_text_column_of_events_is_writable_or_ours():
    """A column that is added to the contract must be put on one side."""
    texts = {name for name, column in tables.TABLES["events"].columns.items() if column.dtype in (pl.String, pl.List(pl.String))}
    assert texts == set(FIELDS) | OURS | set(MADE_OF_OTHERS)
    assert not set(FIELDS) & OURS


def test_attributes_and_versions_carry_no_text_into_a_prompt():
    rows = rows_of("k", PLAIN)
    plain = build_evidence(*story(rows, None), max_tokens=4000)["text"].to_list()
    for text in (*CORPUS[::10], *ENGLISH[:3]):
        hostile = [{**row, "attributes": [f"token_for:{text}", text], "api_version": text, "actor": text} for row in rows]
        assert build_evidence(*story(hostile, None), max_tokens=4000)["text"].to_list() == plain, text
    everything = [{**row, "attributes": [f"token_for:{text}" for text in CORPUS]} for row in rows]
    assert build_evidence(*story(everything, None), max_tokens=4000)["text"].to_list() == plain
