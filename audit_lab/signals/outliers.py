"""Outliers: sessions that no rule describes, found by comparing them with their own past and with their peers.

Detectors, each learnt from earlier time only. The first five are the default (`signals.detectors`):

`new-access`    a known identity from a new network, a new class of source or with a new client; or a newcomer where they are rare
`new-deed`      security-relevant deeds (predicates) that the identity, its peers and the cluster rarely did before
`odd-sequence`  a step from one action to the next that nobody of its kind used to make (needs the feature `step_bits_max`)
`odd-numbers`   more of something (secrets, namespaces, denials …) than its peers showed: what habit alone cannot tell
`far-summary`   a summary unlike all of its own past, or unlike its peers' where it has none, by cosine distance of embeddings

`new-combination`  things that peers had shown, but never together: verb and kind of object, action and place, client and source
`isolation`     few random cuts of its features set it apart from its peers (isolation forest)
`near-peers`    mean distance of its summary to the nearest of its peers, whoever they are (k nearest neighbours)
`thin-place`    a summary in a thin place among its peers, compared with how dense it is around its neighbours (local outlier factor)
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab import tables
from audit_lab.classes import SOURCE_CLASSES
from audit_lab.errors import InputError
from audit_lab.profile import OutlierName, SignalSettings
from audit_lab.signals.circles import Circles, peers_of, selves_of
from audit_lab.signals.combinations import new_combinations
from audit_lab.signals.density import local_density
from audit_lab.signals.distances import Exact, nearest_distance, past_distance
from audit_lab.signals.habits import new_access, new_deed
from audit_lab.signals.isolation import isolate
from audit_lab.signals.novelty import session_tokens, surprises, whose_past
from audit_lab.signals.peers import conformal_p_values, tail_surprise

OUTLIERS: tuple[str, ...] = get_args(OutlierName)
NEED_VECTORS = ("far-summary", "near-peers", "thin-place")
VERSION = "2"
# Bits at which strength reaches one half: an access is one or two facts, deeds add up over three.
_HALF_BITS = 4.0
_HALF_BITS_OF = {"new-deed": 8.0}
# These have their bits from the past directly; the others from their p-value.
_IN_BITS = ("new-access", "new-deed")
# Below this nobody would call it an outlier, and the table stays small.
_LEAST_STRENGTH = 0.1
# Deeds, quantities and actions that are named and counted.
_MOST = 3
_MAX_EVENTS = 50
# Quantities whose upper tail means something; those that the features frame has are used.
_NUMBERS = {
    "n_events": "events", "n_writes": "writes", "n_denied": "denials", "share_denied": "share denied", "n_errors": "errors",
    "share_errors": "share of errors", "share_deletes": "share deleted", "n_namespaces": "namespaces", "n_resources": "kinds of resource",
    "n_names": "objects", "n_actions": "distinct actions", "n_secrets": "secrets read by name", "n_secret_lists": "lists of secrets",
    "n_exec": "runs in pods", "n_rbac_writes": "writes of roles", "n_cluster_wide": "lists cluster-wide", "n_agents": "clients",
    "weight_denied": "sensitive requests denied",
}
_STEPS = "step_bits_max"
_WORST = "worst_step"


class _Frame(NamedTuple):
    """What all detectors need of the sessions, in order of start: their peers, and exact vectors where a static model does the bulk."""

    sessions: pl.DataFrame
    peers: Circles
    exact: Exact | None


def find_outliers(
    sessions: pl.DataFrame,
    events: pl.DataFrame,
    session_events: pl.DataFrame,
    settings: SignalSettings,
    embeddings: npt.NDArray[np.float32] | None = None,
    features: pl.DataFrame | None = None,
    exact: Exact | None = None,
) -> pl.DataFrame:
    """Return a signal for each session and outlier detector that has something to say.

    Parameters
    ----------
    sessions, events, session_events
        The tables of those names.
    settings
        `neighbours` (k), `min_peers` (fewest earlier peers for a p-value).
    embeddings
        One row per session, in their order; without it the detector 'far-summary' is left out.
    features
        `session_id` and numeric columns (sessions.session_features); without it the counts of `sessions` serve.
    exact
        Where `embeddings` are a static model's (bulk.embed_sessions): vectors of the full model, for 'far-summary'.

    Returns
    -------
    Table signals, kind 'outlier'. `strength` is comparable within a detector; `p_value` is conformal, null where fewer
    than `min_peers` earlier sessions of its peer group are known.

    Raises
    ------
    InputError
        When `embeddings` or `features` do not fit the sessions.
    """
    tables.check(sessions, "sessions")
    if sessions.is_empty():
        return tables.empty("signals")
    sessions = sessions.with_row_index("_order")
    if embeddings is not None and len(embeddings) != sessions.height:
        raise InputError(f"{len(embeddings)} embeddings for {sessions.height} sessions", "embed the summaries of these sessions")
    sessions = sessions.sort("start", "session_id")
    order = sessions["_order"].to_numpy()
    if exact is not None:
        exact = Exact(exact.asked[order], exact.place[order], exact.vectors)
    frame = _Frame(sessions, peers_of(sessions, settings.min_peers), exact)
    if embeddings is not None:
        embeddings = embeddings[order]
    placed = _features(sessions, features)
    parts = _parts(frame, events, session_events, settings, placed, embeddings)
    found = [_with_p_values(part, frame, settings) for part in parts]
    first_events = _first_events(session_events, events)
    signals = (
        pl.concat(found).filter(pl.col("strength") >= _LEAST_STRENGTH)
        .join(first_events, on="session_id", how="left", maintain_order="left")
        .with_columns(
            event_ids=pl.when(pl.col("event_ids").list.len() > 0).then("event_ids").otherwise("_first").list.head(_MAX_EVENTS),
            detector_version=pl.lit(VERSION), kind=pl.lit("outlier"),
        )
    )
    return tables.conform(signals, "signals").sort("session_id", "detector_id")


def _parts(
    frame: _Frame, events: pl.DataFrame, session_events: pl.DataFrame, settings: SignalSettings, features: pl.DataFrame,
    embeddings: npt.NDArray[np.float32] | None,
) -> list[pl.DataFrame]:
    """What each wanted detector has to say: session_id, detector_id, score, reason, event_ids."""
    wanted, sessions = settings.detectors, frame.sessions
    circles = whose_past(sessions)
    parts = []
    if {"new-access", "new-deed"} & set(wanted):
        seen = surprises(session_tokens(events, session_events), circles).with_columns(score=pl.col("bits") * pl.col("weight"))
        parts += [new_access(seen), new_deed(seen)]
    if "new-combination" in wanted:
        parts.append(_combinations(frame, events, session_events, circles))
    if "odd-numbers" in wanted:
        parts.append(_numbers(frame, settings, features))
    if "odd-sequence" in wanted and _STEPS in features.columns:
        parts.append(_sequence(sessions, features))
    if "isolation" in wanted:
        parts.append(_isolated(frame, settings, features))
    if embeddings is not None:
        makers = {"far-summary": _summaries, "near-peers": _near_peers, "thin-place": _thin_place}
        parts += [make(frame, settings, embeddings) for name, make in makers.items() if name in wanted]
    return [part for part in parts if part.is_empty() or part["detector_id"][0] in wanted]


def _combinations(frame: _Frame, events: pl.DataFrame, session_events: pl.DataFrame, circles: pl.DataFrame) -> pl.DataFrame:
    """How many things it showed together that its peers had only shown apart; 0 is a score too, for p-values."""
    found = new_combinations(events, session_events, circles, frozenset(SOURCE_CLASSES))
    return (
        frame.sessions.select("session_id").join(found, on="session_id", how="left", maintain_order="left")
        .select(
            "session_id", pl.lit("new-combination").alias("detector_id"), score=pl.col("n").fill_null(0.0),
            reason=pl.format("not seen together before: {}", pl.col("words").fill_null("nothing")),
            event_ids=pl.col("event_ids").fill_null([]),
        )
    )


def _isolated(frame: _Frame, settings: SignalSettings, features: pl.DataFrame) -> pl.DataFrame:
    """How few cuts set it apart, and the features that do."""
    columns = [name for name in features.columns if name in _NUMBERS]
    values = features.select(pl.col(columns).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    made = isolate(values, frame.peers, settings.min_peers, settings.seed)
    order = np.argsort(-made.weight, axis=1, kind="stable")[:, :_MOST]
    reasons = []
    for session, places in enumerate(order):
        told = [
            f"{_NUMBERS[columns[c]]} ({'more' if np.nan_to_num(values[session, c]) > made.middle[session, c] else 'less'})"
            for c in places if made.weight[session, c] > 0 and np.nan_to_num(values[session, c]) != made.middle[session, c]
        ]
        reasons.append("unlike its peers in: " + (", ".join(told) or "no single number"))
    return _frame(frame.sessions, "isolation", made.score, reasons)


def _features(sessions: pl.DataFrame, features: pl.DataFrame | None) -> pl.DataFrame:
    """The features of each session, in the order of `sessions`."""
    if features is None:
        return sessions.select(name for name in sessions.columns if name in _NUMBERS)
    if "session_id" not in features.columns or not {*_NUMBERS, _STEPS} & set(features.columns):
        raise InputError("features need the column 'session_id' and known quantities", "pass the frame of session_features")
    return sessions.select("session_id").join(features, on="session_id", how="left", maintain_order="left").drop("session_id")


def _sequence(sessions: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """How unlike its kind its least expected step is, and which one that is, where the features say so."""
    bits = features[_STEPS].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    steps = features[_WORST].to_list() if _WORST in features.columns else [None] * sessions.height
    said = "sequence of actions unlike its peers"
    return _frame(sessions, "odd-sequence", bits, [f"{said}: {step}" if step else said for step in steps])


def _numbers(frame: _Frame, settings: SignalSettings, features: pl.DataFrame) -> pl.DataFrame:
    """How much it did: the mean of the three quantities furthest up the tail of its peers, in bits."""
    columns = [name for name in features.columns if name in _NUMBERS]
    if not columns:
        return _frame(frame.sessions, "odd-numbers", np.full(frame.sessions.height, np.nan), [""] * frame.sessions.height)
    values = features.select(pl.col(columns).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    bits = tail_surprise(values, frame.peers, settings.min_peers)
    filled = np.nan_to_num(bits)
    order = np.argsort(-filled, axis=1, kind="stable")[:, :_MOST]
    best = np.take_along_axis(filled, order, axis=1)
    names = [
        "more than its peers: " + ", ".join(_NUMBERS[columns[c]] for c, b in zip(row, row_bits, strict=True) if b >= 1)
        for row, row_bits in zip(order, best, strict=True)
    ]
    enough = ~np.isnan(bits).all(axis=1)
    return _frame(frame.sessions, "odd-numbers", np.where(enough, best.mean(axis=1), np.nan), names)


def _summaries(frame: _Frame, settings: SignalSettings, embeddings: npt.NDArray[np.float32]) -> pl.DataFrame:
    """How it reads: distance to the nearest session of its own past, or to the nearest peers where it has none."""
    distance, nearest, alone = past_distance(embeddings, selves_of(frame.sessions), frame.peers, settings.neighbours, frame.exact)
    did = _did(frame, nearest)
    reasons = [
        f"summary unlike {'its peers' if is_alone else 'its own past'}; nearest did: {what}"
        for is_alone, what in zip(alone, did, strict=True)
    ]
    return _frame(frame.sessions, "far-summary", distance, reasons)


def _near_peers(frame: _Frame, settings: SignalSettings, embeddings: npt.NDArray[np.float32]) -> pl.DataFrame:
    """Mean distance to the k nearest of all its peers."""
    made = nearest_distance(embeddings, frame.peers, settings.neighbours)
    reasons = [f"summary unlike its nearest peers; nearest did: {what}" for what in _did(frame, made.nearest)]
    return _frame(frame.sessions, "near-peers", made.distance, reasons)


def _thin_place(frame: _Frame, settings: SignalSettings, embeddings: npt.NDArray[np.float32]) -> pl.DataFrame:
    """Local outlier factor among its peers."""
    made = local_density(embeddings, frame.peers, settings.neighbours, settings.min_peers)
    reasons = [f"more alone than its nearest peers are; nearest did: {what}" for what in _did(frame, made.nearest)]
    return _frame(frame.sessions, "thin-place", made.factor, reasons)


def _did(frame: _Frame, nearest: list[list[int]]) -> list[str]:
    """What the nearest earlier session did, in words."""
    actions = frame.sessions["actions"].to_list()
    return [", ".join((actions[near[0]] or [])[:_MOST]) if near else "nothing" for near in nearest]


def _frame(sessions: pl.DataFrame, detector: str, scores: npt.NDArray[np.float64], reasons: list[str]) -> pl.DataFrame:
    return pl.DataFrame({
        "session_id": sessions["session_id"], "detector_id": detector, "score": scores, "reason": reasons,
    }).with_columns(pl.col("score").fill_nan(None), event_ids=pl.lit([], dtype=tables.TEXTS)).filter(pl.col("score").is_not_null())


def _with_p_values(part: pl.DataFrame, frame: _Frame, settings: SignalSettings) -> pl.DataFrame:
    """Add p-value and strength. Novelty scores are bits already; the others get their bits from their p-value."""
    if part.is_empty():
        return part.with_columns(p_value=pl.lit(None, pl.Float64), strength=pl.lit(0.0))
    detector = str(part["detector_id"][0])
    placed = frame.sessions.select("session_id").join(part, on="session_id", how="left", maintain_order="left")
    is_bits = detector in _IN_BITS
    scores = placed["score"].fill_null(0.0 if is_bits else float("nan")).round(9).to_numpy()
    p_value = conformal_p_values(scores, frame.peers, settings.min_peers).p_value
    bits = scores if is_bits else -np.log2(p_value)
    strength = 1 - 2 ** (-np.nan_to_num(bits) / _HALF_BITS_OF.get(detector, _HALF_BITS))
    return (
        placed.with_columns(
            p_value=pl.Series(p_value).fill_nan(None).round(6), strength=pl.Series(strength).round(6),
        ).filter(pl.col("score").is_not_null())
    )


def _first_events(session_events: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The events that stand for a whole session: its first ten."""
    return (
        session_events.join(events.select("event_id", "time"), on="event_id", how="inner").sort("time", "event_id")
        .group_by("session_id", maintain_order=True).agg(_first=pl.col("event_id").head(10))
    )
