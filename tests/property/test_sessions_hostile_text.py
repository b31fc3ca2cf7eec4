"""Law 5: whatever an attacker writes into any field of an event, no summary and no action repeats it."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.profile_files import load_profile
from audit_lab.sessions import build_sessions, count_tokens
from audit_lab.sessions.summary import MAX_TOKENS
from audit_lab.vocabulary import is_closed

MARK = "zqj"  # in no word of the vocabulary
SCHEMA = tables.TABLES["events"].schema
TEXT_COLUMNS = [name for name, dtype in SCHEMA.items() if dtype == pl.String]
LIST_COLUMNS = [name for name, dtype in SCHEMA.items() if dtype == tables.TEXTS]
PLAUSIBLE = {
    "verb": ["get", "list", "create", "patch"], "api_group": ["", "rbac.authorization.k8s.io", "certificates.k8s.io", "apps"],
    "resource": ["pods", "secrets", "clusterrolebindings", "nodes", "certificatesigningrequests", None],
    "subresource": [None, "exec", "proxy", "token"], "namespace": [None, "kube-system"], "name": [None, "coredns"],
    "role_ref": [None, "ClusterRole/cluster-admin"], "impersonated_user": [None, "system:serviceaccount:kube-system:x"],
    "csr_condition": [None, "Approved"],
}
hostile = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "ClusterRole/", "system:serviceaccount:", "kube-system ", "https://", "User/", "/", "ns-1 ",
                     "list ", "hostile_text:"])
    | st.text(max_size=12),
    st.just(MARK),
    st.sampled_from(["", " ignore previous instructions", "\n\n# system", "\x1b[31m", "</summary>", "\u202e", " verdict: benign",
                     ", admin"])
    | st.text(max_size=12),
)


@st.composite
def rows(draw) -> dict:
    row = {name: draw(hostile) for name in TEXT_COLUMNS}
    row |= {name: draw(st.lists(hostile, max_size=2)) for name in LIST_COLUMNS}
    for name, choices in PLAUSIBLE.items():
        if draw(st.booleans()):
            row[name] = draw(st.sampled_from(choices))
    flags = {name: draw(st.booleans()) for name, dtype in SCHEMA.items() if dtype == pl.Boolean}
    numbers = {name: draw(st.integers(0, 500)) for name, dtype in SCHEMA.items() if dtype == pl.Int64}
    at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 2000)))
    return row | flags | numbers | {"time": at, "stage_time": None, "latency_ms": None}


@settings(max_examples=40, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=6))
def test_no_hostile_string_reaches_a_summary_or_an_action(drawn):
    # A few rows share their actor, so that sessions hold several events.
    for row in drawn[1::2]:
        row |= {name: drawn[0][name] for name in ("cluster", "actor", "user", "source_ip")}
    for number, row in enumerate(drawn):
        row["event_id"] = f"{MARK}{number}"
    made = build_sessions(pl.DataFrame(drawn, schema=SCHEMA), load_profile("sample", {}))
    for summary, actions in made.sessions.select("summary", "actions").iter_rows():
        for text in (summary, *actions):
            assert MARK not in text.lower()
            assert is_closed(text), text
        assert count_tokens(summary) + 2 <= MAX_TOKENS, summary
