"""A small story in tables: sessions, incidents, scores, candidates and verdicts, built from a few words each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.evaluate import Evaluation, evaluate
from audit_lab.profile import EvaluateSettings

T0 = datetime(2026, 11, 23, 5, tzinfo=UTC)
ZERO: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Float64: 0.0, pl.Boolean: False}


def fill(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Build table `name` from rows that give only what matters; required columns left out get a zero value."""
    table = tables.TABLES[name]
    defaults = {
        column: None if spec.nullable else [] if spec.dtype not in ZERO and spec.dtype != tables.TIME else ZERO.get(spec.dtype, T0)
        for column, spec in table.columns.items()
    }
    return tables.check(pl.DataFrame([defaults | row for row in rows], schema=table.schema), name)


@dataclass
class Story:
    """Sessions `s0, s1 …`, each with one event a minute apart; `say` adds what is known and scored about them."""

    sessions: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    def session(self, actor: str | None = None, incident: str | None = None, case: bool = True, verdict: float | None = None,
                usable: bool = True, floor: float | None = None, **scores: float) -> str:
        n = len(self.sessions)
        name, start = f"s{n:03}", T0 + timedelta(minutes=n)
        self.sessions.append({"session_id": name, "actor": actor or f"u{n}", "cluster": "c", "start": start,
                              "end": start + timedelta(seconds=30)})
        if incident:
            found = next(row for row in self.incidents if row["incident_id"] == incident)
            found["audit_ids"].append(f"e-{name}")
        self.scores += [{"case_id": f"c-{name}", "session_id": name, "detector_id": detector, "score": score}
                        for detector, score in scores.items()]
        if case:
            self.candidates.append({"case_id": f"c-{name}", "rank": n + 1, "session_ids": [name], "score": scores.get("fused", 0.0),
                                    "floor": floor, "selected_by": "rank", "sampling_probability": 1.0})
        if verdict is not None:
            self.verdicts.append({"case_id": f"c-{name}", "judge_id": "baseline", "judge_version": "1", "score": verdict, "usable": usable})
        return name

    def incident(self, name: str, malicious: bool = True, **keys: Any) -> None:
        self.incidents.append({"incident_id": name, "title": name, "malicious": malicious, "audit_ids": [], **keys})

    def frames(self) -> dict[str, pl.DataFrame]:
        sessions = fill("sessions", self.sessions)
        events = sessions.select(event_id="e-" + pl.col("session_id"), time="start")
        incidents = fill("incidents", self.incidents)
        verdicts = {row["incident_id"]: "malicious" if row["malicious"] else "benign-but-suspicious" for row in self.incidents}
        labels = [
            {"label_id": f"y-{row['incident_id']}-{event}", "target_kind": "incident", "target_id": row["incident_id"],
             "session_id": event.removeprefix("e-"), "verdict": verdicts[row["incident_id"]], "event_ids": [event]}
            for row in self.incidents for event in row["audit_ids"]
        ]
        return {
            "sessions": sessions, "session_events": events.select("event_id", session_id=pl.col("event_id").str.strip_prefix("e-")),
            "events": events, "incidents": incidents, "labels": fill("labels", labels), "scores": fill("scores", self.scores),
            "candidates": fill("candidates", self.candidates), "verdicts": fill("verdicts", self.verdicts),
        }

    def evaluate(self, threshold: float = 0.5, **keys: Any) -> Evaluation:
        own = {key: keys.pop(key) for key in list(keys) if key in EvaluateSettings.model_fields}
        return evaluate(**self.frames(), settings=EvaluateSettings(threshold=threshold, bootstrap=200, **own), **keys)
