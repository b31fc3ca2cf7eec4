"""The figures of the report's first page: headline, tiles, flow, rows per scorer, cost, limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from typing import Any

import polars as pl

from audit_lab.govern import numbers
from audit_lab.govern.cases import Case
from audit_lab.govern.inputs import ReportInput
from audit_lab.govern.outcomes import Outcome
from audit_lab.visible import visible

Words = Callable[..., str]
NO_MODEL = ("baseline",)  # judges that use no language model
SCORER_NAMES = {
    "rules": "rules alone",
    "outliers": "outliers alone",
    "fused": "rules and outliers, fused",
    "judge": "judge alone",
    "all": "whole chain",
}
FEW_INCIDENTS = 30  # fewer incidents than this give intervals too wide for fine comparison
TILE_ORDER = ("incidents", "fpr", "precision", "flagged", "look-alikes", "delay")
CLUSTERS_NAMED = 3  # with a threshold of their own; all of them stand in the section on thresholds


def said_threshold(data: ReportInput) -> str:
    """Return the score from which cases are flagged as the report writes it, with the clusters that have another: '0.50 (prod 0.6)'."""
    own = [f"{visible(name, 40)} {value:g}" for name, value in sorted(data.profile.evaluate.thresholds.items())]
    more = [*own[:CLUSTERS_NAMED], *(["…"] if len(own) > CLUSTERS_NAMED else [])]
    return numbers.score(data.threshold) + (f" ({', '.join(more)})" if own else "")


def headline(data: ReportInput, cases: Sequence[Case], t: Words) -> str:
    """Return what was found, in one sentence, with the false-positive rate and its interval."""
    flagged = sum(case.flagged for case in cases)
    if data.evaluation is None:
        return t(
            "{flagged} of {n} cases reach the threshold; no labels were given, so how many of them are attacks is not known.",
            flagged=flagged,
            n=len(cases),
        )
    incidents, sessions = data.evaluation["incidents"], data.evaluation["sessions"]
    false_positives = numbers.rate(sessions["fpr"])
    if incidents["found"] is None or not false_positives.known:
        reason = numbers.rate(incidents["recall"]).reason or false_positives.reason
        return t("{flagged} cases reach the threshold; no rate can be stated: {reason}.", flagged=flagged, reason=reason or "–")
    sentence = t(
        "{found} of {n} incidents found; of the harmless sessions {fpr} were flagged",
        found=incidents["found"],
        n=incidents["n"],
        fpr=false_positives,
    )
    if false_positives.has_interval:
        sentence += t(" (95 % interval {interval})", interval=false_positives.interval)
    return sentence + "."


def tiles(data: ReportInput, cases: Sequence[Case], t: Words) -> list[dict[str, str]]:
    """Return name, value, of, note for each tile below the headline."""
    flagged = sum(case.flagged for case in cases)
    shown = [
        {
            "name": t("cases flagged"),
            "value": numbers.count(flagged),
            "of": t("of {n}", n=len(cases)),
            "note": t("of {n} sessions in all", n=numbers.count(data.sessions.height)),
        }
    ]
    if data.evaluation is None:
        events, actors = int(data.archives["n_events"].sum()), data.sessions["actor"].n_unique()
        with_signal, sessions_in_all = data.signals["session_id"].n_unique(), t("of {n}", n=data.sessions.height)
        return [
            *shown,
            {"name": t("sessions with a signal"), "value": numbers.count(with_signal), "of": sessions_in_all, "note": ""},
            {"name": t("events"), "value": numbers.count(events), "of": "", "note": t("of {n} actors", n=actors)},
        ]
    incidents, sessions, lookalikes = (data.evaluation[key] for key in ("incidents", "sessions", "benign_suspicious"))
    found, fpr, precision = numbers.rate(incidents["recall"]), numbers.rate(sessions["fpr"]), numbers.rate(sessions["precision"])
    delay = incidents.get("time_to_detect_s")
    median = delay.get("median") if isinstance(delay, Mapping) else delay
    first = [
        {
            "name": t("incidents found"),
            "value": numbers.count(incidents["found"]),
            "of": t("of {n}", n=incidents["n"]),
            "note": _interval(found, t),
        },
        {"name": t("false-positive rate"), "value": str(fpr), "of": "", "note": _interval(fpr, t, t("non-malicious sessions"))},
        {"name": t("precision"), "value": str(precision), "of": "", "note": _interval(precision, t, t("flagged sessions"))},
    ]
    last = [
        {
            "name": t("look-alikes flagged"),
            "value": numbers.count(lookalikes["flagged"]),
            "of": t("of {n}", n=lookalikes["n"]),
            "note": t("harmless, but looks like an attack"),
        },
        {"name": t("time to detect"), "value": numbers.duration(median), "of": "", "note": t("median, first event to end of session")},
    ]
    return [*first, *shown, *last]


def _interval(rate: numbers.Rate, t: Words, unit: str = "") -> str:
    parts = []
    if rate.has_interval:
        parts.append(t("95 % interval {interval}", interval=rate.interval))
    if unit and rate.n is not None:
        parts.append(f"n\u00a0=\u00a0{numbers.count(rate.n)} {unit}")
    return ", ".join(parts) or rate.reason


def flow(data: ReportInput, cases: Sequence[Case], t: Words) -> list[dict[str, Any]]:
    """Return the steps of the flow: word, n, note and the width of the bar (percent, logarithmic)."""
    events = int(data.archives["n_events"].sum())
    flagged = sum(case.flagged for case in cases)
    judges = ", ".join(sorted(data.verdicts["judge_id"].unique()))
    drawn = data.candidates.filter(pl.col("selected_by") == "exploration").height
    steps: list[dict[str, Any]] = [
        {"word": t("archives"), "n": data.archives.height, "note": numbers.size(int(data.archives["bytes"].sum()))},
        {"word": t("events"), "n": events, "note": t("of {n} records", n=numbers.count(int(data.archives["n_records"].sum())))},
        {"word": t("sessions"), "n": data.sessions.height, "note": t("of {n} actors", n=numbers.count(data.sessions["actor"].n_unique()))},
        {
            "word": t("signals"),
            "n": data.signals.height,
            "note": t("on {n} sessions", n=numbers.count(data.signals["session_id"].n_unique())),
        },
        {"word": t("candidates"), "n": data.candidates.height, "note": t("{n} drawn at random", n=drawn)},
        {"word": t("verdicts"), "n": data.verdicts.height, "note": t("by {judges}", judges=judges) if judges else t("not judged")},
        {"word": t("flagged"), "n": flagged, "note": t("score from {threshold}", threshold=said_threshold(data))},
    ]
    top = max(step["n"] for step in steps)
    incidents = (data.evaluation or {}).get("incidents")
    if incidents and incidents["found"] is not None:
        found, total = incidents["found"], incidents["n"]
        share = found / total if total else 0.0
        steps.append(
            {
                "word": t("incidents found"),
                "n": found,
                "note": t("{n} missed", n=total - found),
                "total": total,
                "parts": [(name, round(part, 3)) for name, part in (("missed", 1 - share), ("found", share)) if part > 0],
            }
        )
    else:
        steps.append({"word": t("incidents found"), "n": None, "note": t("no labels given")})
    for step in steps:
        step.setdefault("parts", [])
        step["width"] = _log_width(step.get("total", step["n"]), top)
    return steps


def _log_width(n: int | None, top: int) -> int:
    return 0 if not n or top < 1 else max(3, round(100 * log10(n + 1) / log10(top + 1)))


def scorer_rows(evaluation: Mapping[str, Any], t: Words) -> list[dict[str, Any]]:
    """Return a row per scorer of the evaluation, for the table of how well each works."""
    rows = []
    curve = evaluation.get("curve") or {}
    for name, block in (evaluation.get("by_detector") or {}).items():
        sessions, incidents, lookalikes = block["sessions"], block["incidents"], block["benign_suspicious"]
        interval = block.get("average_precision_interval") or {}
        rows.append(
            {
                "chain": name == "all",
                "name": t(SCORER_NAMES[name]) if name in SCORER_NAMES else name,
                "found": numbers.UNKNOWN if incidents["found"] is None else t("{found} of {n}", found=incidents["found"], n=incidents["n"]),
                "incident_recall": numbers.rate(incidents["recall"]),
                "flagged": sessions["flagged"],
                "recall": numbers.rate(sessions["recall"]),
                "fpr": numbers.rate(sessions["fpr"]),
                "precision": numbers.rate(sessions["precision"]),
                "average_precision": numbers.rate({**interval, "value": block["average_precision"]}),
                "lookalikes": numbers.UNKNOWN
                if lookalikes["flagged"] is None
                else t("{found} of {n}", found=lookalikes["flagged"], n=lookalikes["n"]),
                "curve": [numbers.count(point["found"]) for point in curve.get(name, [])],
            }
        )
    return rows


def cost(data: ReportInput) -> dict[str, Any]:
    """Return tokens, price (None where no price is known), calls, cached, and whether a language model was used."""
    by_model = data.verdicts.filter(~pl.col("judge_id").is_in(NO_MODEL))
    used = by_model.height > 0
    known = not used or by_model["cost_usd"].null_count() == 0
    usd = float(by_model["cost_usd"].sum()) if known else None
    found = ((data.evaluation or {}).get("incidents") or {}).get("found")
    return {
        "model_used": used,
        "calls": by_model.height,
        "cached": by_model.filter(pl.col("cached")).height,
        "tokens_in": int(data.verdicts["tokens_in"].sum()),
        "tokens_out": int(data.verdicts["tokens_out"].sum()),
        "usd": usd,
        "per_incident": usd / found if used and usd is not None and found else None,
    }


def limits(data: ReportInput, outcomes: Sequence[Outcome], used_model: bool, t: Words) -> list[str]:
    """Return what the figures do not say, in plain words; each sentence follows from the tables."""
    said = [t("A flag is a reason to look, not proof. Nothing is blocked; a person decides.")]
    if data.evaluation is None:
        said.append(t("Without labels nobody knows what was missed."))
    else:
        n = data.evaluation["incidents"]["n"]
        if n < FEW_INCIDENTS:
            said.append(t("{n} incidents are few: the interval of every rate is wide, and small differences mean nothing.", n=n))
        said.append(
            t("A session without a label counts as harmless. An attack that nobody labelled is counted as a false alarm, or not at all.")
        )
        said.append(
            t("If rules, settings or threshold were chosen on this same data, the figures flatter; look at data that was never seen.")
        )
        if data.evaluation.get("incidents_outside_data"):
            said.append(
                t("{n} incidents lie outside the time of the data and are left out.", n=len(data.evaluation["incidents_outside_data"]))
            )
    without = int(data.archives["n_truncated"].sum())
    if without:
        said.append(t("The API server cut the bodies of {n} events: rules on bodies cannot see into them.", n=numbers.count(without)))
    if any(outcome.malicious and not outcome.flagged for outcome in outcomes):
        said.append(t("The reasons given for a miss are read off the tables; they say where to look first."))
    said.append(t("User agents, names and forwarded addresses are what the client claimed; anyone can forge them."))
    drawn = data.candidates.filter(pl.col("selected_by") == "exploration").height
    if drawn:
        said.append(t("{n} cases were drawn at random from what no detector chose, so that blind spots can show.", n=drawn))
    if not used_model:
        said.append(t("The baseline judge reads signals, not intent: it cannot tell an emergency repair from an attack."))
    else:
        said.append(t("A model's summary is unverified prose; only the grounds with a mark were checked on the tables."))
    return said
