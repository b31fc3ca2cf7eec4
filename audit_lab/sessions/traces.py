"""Traces: what each session made for others to use, and what it used that others may have made.

A link says that one session makes what another uses, so it takes two sides. They are gathered here per partition of events,
one row per session and thing, and joined later (`lineage.link_traces`): only these small tables have to meet (law 10).

A thing is a key of text. Identities are `user:<user name>` whatever gives access to them (an account, a token, a certificate, a
workload that runs under it); rights are `binding:…` and `role:…` with verb and resource; requests for certificates are `csr:…`.
"""

from __future__ import annotations

import polars as pl

from audit_lab.kubernetes import ACCESS_REVIEWS, WORKLOADS, WRITE_VERBS

MAX_EVENTS = 5  # events that a trace cites: the first ones
SEPARATOR = "\x1f"  # in keys of rules: names of roles may hold any printable character

# What a session makes:
#   account       a service account
#   token         a token of an account, minted or read from its Secret
#   subject       a right for an identity
#   binding       a binding; rebinding: one written again
#   role          a rule of a role
#   request       a certificate signing request
#   certificate   the approval of one
#   workload      a pod or pod template that runs under an account
#   entry         a shell in a pod
#   object        any named object
# What a session uses:
#   identity      it acts as that user, itself
#   name          it acts in the name of that user
#   credential    it acts with a token that is bound to a pod
#   binding, role    what allowed a request
#   request       it decided on a signing request
#   entered, deleted, changed    what it did to an object by name
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "session_id": pl.String,
    "side": pl.String,             # makes | uses
    "what": pl.String,
    "key": pl.String,
    "client_family": pl.String,    # uses of an identity only: a new client tells as much as a new source
    "bound": pl.Boolean,           # uses of an identity only: the token says which pod it was made for
    "time": pl.Datetime("us", "UTC"),
    "event_ids": pl.List(pl.String),
    "n": pl.Int64,
}

_WRITTEN = (
    "event_id", "cluster", "time", "actor_kind", "verb", "resource", "subresource", "api_group", "namespace", "name", "subjects", "granted",
    "pod_service_account", "images", "csr_subject", "csr_condition", "attributes",
)
_ACTED = ("client_family", "credential_pod", "grant_binding", "grant_role", "verb", "resource", "subresource")
# The five letters or digits that Kubernetes appends to generated names (apimachinery, pkg/util/rand: no vowels, no 0, 1, 3).
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]{5}"
_ACCOUNT = "user:system:serviceaccount:{}:{}"
_RBAC = "rbac.authorization.k8s.io"
_ENTER = ("exec", "attach", "ephemeralcontainers")
_SHARED_BY_DESIGN = ("events", "leases", "endpoints", "endpointslices", *ACCESS_REVIEWS)
_KINDS = {"roles": "Role", "clusterroles": "ClusterRole", "rolebindings": "RoleBinding", "clusterrolebindings": "ClusterRoleBinding"}


def find_traces(events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return what the sessions of a partition made and used, one row per session and thing.

    Columns in: tables events and session_events. Columns out: `SCHEMA`. Refused requests make nothing; who is refused still uses
    an identity. Two partitions of the same sessions may repeat a row: `merge_traces` folds them.

    >>> from audit_lab import tables
    >>> find_traces(tables.empty("events"), tables.empty("session_events")).height
    0
    """
    done = _done(events, session_events)
    parts = [*_made(done), *_objects(done), *_used(_acted(events, session_events))]
    return merge_traces(pl.concat([_rows(part) for part in parts]))


def merge_traces(traces: pl.DataFrame) -> pl.DataFrame:
    """Return one row per session, side, thing and client, with the first events of all partitions."""
    return (
        traces.sort("time", "event_ids")
        .group_by("session_id", "side", "what", "key", "client_family", "bound", maintain_order=True)
        .agg(pl.col("time").first(), pl.col("event_ids").list.explode().head(MAX_EVENTS), pl.col("n").sum())
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        .sort("time", "session_id", "side", "what", "key", "client_family", "bound")
    )


def _done(events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return the requests that made or changed something, or read a Secret by name; one event a row."""
    wanted = pl.col("verb").is_in(WRITE_VERBS) | pl.col("subresource").is_in(_ENTER) | (
        (pl.col("verb") == "get") & (pl.col("resource") == "secrets")
    )
    succeeded = pl.col("status").is_between(200, 299) | (pl.col("status") == 101)
    rows = events.lazy().filter(wanted & succeeded).select(_WRITTEN).join(session_events.lazy(), on="event_id")
    return rows.with_columns(event_ids=pl.concat_list("event_id"), n=pl.lit(1)).collect()


def _acted(events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return what each session did, with which client and token, and what allowed it; one row per session and such combination."""
    rows = events.lazy().select("event_id", "time", "user", "impersonated_user", *_ACTED).join(session_events.lazy(), on="event_id")
    return rows.group_by("session_id", *_ACTED).agg(
        pl.col("user", "impersonated_user").first(),  # one of each per session
        pl.col("time").min(), event_ids=pl.col("event_id").sort_by("time", "event_id").head(MAX_EVENTS), n=pl.len(),
    ).collect()


def _rows(part: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of `SCHEMA`, without what has no key."""
    return part.filter(pl.col("key").is_not_null()).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def _thing(frame: pl.DataFrame, side: str, what: str, key: pl.Expr, **more: pl.Expr) -> pl.DataFrame:
    nothing = {"client_family": pl.lit(None, dtype=pl.String), "bound": pl.lit(None, dtype=pl.Boolean)}
    return frame.with_columns(side=pl.lit(side), what=pl.lit(what), key=key, **{**nothing, **more})


def _on(*resources: str, subresource: str | None = None, group: str = "") -> pl.Expr:
    part = pl.col("subresource").is_null() if subresource is None else pl.col("subresource") == subresource
    return pl.col("resource").is_in(resources) & (pl.col("api_group") == group) & part


def _object(kind: pl.Expr) -> pl.Expr:
    """'RoleBinding/ns/name', 'ClusterRole/name': as events.grant_binding and grant_role spell them."""
    return pl.concat_str(kind, pl.col("namespace"), pl.col("name"), separator="/", ignore_nulls=True)


def _rule(role: pl.Expr, verb: pl.Expr, on: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit("role:") + role, verb, on, separator=SEPARATOR)


def _made(done: pl.DataFrame) -> list[pl.DataFrame]:
    create = pl.col("verb") == "create"
    account = pl.format(_ACCOUNT, "namespace", "name")
    secrets = done.filter(_on("secrets"))
    of_account = secrets.with_columns(
        _account=pl.col("attributes").list.eval(pl.element().str.extract("^token_for:(.+)$")).list.drop_nulls().list.first()
    ).filter(create & pl.col("_account").is_not_null())
    # Until Kubernetes 1.23 every account had such a Secret; who reads it by name holds the token.
    read = secrets.with_columns(_account=pl.col("name").str.extract(f"^(.+)-token-{_GENERATED}$")).filter(
        (pl.col("verb") == "get") & pl.col("_account").is_not_null()
    )
    runs = done.filter(
        ((pl.col("resource") == "pods") | pl.col("resource").is_in(WORKLOADS)) & pl.col("subresource").is_null()
        & pl.col("verb").is_in(["create", "update", "patch"]) & pl.col("images").list.len().gt(0) & pl.col("name").is_not_null()
    )
    entered = done.filter(pl.col("resource").eq("pods") & pl.col("subresource").is_in(_ENTER))
    return [
        _thing(done.filter(_on("serviceaccounts") & create), "makes", "account", account),
        _thing(done.filter(_on("serviceaccounts", subresource="token") & create), "makes", "token", account),
        _thing(pl.concat([of_account, read]), "makes", "token", pl.format(_ACCOUNT, "namespace", "_account")),
        *_made_rights(done),
        _thing(done.filter(_on("certificatesigningrequests", group="certificates.k8s.io") & create), "makes", "request",
               pl.format("csr:{}", "name")),
        _approvals(done),
        _thing(done.filter(_decision()), "uses", "request", pl.format("csr:{}", "name")),
        _thing(runs, "makes", "workload", pl.format(_ACCOUNT, "namespace", pl.col("pod_service_account").fill_null("default"))),
        _thing(entered, "makes", "entry", pl.format("pod:{}/{}", "namespace", "name")),
    ]


def _made_rights(done: pl.DataFrame) -> list[pl.DataFrame]:
    rbac = done.filter(
        pl.col("api_group").eq(_RBAC) & pl.col("subresource").is_null() & pl.col("verb").is_in(["create", "update", "patch"])
        & pl.col("name").is_not_null()
    ).with_columns(_kind=pl.col("resource").replace_strict(_KINDS, default=None))
    bindings = rbac.filter(pl.col("resource").is_in(["rolebindings", "clusterrolebindings"]))
    subjects = bindings.explode("subjects").filter(pl.col("subjects").is_not_null())
    new = pl.col("verb") == "create"
    user = pl.col("subjects").str.extract("^User/(.+)$")
    account = pl.col("subjects").str.extract_groups("^ServiceAccount/([^/]+)/(.+)$")
    rules = (
        rbac.filter(pl.col("resource").is_in(["roles", "clusterroles"])).explode("granted").filter(pl.col("granted").is_not_null())
        .with_columns(_parts=pl.col("granted").str.split(" "))
        .with_columns(_verb=pl.col("_parts").list.get(0).str.split(","), _on=pl.col("_parts").list.get(2, null_on_oob=True).str.split(","))
        .explode("_verb").explode("_on")
    )
    return [
        _thing(bindings.filter(new), "makes", "binding", pl.format("binding:{}", _object(pl.col("_kind")))),
        _thing(bindings.filter(~new), "makes", "rebinding", pl.format("binding:{}", _object(pl.col("_kind")))),
        _thing(subjects, "makes", "subject", pl.coalesce(
            pl.format("user:{}", user), pl.format(_ACCOUNT, account.struct.field("1"), account.struct.field("2")))),
        _thing(rules, "makes", "role", _rule(_object(pl.col("_kind")), pl.col("_verb"), pl.col("_on"))),
    ]


def _approvals(done: pl.DataFrame) -> pl.DataFrame:
    requests = done.filter(pl.col("resource") == "certificatesigningrequests")
    # The approval's own body may not be logged: then the request of that name tells the subject.
    one = ["cluster", "name"]
    asked = requests.filter(pl.col("csr_subject").is_not_null()).sort("time").unique(one, keep="first").select(*one, _asked="csr_subject")
    approved = requests.filter(_decision() & (pl.col("csr_condition").fill_null("Approved") == "Approved")).join(asked, on=one, how="left")
    return _thing(approved, "makes", "certificate", pl.format("user:{}", pl.coalesce("csr_subject", "_asked")))


def _decision() -> pl.Expr:
    return (pl.col("resource") == "certificatesigningrequests") & (pl.col("subresource") == "approval") & pl.col("verb").is_in(WRITE_VERBS)


def _used(acted: pl.DataFrame) -> list[pl.DataFrame]:
    known = acted.filter(pl.col("user").is_not_null())
    own, taken = known.filter(pl.col("impersonated_user").is_null()), known.filter(pl.col("impersonated_user").is_not_null())
    has_pod = pl.col("credential_pod").is_not_null()
    home = pl.col("user").str.extract("^system:serviceaccount:([^:]+):")
    allowed = known.filter(pl.col("grant_binding").is_not_null())
    role = pl.concat_str(
        pl.col("grant_role").str.extract("^(Role|ClusterRole)/"),
        # A Role lies in the namespace of the binding that names it; grant_role leaves it out.
        pl.when(pl.col("grant_role").str.starts_with("Role/")).then(pl.col("grant_binding").str.extract("^RoleBinding/([^/]+)/")),
        pl.col("grant_role").str.extract("^[^/]+/(.+)$"), separator="/", ignore_nulls=True,
    )
    on = pl.concat_str("resource", "subresource", separator="/", ignore_nulls=True)
    return [
        _thing(own, "uses", "identity", pl.format("user:{}", "user"), client_family=pl.col("client_family"), bound=has_pod),
        _thing(taken, "uses", "name", pl.format("user:{}", "impersonated_user")),
        _thing(own.filter(has_pod), "uses", "credential", pl.format("pod:{}/{}", home, "credential_pod")),
        _thing(allowed, "uses", "binding", pl.format("binding:{}", "grant_binding")),
        _thing(allowed.filter(pl.col("resource").is_not_null()), "uses", "role", _rule(role, pl.col("verb"), on)),
    ]


def _objects(done: pl.DataFrame) -> list[pl.DataFrame]:
    """Objects by name: who made them, and who else entered, deleted or changed them. Controllers and nodes touch everything."""
    enters = pl.col("subresource").is_in(_ENTER).fill_null(False)  # over a websocket its verb is get
    named = done.filter(
        pl.col("name").is_not_null() & pl.col("resource").is_in(_SHARED_BY_DESIGN).not_() & (pl.col("verb").is_in(WRITE_VERBS) | enters)
        & pl.col("actor_kind").is_in(["controller", "node"]).not_() & (pl.col("subresource").fill_null("") != "status")
    )
    # A namespace appears with and without itself as its namespace.
    space = pl.when(pl.col("resource") != "namespaces").then(pl.col("namespace")).fill_null("")
    key = pl.format("object:{}/{}/{}/{}", pl.col("api_group").fill_null(""), "resource", space, "name")
    made = named.filter((pl.col("verb") == "create") & pl.col("subresource").is_null())
    entered = named.filter(enters)
    deleted = named.filter((pl.col("verb") == "delete") & pl.col("subresource").is_null())
    changed = named.filter(pl.col("verb").is_in(["update", "patch"]) & ~enters)
    return [
        _thing(made, "makes", "object", key),
        _thing(entered, "uses", "entered", key),
        _thing(deleted, "uses", "deleted", key),
        _thing(changed, "uses", "changed", key),
    ]


def object_name(key: pl.Expr) -> pl.Expr:
    """Return a key as a person reads it.

    >>> keys = ["user:system:serviceaccount:dev:ci", "role:ClusterRole/x\\x1fget\\x1fsecrets", "object:apps/deployments/dev/api"]
    >>> pl.DataFrame({"key": keys}).select(object_name(pl.col("key")))["object"].to_list()
    ['ServiceAccount/dev/ci', 'ClusterRole/x (get secrets)', 'deployments/dev/api']
    """
    account = key.str.extract_groups("^user:system:serviceaccount:([^:]+):(.+)$")
    rule = key.str.extract_groups("^role:([^\x1f]+)\x1f([^\x1f]*)\x1f(.*)$")
    thing = key.str.extract_groups("^object:[^/]*/([^/]+)/([^/]*)/(.*)$")
    thing_name = pl.format("{}/{}/{}", *(thing.struct.field(part) for part in "123"))
    named = pl.when(account.struct.field("1").is_not_null()).then(
        pl.format("ServiceAccount/{}/{}", account.struct.field("1"), account.struct.field("2"))
    ).when(rule.struct.field("1").is_not_null()).then(
        pl.format("{} ({} {})", rule.struct.field("1"), rule.struct.field("2"), rule.struct.field("3"))
    ).when(thing.struct.field("1").is_not_null()).then(
        thing_name.str.replace("//", "/", literal=True)  # no namespace
    )
    for prefix, kind in (("user:", "User/"), ("pod:", "Pod/"), ("csr:", "CertificateSigningRequest/"), ("account:", "ServiceAccount/"),
                         ("namespace:", "Namespace/"), ("workload:", ""), ("binding:", "")):
        named = named.when(key.str.starts_with(prefix)).then(pl.lit(kind) + key.str.strip_prefix(prefix))
    return named.otherwise(key).alias("object")
