"""The report: one HTML file that works offline, on a phone and on paper.

Everything untrusted passes jinja2's autoescape and `visible_markup`; the page holds no script, loads nothing,
and its content policy forbids both. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from audit_lab import palette
from audit_lab.errors import InputError
from audit_lab.govern import numbers, pictures, summary
from audit_lab.govern.cases import Case, build_cases
from audit_lab.govern.drift_picture import draw_drift
from audit_lab.govern.drift_section import drift_section
from audit_lab.govern.inputs import ReportInput
from audit_lab.govern.outcomes import REASONS, build_outcomes
from audit_lab.govern.reliability_picture import draw_reliability
from audit_lab.govern.story_chart import draw_story
from audit_lab.govern.svg import picture_svg
from audit_lab.govern.threshold_section import threshold_section
from audit_lab.govern.words import check_language, translate
from audit_lab.private import private_file, private_folder
from audit_lab.visible import visible, visible_markup

TEMPLATES = Path(__file__).parent / "templates"
TIMELINE_ACTORS = 24  # rows of the timeline; more do not fit a page
TIMELINE_SESSIONS = 3000  # bars of the timeline; the longest are kept
ARCHIVES_SHOWN = 60  # rows of the ledger; archives that do not balance are always shown
KEYS_SHOWN = 40
RULES_SHOWN = 5  # of a case in full; the others by name


def write_report(data: ReportInput, path: str | Path) -> Path:
    """Write the report and return its path; the folder is made, the file replaced in one step.

    Raises
    ------
    InputError
        When the language is unknown or the file cannot be written.
    """
    page = render_report(data)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        private_folder(target.parent)
        private_file(temporary).write_text(page, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"the report cannot be written to '{target}': {error.strerror}", "choose another --out") from None
    return target


def render_report(data: ReportInput) -> str:
    """Return the report as one HTML page."""
    check_language(data.lang)

    def t(text: str, **values: Any) -> str:
        return translate(text, data.lang, **values)

    cases = build_cases(data)
    outcomes = build_outcomes(data, cases)
    flagged = [case for case in cases if case.flagged]
    cost = summary.cost(data)
    malicious = [item for item in outcomes if item.malicious]
    lookalikes = [item for item in outcomes if not item.malicious]
    bars, bands, left_out = timeline_frames(data, cases)
    evaluation, drift = data.evaluation, drift_section(data, t)
    contents = [
        ("headline", t("Headline"), None),
        ("flow", t("Flow"), None),
        ("alerts", t("Alerts"), len(flagged)),
        ("timeline", t("Timeline"), None),
        ("quality", t("How well it works"), None),
        *([("incidents", t("Incidents"), len(malicious))] if outcomes else []),
        ("thresholds", t("Thresholds and calibration"), None),
        *([("drift", t("Drift"), len(drift["alarms"]) + drift["left_out"] if drift["n_periods"] else None)] if drift else []),
        ("cost", t("Cost"), None),
        ("data", t("Data"), None),
        ("versions", t("Versions"), None),
        ("limits", t("Limits"), None),
    ]
    # The palette and the style sheet are ours: nothing of the data is in them.
    light, dark, chart_css = (Markup(text) for text in (palette.variables(0), palette.variables(1), palette.chart_rules()))  # noqa: S704
    first, last = data.archives["first_time"].min(), data.archives["last_time"].max()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            t=t,
            lang=data.lang,
            data=data,
            period=data.period,
            generated_at=data.generated_at,
            contents=contents,
            light=light,
            dark=dark,
            css=_style(),
            chart_css=chart_css,
            clusters=sorted(data.archives["cluster"].unique()),
            first_time=first,
            last_time=last,
            many_days=first is None or last is None or first.date() != last.date(),  # type: ignore[union-attr]
            has_labels=evaluation is not None or data.labels.height > 0,
            threshold=data.threshold,
            threshold_said=summary.said_threshold(data),
            headline=summary.headline(data, cases, t),
            tiles=summary.tiles(data, cases, t),
            flow=summary.flow(data, cases, t),
            cases=cases,
            flagged=flagged,
            rest=[case for case in cases if not case.flagged],
            outcome_anchors={item.incident_id: item.anchor for item in outcomes},
            malicious=malicious,
            lookalikes=lookalikes,
            reasons=REASONS,
        rules_shown=RULES_SHOWN,
            story_pictures=_story_pictures(data, cases),
        charts=_charts(data, cases, bars, bands),
            timeline_actors=bars["actor"].n_unique(),
            timeline_left_out=left_out,
            split=t("all data") if evaluation is None or evaluation.get("split", "all") == "all" else evaluation["split"],
            scorers=summary.scorer_rows(evaluation, t) if evaluation else [],
            shares=_shares(evaluation),
            incident_total=((evaluation or {}).get("incidents") or {}).get("n"),
            thresholds=threshold_section(data, t),
            drift=drift,
            cost=cost,
            egress=_egress(data),
            ledger=ledger(data.archives),
            quarantine=_quarantine(data),
            unknown_keys=_unknown_keys(data),
            blind=data.blind,
            versions=_versions(data, t),
            limits=summary.limits(data, outcomes, cost["model_used"], t),
        )
        + "\n"
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        raw=visible_markup,
        plain=visible,
        clock=numbers.clock,
        count=numbers.count,
        percent=numbers.percent,
        score=numbers.score,
        size=numbers.size,
        duration=numbers.duration,
        money=numbers.money,
    )
    return environment


@cache
def _style() -> Markup:
    return Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - a file of this package


def ledger(archives: pl.DataFrame) -> dict[str, Any]:
    """Return the account of law 3 per archive: rows to show, whether all balance, how many are not shown."""
    counted = pl.sum_horizontal("n_events", "n_duplicates", "n_superseded", "n_quarantined", "n_foreign", "n_sampled_out")
    accounted = pl.sum_horizontal("record_bytes", "separator_bytes", "blank_bytes")
    rows = archives.with_columns(
        balances=(counted == pl.col("n_records")) & (accounted == pl.col("bytes")),
        file=pl.coalesce(pl.col("path").str.split("/").list.last(), "archive_id"),
    ).sort("balances", "first_time", "file", nulls_last=True)
    shown = rows.filter(~pl.col("balances")).height
    kept = rows.head(max(shown, ARCHIVES_SHOWN))
    return {
        "rows": kept.to_dicts(),
        "left_out": rows.height - kept.height,
        "balances": rows.height > 0 and bool(rows["balances"].all()),
    }


def timeline_frames(data: ReportInput, cases: Sequence[Case]) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return the timeline's bars (actor, start, end, state) and bands (actor, start, end, malicious), and actors left out.

    Drawn are the actors of cases, the highest score first, then those of labelled sessions that no case holds.
    """
    flagged = {member["session_id"] for case in cases if case.flagged for member in case.sessions}
    judged = {member["session_id"] for case in cases for member in case.sessions}
    labelled = data.labels.filter(pl.col("session_id").is_not_null()).join(
        data.sessions.select("session_id", "actor", session_start="start", session_end="end"), on="session_id", how="inner"
    )
    interesting = dict.fromkeys(member["actor"] for case in cases for member in case.sessions)
    interesting |= dict.fromkeys(labelled["actor"].unique(maintain_order=True))
    actors = list(interesting)[:TIMELINE_ACTORS]
    place = {actor: number for number, actor in enumerate(actors)}
    bars = (
        data.sessions.filter(pl.col("actor").is_in(actors))
        .with_columns(
            state=pl.when(pl.col("session_id").is_in(sorted(flagged)))
            .then(pl.lit("flagged"))
            .when(pl.col("session_id").is_in(sorted(judged)))
            .then(pl.lit("candidate"))
            .otherwise(pl.lit("other")),
            place=pl.col("actor").replace_strict(place, default=0, return_dtype=pl.Int64),
        )
        .sort("state", "n_events", "session_id", descending=[True, True, False])
        .head(TIMELINE_SESSIONS)
        .sort("place", "start", "session_id")
        .select("actor", "start", "end", "state")
    )
    times = data.events.select("event_id", "time")
    bands = (
        labelled.filter((pl.col("target_kind") == "incident") & pl.col("actor").is_in(actors))
        .explode("event_ids")
        .join(times, left_on="event_ids", right_on="event_id", how="left")
        .group_by("actor", "target_id", malicious=pl.col("verdict") == "malicious")
        .agg(
            start=pl.coalesce(pl.col("time").min(), pl.col("session_start").min()),
            end=pl.coalesce(pl.col("time").max(), pl.col("session_end").max()),
        )
        .sort("malicious", "start", "target_id")
        .select("actor", "start", "end", "malicious")
    )
    return _named(bars), _named(bands), len(interesting) - len(actors)


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(actor=pl.when(pl.col("actor") == "").then(pl.lit("(authentication failed)")).otherwise("actor"))


def _charts(data: ReportInput, cases: Sequence[Case], bars: pl.DataFrame, bands: pl.DataFrame) -> dict[str, Markup]:
    details, evaluation = data.details or {}, data.evaluation or {}
    drawn: dict[str, Any] = {}
    if bars.height:
        drawn["timeline"] = pictures.timeline(bars, bands, data.lang)
    histogram = details.get("histogram")
    if histogram is not None and histogram.filter(pl.col("scorer") == "all").height:
        drawn["histogram"] = pictures.score_histogram(histogram.filter(pl.col("scorer") == "all"), data.threshold, data.lang)
    elif cases:
        rows = pl.DataFrame({"class": [_class(case) for case in cases], "score": [case.score for case in cases]})
        drawn["histogram"] = pictures.score_histogram(rows, data.threshold, data.lang)
    curve = details.get("precision_recall")
    if curve is not None:
        curve = curve.filter(pl.col("scorer").is_in(list(summary.SCORER_NAMES)))  # single detectors stand in the table
    if curve is not None and curve.height:
        sessions = evaluation.get("sessions") or {}
        share = sessions["malicious"] / sessions["n"] if sessions.get("n") else None
        drawn["precision_recall"] = pictures.precision_recall(curve, pictures.working_points(curve, data.threshold), data.lang, share)
    found = {name: points for name, points in (evaluation.get("curve") or {}).items() if name in summary.SCORER_NAMES}
    if any(point["found"] is not None for points in found.values() for point in points):
        drawn["incidents"] = pictures.incident_curve(found, data.lang)
    moved = draw_drift(data.drifts, data.profile.drift, data.lang)
    if moved is not None:
        drawn["drift"] = moved
    reliability = draw_reliability(evaluation.get("calibration"), data.lang)
    if reliability is not None:
        drawn["reliability"] = reliability
    names = ("timeline", "histogram", "precision_recall", "incidents", "reliability", "drift")
    return {name: picture_svg(drawn[name], name) if name in drawn else Markup("") for name in names}


def _story_pictures(data: ReportInput, cases: Sequence[Case]) -> dict[str, Markup]:
    return {
        case.story_id: draw_story(
            case.story_id, data.stories, data.sessions, data.links, data.events, data.session_events, clear_names=True
        )
        for case in cases if case.story_id
    }


def _class(case: Case) -> str:
    return case.label if case.label in pictures.CLASSES else "benign"


def _shares(evaluation: Any) -> list[float]:
    curves = list(((evaluation or {}).get("curve") or {}).values())
    return [point["share"] for point in curves[0]] if curves else []


def _egress(data: ReportInput) -> list[dict[str, Any]]:
    return (
        data.egress.group_by("endpoint", "judge_id", "outcome")
        .agg(
            calls=pl.len(),
            bytes_sent=pl.col("bytes_sent").sum(),
            tokens_in=pl.col("tokens_in").sum(),
        )
        .sort("endpoint", "judge_id", "outcome")
        .to_dicts()
    )


def _quarantine(data: ReportInput) -> list[dict[str, Any]]:
    return data.quarantine.group_by("reason").agg(n=pl.len()).sort("n", "reason", descending=[True, False]).to_dicts()


def _unknown_keys(data: ReportInput) -> list[dict[str, Any]]:
    keys = data.archives.select(pl.col("unknown_keys").explode()).drop_nulls().unnest("unknown_keys")
    return keys.group_by("key").agg(pl.col("n").sum()).sort("n", "key", descending=[True, False]).head(KEYS_SHOWN).to_dicts()


def _versions(data: ReportInput, t: summary.Words) -> list[tuple[str, str]]:
    settings = {
        "profile": f"{data.profile.name} {data.profile.digest[:16]}",
        "threshold": numbers.score(data.threshold),
        "budget": t("{n} cases", n=data.profile.signals.budget_cases),
        "session gap": numbers.duration(data.profile.sessions.gap_s),
        "masking policy": ", ".join(sorted(data.archives["masking"].unique())),
        "evaluation": str((data.evaluation or {}).get("evaluation_id") or ""),
    }
    judges = data.verdicts.select("judge_id", "judge_version", "model").unique(maintain_order=True).sort("judge_id", "judge_version")
    own = [(t(name), value) for name, value in settings.items() if value and name not in data.versions]
    own += [(f"{t('judge')} {judge}", " ".join(part for part in (version, model) if part)) for judge, version, model in judges.iter_rows()]
    return own + [(name, str(value)) for name, value in data.versions.items() if not name.startswith("judge ")]
