"""One wide row per session for detectors: counts, breadth, novelty, rarity, habit, surprise.

`FEATURES` says what each column means. All are numbers; null means that too little is known (law 8). Everything that compares looks
only at time before the session's start.
"""

from __future__ import annotations

import polars as pl

from audit_lab.classes import map_distinct
from audit_lab.sessions.actors import add_teams
from audit_lab.sessions.build import with_actions
from audit_lab.sessions.cardinality import agent_stem, workload_stem
from audit_lab.sessions.features import COLUMNS, count_actions, mark_new
from audit_lab.sessions.habits import clock_distance, company, habit_bits, network
from audit_lab.sessions.novelty import rarity
from audit_lab.sessions.sequence import session_steps, step_surprise
from audit_lab.vocabulary import ACTION_GROUPS, action_group, action_weight

_ITEMS = {
    "source": "source address", "network": "network of the source", "source_class": "class of the source", "client": "client family",
    "agent": "program of the user agent, whatever its version", "namespace": "namespace", "place": "kind of object in a namespace",
    "workload": "workload touched by name (namespace and stem)", "grant": "role that allowed a request",
}
FEATURES: dict[str, str] = {
    "n_events": "events", "duration_s": "seconds from first to last event", "events_per_s": "events per second (duration at least 1 s)",
    "n_namespaces": "distinct namespaces", "n_resources": "distinct kinds of object", "n_names": "distinct objects named",
    "n_actions": "distinct actions", "action_entropy": "entropy of the actions, bits", "n_clients": "distinct client families",
    "n_agents": "distinct user agents", "n_grants": "distinct roles that allowed requests",
    "share_denied": "share of events refused (403)", "share_unauthenticated": "share of events with 401",
    "share_errors": "share of events with another error", "share_writes": "share of events that write",
    "share_deletes": "share of events that delete", "n_secrets": "secrets read by name", "n_secret_lists": "lists of secrets",
    "n_cluster_wide": "lists over all namespaces", "n_exec": "ways into pods", "n_rbac_writes": "writes of roles and bindings",
    "n_hostile": "events with text that tries to talk to its reader", "is_impersonating": "1 when somebody else's identity is taken on",
    "weight_max": "weight of the weightiest action (vocabulary.action_weight)", "weight_sum": "sum of weights of distinct actions",
    "weight_denied": "sum of weights of distinct actions that were refused",
    "weight_done": "sum of weights of distinct actions that were not refused",
    "n_new": "distinct actions new for the user", "share_new": "their share of distinct actions", "weight_new": "sum of their weights",
    "n_new_to_peers": "distinct actions new for user and peers", "weight_new_to_peers": "sum of their weights",
    "weight_new_to_team": "sum of weights of actions that neither the user nor its team had done",
    "action_bits_max": "rarest action for the user, bits", "action_bits_sum": "sum over distinct actions",
    "action_peer_bits_max": "rarest action among peers, bits", "action_peer_bits_sum": "sum over distinct actions",
    "action_team_bits_max": "rarest action in the team, bits",
    "weighted_bits_max": "largest weight × user bits of an action", "weighted_bits_sum": "sum of weight × user bits",
    "weighted_peer_bits_max": "largest weight × peer bits of an action", "weighted_peer_bits_sum": "sum of weight × peer bits",
    **{f"{item}_bits": f"most unusual {what} for the user, bits" for item, what in _ITEMS.items()},
    **{f"{item}_peer_bits": f"most unusual {what} among peers, bits" for item, what in _ITEMS.items()},
    "source_other_users": "other users seen earlier from this address", "n_concurrent_sources": "the user's overlapping sessions elsewhere",
    "user_sessions": "earlier sessions of the user", "user_past_s": "seconds since the user was first seen",
    "step_bits_mean": "mean surprise of a step, bits", "step_bits_max": "largest surprise of a step", "n_unseen_steps": "steps never seen",
    "clock_distance": "distance from the usual time of day, 0 to 1",
    **{f"group_{group}": f"events of the action group '{group}'" for group in ACTION_GROUPS},
}
WORST_STEP = "worst_step"
"""A text beside the numbers: the step behind `step_bits_max`, 'one action then another' in the closed vocabulary; null as it is."""


def session_features(
    events: pl.DataFrame, session_events: pl.DataFrame, sessions: pl.DataFrame, *, with_step: bool = False
) -> pl.DataFrame:
    """Return `session_id` and the columns of `FEATURES` (Float64), one row per row of `sessions` and in its order.

    With `with_step` the text `WORST_STEP` comes last.

    Columns in: tables events, session_events, sessions.
    """
    rows = add_teams(with_actions(events, session_events, [*COLUMNS, "user_groups", "user_agent", "attributes", "grant_role"]))
    weights = _weights(rows["action"])
    rows = rows.join(weights, on="action", how="left", maintain_order="left")
    teams = rows.group_by("session_id").agg(pl.col("team").first())
    keyed = sessions.select("session_id", "cluster", "user", "actor_kind", "source_ip", "start", "end").join(
        teams, on="session_id", how="left", maintain_order="left")
    actions = mark_new(count_actions(rows), keyed).join(weights, on="action", how="left", maintain_order="left")
    parts = [
        _counts(rows, sessions), _actions(actions, keyed), _habits(rows, keyed), company(keyed), _surprise(rows, keyed),
        clock_distance(keyed),
    ]
    wide = sessions.select("session_id")
    for part in parts:
        wide = wide.join(part, on="session_id", how="left", maintain_order="left")
    # Rounded: sums of many threads differ in their last digits from run to run (law 7).
    return wide.select("session_id", *(pl.col(name).cast(pl.Float64).round(6) for name in FEATURES), *([WORST_STEP] if with_step else []))


def _weights(actions: pl.Series) -> pl.DataFrame:
    distinct = actions.unique().sort()
    return pl.DataFrame({
        "action": distinct, "weight": map_distinct(distinct, action_weight, pl.Int64),
        "group": map_distinct(distinct, action_group, pl.String),
    })


def _counts(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    name = pl.concat_str([pl.col("namespace").fill_null(""), pl.col("resource"), pl.col("name")], separator="/")
    hostile = pl.col("attributes").list.eval(pl.element().str.starts_with("hostile_text")).list.any().fill_null(False)
    grouped = rows.group_by("session_id").agg(
        n_names=name.drop_nulls().n_unique(), n_agents=pl.col("user_agent").drop_nulls().n_unique(),
        n_grants=pl.col("grant_role").drop_nulls().n_unique(), n_hostile=hostile.sum(),
        n_cluster_wide=pl.col("action").str.contains("cluster-wide", literal=True).sum(),
        _deletes=pl.col("verb").is_in(["delete", "deletecollection"]).sum(),
        _entropy=pl.col("action").unique_counts().entropy(base=2, normalize=True),
        **{f"group_{group}": (pl.col("group") == group).sum() for group in ACTION_GROUPS},
    )
    n = pl.col("n_events")
    return sessions.join(grouped, on="session_id", how="left", maintain_order="left").select(
        "session_id", "n_events", "duration_s", "n_namespaces", "n_resources", "n_secrets", "n_secret_lists", "n_exec", "n_rbac_writes",
        "n_names", "n_agents", "n_grants", "n_hostile", "n_cluster_wide", *(f"group_{group}" for group in ACTION_GROUPS),
        events_per_s=n / pl.col("duration_s").clip(1), n_actions=pl.col("actions").list.len(), action_entropy=pl.col("_entropy"),
        n_clients=pl.col("client_families").list.len(), share_denied=pl.col("n_denied") / n,
        share_unauthenticated=pl.col("n_unauthenticated") / n, share_errors=pl.col("n_errors") / n, share_writes=pl.col("n_writes") / n,
        share_deletes=pl.col("_deletes") / n, is_impersonating=pl.col("impersonated_user").is_not_null(),
    )


def _actions(actions: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    shown = actions.select("session_id", "action", "first_time", "weight", "n", "n_denied", "new_for_user", "new_for_peers")
    bits = rarity(shown, keyed, "action", ["actor_kind"])
    team = rarity(shown.select("session_id", "action", "first_time"), keyed, "action", ["actor_kind", "team"]).select(
        "session_id", "action", team_bits="peer_bits", team_past="peer_past")
    bits = bits.join(team, on=["session_id", "action"], how="left")
    weight, new = pl.col("weight"), pl.col("new_for_user")
    to_peers = new & pl.col("new_for_peers").fill_null(False)
    refused = pl.col("n_denied") == pl.col("n")
    # Half a session stands for "never": see novelty.rarity.
    unseen_by_team = new & (pl.col("team_bits") >= ((pl.col("team_past") + 1) / 0.5).log(2) - 1e-9).fill_null(False)
    return bits.group_by("session_id").agg(
        weight_max=weight.max(), weight_sum=weight.sum(), weight_denied=weight.filter(refused).sum(),
        weight_done=weight.filter(~refused).sum(), n_new=new.sum(), share_new=new.mean(), weight_new=weight.filter(new).sum(),
        n_new_to_peers=to_peers.sum(), weight_new_to_peers=weight.filter(to_peers).sum(),
        weight_new_to_team=weight.filter(unseen_by_team).sum(),
        action_bits_max=pl.col("user_bits").max(), action_bits_sum=_sum(pl.col("user_bits")),
        action_peer_bits_max=pl.col("peer_bits").max(), action_peer_bits_sum=_sum(pl.col("peer_bits")),
        action_team_bits_max=pl.col("team_bits").max(),
        weighted_bits_max=(weight * pl.col("user_bits")).max(), weighted_bits_sum=_sum(weight * pl.col("user_bits")),
        weighted_peer_bits_max=(weight * pl.col("peer_bits")).max(), weighted_peer_bits_sum=_sum(weight * pl.col("peer_bits")),
    )


def _habits(rows: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    stem = workload_stem(pl.col("name"), pl.col("resource"))
    named = pl.col("resource").is_in(["pods", "deployments", "daemonsets", "statefulsets", "cronjobs", "jobs", "secrets", "configmaps"])
    kind = pl.concat_str([pl.col("resource"), pl.col("namespace")], separator="/")
    workload = pl.when(named).then(pl.concat_str([pl.col("resource"), pl.col("namespace"), stem], separator="/"))
    return habit_bits(rows, keyed, {
        "source": (["source_ip"], pl.col("source_ip")), "network": (["source_ip"], network(pl.col("source_ip"))),
        "source_class": (["source_class"], pl.col("source_class")), "client": (["client_family"], pl.col("client_family")),
        "agent": (["user_agent"], agent_stem(pl.col("user_agent"))), "namespace": (["namespace"], pl.col("namespace")),
        "place": (["resource", "namespace"], kind), "workload": (["resource", "namespace", "name"], workload),
        "grant": (["grant_role"], pl.col("grant_role")),
    })


def _surprise(rows: pl.DataFrame, keyed: pl.DataFrame) -> pl.DataFrame:
    steps = step_surprise(session_steps(rows), keyed).with_columns(pl.col("bits").round(6))
    worst = steps.drop_nulls("bits").sort("bits", "before", "action", descending=[True, False, False]).group_by("session_id").agg(
        pl.format("{} then {}", "before", "action").first().alias(WORST_STEP))
    return steps.group_by("session_id").agg(
        step_bits_mean=pl.col("bits").mean(), step_bits_max=pl.col("bits").max(),
        n_unseen_steps=pl.when(pl.col("bits").count() > 0).then(pl.col("is_unseen").sum()),
    ).join(worst, on="session_id", how="left")


def _sum(values: pl.Expr) -> pl.Expr:
    """Sum that stays null where nothing is known."""
    return pl.when(values.count() > 0).then(values.sum())
