"""The frames behind the pictures of a report: scores, curves and incidents, one row per point."""

from __future__ import annotations

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.evaluate.confusion import CLASS_NAMES, MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.ranking import precision_recall

HISTOGRAM_BINS = 20


def long_scores(
    scored: dict[str, np.ndarray], sessions: pl.DataFrame, classes: np.ndarray, shown: np.ndarray, flags: dict[str, np.ndarray]
) -> pl.DataFrame:
    """Return one row per session × scorer: session_id, cluster, actor, start, class, scorer, score, shown, flagged."""
    base = sessions.select("session_id", "cluster", "actor", "start").with_columns(
        pl.Series("class", [CLASS_NAMES[code] for code in classes], dtype=pl.String)
    )
    added = [("scorer", pl.String), ("score", pl.Float64), ("shown", pl.Boolean), ("flagged", pl.Boolean)]
    schema = pl.Schema([*base.schema.items(), *added])
    parts = [
        base.with_columns(
            scorer=pl.lit(name), score=pl.Series(values), shown=pl.Series(shown if name == "all" else np.ones_like(shown)),
            flagged=pl.Series(flags[name]),
        )
        for name, values in scored.items()
    ]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def precision_recall_points(scored: dict[str, np.ndarray], classes: np.ndarray) -> pl.DataFrame:
    """Return one row per scorer × distinct score: threshold, n_flagged, recall, precision."""
    schema = {"scorer": pl.String, "threshold": pl.Float64, "n_flagged": pl.Int64, "recall": pl.Float64, "precision": pl.Float64}
    parts = [precision_recall(classes == MALICIOUS, values).select(pl.lit(name).alias("scorer"), pl.all())
             for name, values in scored.items()]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def histogram(scored: dict[str, np.ndarray], classes: np.ndarray) -> pl.DataFrame:
    """Return the number of sessions per scorer, class and score bin of equal width."""
    edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
    schema = {"scorer": pl.String, "class": pl.String, "bin_low": pl.Float64, "bin_high": pl.Float64, "n": pl.Int64}
    parts = [pl.DataFrame(schema=schema)]
    for name, values in scored.items():
        for code, label in enumerate(CLASS_NAMES):
            counts, _ = np.histogram(np.clip(values[classes == code], 0.0, 1.0), bins=edges)
            parts.append(pl.DataFrame({
                "scorer": [name] * HISTOGRAM_BINS, "class": [label] * HISTOGRAM_BINS,
                "bin_low": edges[:-1], "bin_high": edges[1:], "n": counts,
            }, schema=schema))
    return pl.concat(parts)


def incident_scores(scored: dict[str, np.ndarray], placed: IncidentMap, flags: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return one row per incident × scorer: its best session's score and rank (1 is first, ties count against it), found."""
    schema = {"incident_id": pl.String, "scorer": pl.String, "score": pl.Float64, "rank": pl.Int64, "found": pl.Boolean}
    parts = [pl.DataFrame(schema=schema)]
    for name, values in scored.items():
        best = placed.best(values)
        ascending = np.sort(values)
        ranks = values.size - np.searchsorted(ascending, best, side="left")
        placed_at_all = np.isfinite(best)
        parts.append(pl.DataFrame({
            "incident_id": placed.ids, "scorer": [name] * len(placed.ids),
            "score": [float(score) if ok else None for score, ok in zip(best, placed_at_all, strict=True)],
            "rank": [int(rank) if ok else None for rank, ok in zip(ranks, placed_at_all, strict=True)],
            "found": [bool(flags[name][rows].any()) for rows in placed.rows],
        }, schema=schema))
    return pl.concat(parts)


def incident_rows(
    incidents: pl.DataFrame, labels: pl.DataFrame, placed: IncidentMap, scores: pl.DataFrame, detected: np.ndarray
) -> pl.DataFrame:
    """Return one row per incident: what it is, who found it, its best rank under `all`, when it was detected.

    `scores` is the frame of `incident_scores`, `detected` the time of detection in µs since 1970 (nan = never).
    """
    times = pl.DataFrame(
        {"incident_id": placed.ids, "first_event": placed.first_event, "detected_at": detected,
         "time_to_detect_s": (detected - placed.first_event) / 1e6},
        schema={"incident_id": pl.String, "first_event": pl.Float64, "detected_at": pl.Float64, "time_to_detect_s": pl.Float64},
    ).with_columns(
        pl.col("first_event", "detected_at").fill_nan(None).cast(pl.Int64).cast(tables.TIME), pl.col("time_to_detect_s").fill_nan(None),
    )
    held = labels.filter(pl.col("target_kind") == "incident").group_by(incident_id="target_id").agg(
        n_sessions=pl.col("session_id").n_unique().cast(pl.Int64),
        n_events=pl.col("event_ids").explode(empty_as_null=False).n_unique().cast(pl.Int64),
    )
    found = scores.filter("found").group_by("incident_id", maintain_order=True).agg(found_by=pl.col("scorer"))
    alone = scores.filter(pl.col("scorer") == "all").select("incident_id", "rank", "score")
    return (
        incidents.select("incident_id", "title", "malicious", "technique_ids")
        .join(times, on="incident_id", how="inner", maintain_order="left")
        .join(held, on="incident_id", how="left", maintain_order="left")
        .join(found, on="incident_id", how="left", maintain_order="left")
        .join(alone, on="incident_id", how="left", maintain_order="left")
        .with_columns(pl.col("n_sessions", "n_events").fill_null(0), pl.col("found_by").fill_null(pl.lit([], dtype=tables.TEXTS)))
        .select("incident_id", "title", "malicious", "technique_ids", "n_sessions", "n_events", "first_event", "found_by", "rank", "score",
                "detected_at", "time_to_detect_s")
    )
