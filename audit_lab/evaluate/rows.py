"""An evaluation as rows of table `metrics`: every figure with n, unit, interval, split, prevalence and the versions behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from audit_lab import tables
from audit_lab.evaluate.intervals import Rate

if TYPE_CHECKING:
    from audit_lab.evaluate.result import Block, Evaluation

_JUDGE = (
    "recall", "fpr", "precision", "average_precision", "brier", "calibration_error", "answered_share", "schema_valid_share", "usable_share",
    "grounded_share",
)
# Keys of `Evaluation.versions` that have a column of their own.
VERSIONS = ("code", "rules", "profile", "judge", "prompt")


def metric_rows(evaluation: Evaluation) -> pl.DataFrame:
    """Return every figure of an evaluation as table `metrics`."""
    rows = _Rows(evaluation)
    for scorer, block in evaluation.blocks.items():
        _block(rows, scorer, block)
        for point in evaluation.curve[scorer]:
            rows.add(scorer, "incident", f"recall_at_fpr_{point['share']:g}", _rate(point["recall"]))
    events = evaluation.events
    for measure in ("recall", "fpr", "precision"):
        rows.add("all", "event", measure, getattr(events, measure), _share(events.malicious, events.n))
    rows.add("all", "incident", "cited", evaluation.cited)
    for name, judge in evaluation.judges.items():
        for measure in _JUDGE:
            rows.add(name, "case", measure, getattr(judge, measure), judge.prevalence)
        cost = Rate(judge.cost_per_finding_usd, None, None, judge.n_answered, judge.cost_reason)
        rows.add(name, "case", "cost_per_finding_usd", cost, judge.prevalence)
    untried = Rate(None, None, None, 0, "not tried: audit-lab evaluate --injection")
    rows.add("judge", "case", "injection_success", untried)
    for rule in evaluation.rules:
        rows.add(f"rule {rule.rule}", "session", "precision", rule.precision, rules=rule.version)
        rows.add(f"rule {rule.rule}", "session", "fpr", rule.fpr, rules=rule.version)
    for week in evaluation.weeks.iter_rows(named=True):
        rows.add("all", "session", week["measure"], _rate(week), period=week["period"])
    if evaluation.audits:
        for measure in ("recall", "fpr", "precision"):
            rate = getattr(evaluation.audits, measure)
            rows.add("all", "case", f"{measure}_from_audits", rate, evaluation.audits.malicious.value)
    found = evaluation.calibrated
    for name, figures in (("raw", found.raw), ("calibrated", found.calibrated)):
        if figures:
            rows.add(f"{found.scorer} {name}", "session", "brier", figures.brier)
            rows.add(f"{found.scorer} {name}", "session", "calibration_error", figures.calibration_error)
    return rows.frame()


def _block(rows: _Rows, scorer: str, block: Block) -> None:
    figures, incidents, cases = block.sessions, block.incidents, block.cases
    share = _share(figures.malicious, figures.n)
    for measure in ("recall", "fpr", "precision", "fpr_without_look_alikes"):
        rows.add(scorer, "session", measure, getattr(figures, measure), share)
    rows.add(scorer, "session", "average_precision", block.average_precision, share)
    rows.add(scorer, "session", "brier", block.probability.brier, share)
    rows.add(scorer, "session", "calibration_error", block.probability.calibration_error, share)
    for measure in ("recall", "fpr", "precision", "average_precision"):
        rows.add(scorer, "case", measure, getattr(cases, measure), _share(cases.malicious, cases.n))
    rows.add(scorer, "incident", "recall", incidents.recall)
    rows.add(scorer, "incident", "look_alikes_flagged", incidents.look_alike_rate)
    rows.add(scorer, "incident", "found_before_impact", incidents.before_impact)
    for measure, delay in (("median_time_to_detect_s", incidents.time_to_detect_s), ("median_lead_s", incidents.lead_s)):
        rows.add(scorer, "incident", measure, Rate(delay["median"], delay["low"], delay["high"], delay["n"], delay.get("reason")))
    for point in block.points:
        if point.kind == "recall":
            rows.add(scorer, "session", f"fpr_at_recall_{point.target:g}", point.rates["fpr"], share)
        elif point.kind == "prevalence":
            rows.add(scorer, "session", f"precision_at_prevalence_{point.target:g}", point.rates["precision"], point.target)
        else:
            of_cases = _share(cases.malicious, cases.n)
            rows.add(scorer, "case", f"recall_at_{point.target:g}_a_day", point.rates["recall"], of_cases)
            rows.add(scorer, "case", f"precision_at_{point.target:g}_a_day", point.rates["precision"], of_cases)
            rows.add(scorer, "incident", f"recall_at_{point.target:g}_a_day", point.rates["incidents"])


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rate(values: dict[str, Any]) -> Rate:
    return Rate(values["value"], values["low"], values["high"], values["n"], values.get("reason"))


class _Rows:
    """Rows of one evaluation while they are collected."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._of = {
            "evaluation_id": evaluation.evaluation_id, "split": evaluation.split, "threshold": evaluation.threshold,
            "confidence": evaluation.confidence, "data_start": evaluation.data_start, "data_end": evaluation.data_end,
            **{name: evaluation.versions.get(name) for name in VERSIONS},
        }
        self._rows: list[dict[str, Any]] = []

    def add(self, scorer: str, unit: str, measure: str, rate: Rate, prevalence: float | None = None, **more: Any) -> None:
        self._rows.append({
            **self._of, "scorer": scorer, "unit": unit, "measure": measure, "value": rate.value, "low": rate.low, "high": rate.high,
            "n": rate.n, "prevalence": prevalence, "reason": rate.reason, **more,
        })

    def frame(self) -> pl.DataFrame:
        schema = {name: dtype for name, dtype in tables.TABLES["metrics"].schema.items() if name != "at"}
        return tables.conform(pl.DataFrame(self._rows, schema=schema), "metrics")
