"""Pictures of sessions, scores and curves as Vega-Lite specifications: frame in, plain dictionary out.

The report draws them as SVG; `charts` gives them to notebooks as Altair charts. They are written as data
because importing Altair takes seconds where JupyterLab is installed, and a report should not.
Times are drawn in UTC whatever the machine's zone; big frames are thinned, in a stated way.

>>> curve = {"all": [{"share": 0.01, "found": 3, "n": 6}, {"share": 0.05, "found": 5, "n": 6}]}
>>> incident_curve(curve)["layer"][0]["mark"]["type"]
'line'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from audit_lab.govern.words import translate
from audit_lab.palette import LIGHT
from audit_lab.visible import clean, visible

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, never fetched
SMALL = 260  # width of a plot that fits a phone, pixels
WIDE = 735  # width of the timeline's plot, pixels
ACTOR_SHOWN = 42  # characters of an actor's name on the timeline
CURVE_POINTS = 400  # a precision-recall curve keeps at most this many points per scorer
BINS = 20  # of the score distribution
FONT = "Arial, 'Liberation Sans', Helvetica, 'Noto Sans CJK KR', sans-serif"  # one set of metrics on most machines
CLASSES = ("malicious", "benign-but-suspicious", "benign")
MOST_TICKS = 11
_TICKS_S = (5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_419_200)
_MINUTE_S = 60
_DAY_S = 86_400

_CLASS_COLOURS = {"malicious": LIGHT["malicious"], "benign-but-suspicious": LIGHT["lookalike"], "benign": LIGHT["quiet"]}
# Colour and dash by scorer: the whole chain is the accent, always. Other detectors take what is left.
_SCORERS: dict[str, tuple[str, list[int]]] = {
    "all": (LIGHT["accent"], [1, 0]),
    "judge": (LIGHT["second"], [7, 3]),
    "fused": (LIGHT["ink"], [2, 2]),
    "rules": (LIGHT["lookalike"], [8, 3, 2, 3]),
    "outliers": (LIGHT["fine"], [4, 4]),
}
_OTHER = ((LIGHT["muted"], [1, 3]), (LIGHT["quiet"], [5, 2]))
CONFIG: Spec = {
    "aria": False,
    "background": "transparent",
    "font": FONT,
    "padding": 6,
    "view": {"stroke": None},
    "axis": {
        "labelColor": LIGHT["muted"], "titleColor": LIGHT["muted"], "gridColor": LIGHT["line"], "domainColor": LIGHT["line"],
        "tickColor": LIGHT["line"], "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 190,
    },
    "legend": {"labelColor": LIGHT["ink"], "labelFontSize": 11, "orient": "bottom", "title": None, "symbolStrokeWidth": 2},
    "title": {"anchor": "start", "fontSize": 11, "fontWeight": "normal", "color": LIGHT["ink"], "offset": 3},
}


def timeline(sessions: pl.DataFrame, incidents: pl.DataFrame | None = None, lang: str = "en") -> Spec:
    """Return sessions of actors over time, flagged ones marked, incidents shaded behind the actors they concern.

    Parameters
    ----------
    sessions
        actor (str), start, end (UTC), state (str: 'flagged', 'candidate', 'other'); actors are drawn in order of appearance.
    incidents
        actor (str), start, end (UTC), malicious (bool); none where no labels are given.
    lang
        Language of axes and legend.
    """
    labels = actor_labels(sessions["actor"].unique(maintain_order=True).to_list())
    states = {
        "flagged": (translate("flagged session", lang), LIGHT["malicious"]),
        "candidate": (translate("judged, not flagged", lang), LIGHT["accent"]),
        "other": (translate("other session", lang), LIGHT["quiet"]),
    }
    shades = {
        True: (translate("malicious incident", lang), LIGHT["malicious-soft"]),
        False: (translate("benign but suspicious", lang), LIGHT["lookalike-soft"]),
    }
    start, end = sessions.select(pl.col("start").min(), pl.col("end").max()).row(0)
    known = [*states.values(), *(shades.values() if incidents is not None and incidents.height else ())]
    encoding: Spec = {
        "y": {"field": "actor", "type": "nominal", "sort": list(labels.values()), "title": None,
              "axis": {"domain": False, "ticks": False, "labelLimit": 280, "grid": False}},
        "x": {"field": "start", "type": "temporal", "scale": {"type": "utc"}, "title": translate("time (UTC)", lang),
              "axis": {**time_ticks(start, end), "labelOverlap": True, "grid": True}},
        "x2": {"field": "end"},
        "color": {"field": "state", "type": "nominal", "legend": {"columns": 5, "symbolType": "square"},
                  "scale": {"domain": [name for name, _ in known], "range": [colour for _, colour in known]}},
    }
    names = {state: name for state, (name, _) in states.items()}
    layers = [{
        "data": _data(_timed(sessions, labels).with_columns(pl.col("state").replace_strict(names))),
        "mark": {"type": "bar", "height": 7, "cornerRadius": 2, "minBandSize": 2},
        "encoding": encoding,
    }]
    if incidents is not None and incidents.height:
        bands = _timed(incidents, labels).with_columns(
            state=pl.when(pl.col("malicious")).then(pl.lit(shades[True][0])).otherwise(pl.lit(shades[False][0])),
        )
        layers.insert(0, {"data": _data(bands), "mark": {"type": "bar", "height": 17}, "encoding": encoding})
    return _finished({"layer": layers, "width": WIDE, "height": {"step": 19}})


def actor_labels(actors: Sequence[str]) -> dict[str, str]:
    """Return a short, distinct label per actor: 'sa:' stands for 'system:serviceaccount:'.

    >>> list(actor_labels(["system:serviceaccount:web:app", "anna"]).values())
    ['sa:web:app', 'anna']
    """
    labels: dict[str, str] = {}
    for actor in actors:
        label = visible(actor.replace("system:serviceaccount:", "sa:"), ACTOR_SHOWN)
        same = sum(known == label or known.startswith(f"{label} ·") for known in labels.values())
        labels[actor] = f"{label} ·{same + 1}" if same else label
    return labels


def time_ticks(start: datetime, end: datetime) -> Spec:
    """Return the ticks of a time axis, on round times, at most eleven of them, and how they are written.

    They are given one by one: Vega 6 fails on ticks that are given as an interval.

    >>> from datetime import UTC
    >>> time_ticks(datetime(2026, 11, 23, 5, 34, 24, tzinfo=UTC), datetime(2026, 11, 23, 5, 36, 1, tzinfo=UTC))["values"][:2]
    ['2026-11-23T05:34:30Z', '2026-11-23T05:34:40Z']
    """
    first, last = start.timestamp(), end.timestamp()
    step = next((step for step in _TICKS_S if (last - first) / step <= MOST_TICKS), _TICKS_S[-1])
    moments = range(int(-(-first // step) * step), int(last) + 1, step)
    days = int(first // _DAY_S) != int(last // _DAY_S)
    layout = "%d %b" if step >= _DAY_S else "%d %b %H:%M" if days else "%H:%M" if step >= _MINUTE_S else "%H:%M:%S"
    return {"values": [datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments], "format": layout}


def score_histogram(scores: pl.DataFrame, threshold: float | None = None, lang: str = "en") -> Spec:
    """Return the distribution of scores, one row per class, each with its own scale: the rare classes stay visible.

    Parameters
    ----------
    scores
        class (str, one of `CLASSES`), bin_low, bin_high, n: bins as the evaluation gives them; or class and score (0–1),
        a row per session or case, which are binned here.
    threshold
        Drawn as a line.
    """
    bins = scores if "n" in scores.columns else bin_scores(scores)
    present = [kind for kind in CLASSES if kind in set(bins["class"])]
    rows = []
    for place, kind in enumerate(present):
        own = bins.filter((pl.col("class") == kind) & (pl.col("n") > 0))
        last = place == len(present) - 1
        axis: Spec = {"title": translate("score", lang), "format": ".1f"} if last else {"labels": False, "ticks": False, "title": None}
        layers: list[Spec] = [{
            "data": _data(own),
            "mark": {"type": "bar", "color": _CLASS_COLOURS[kind]},
            "encoding": {
                "x": {"field": "bin_low", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": axis},
                "x2": {"field": "bin_high"},
                "y": {"field": "n", "type": "quantitative", "title": None, "axis": {"tickCount": 3, "format": "~s"}},
                "y2": {"datum": 0},
            },
        }]
        if threshold is not None:
            layers.append({
                "data": {"values": [{"threshold": threshold}]},
                "mark": {"type": "rule", "color": LIGHT["ink"], "strokeDash": [4, 3]},
                "encoding": {"x": {"field": "threshold", "type": "quantitative"}},
            })
        rows.append({"layer": layers, "width": SMALL, "height": 62, "title": f"{translate(kind, lang)} · {int(own['n'].sum()):,}"})
    return _finished({"vconcat": rows, "spacing": 8})


def bin_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Return class, bin_low, bin_high, n, for every bin of 1/20 that holds a score; 1.0 falls in the last bin."""
    number = (pl.col("score") * BINS).floor().clip(0, BINS - 1)
    bins = scores.drop_nulls("score").group_by("class", number=number).agg(n=pl.len()).sort("class", "number")
    return bins.select("class", bin_low=pl.col("number") / BINS, bin_high=(pl.col("number") + 1) / BINS, n="n")


def precision_recall(
    curve: pl.DataFrame, points: pl.DataFrame | None = None, lang: str = "en", prevalence: float | None = None,
) -> Spec:
    """Return precision over recall, a line per scorer, with a mark where the threshold in force lies.

    Parameters
    ----------
    curve
        scorer (str), recall, precision (float).
    points
        The same columns, one row per scorer: the working point.
    prevalence
        Share of malicious units: what chance would reach, drawn as a dotted line.
    """
    scorers = list(curve["scorer"].unique(maintain_order=True))
    x, y = _share_axis("recall", lang), _share_axis("precision", lang)
    layers: list[Spec] = [{
        "data": _data(thin(curve).select("scorer", "recall", "precision", "place")),
        "mark": {"type": "line", "interpolate": "step-before", "strokeWidth": 2},
        "encoding": {"x": x, "y": y, "order": {"field": "place", "type": "quantitative"}, **_lines(scorers)},
    }]
    if prevalence is not None:
        layers.append({
            "data": {"values": [{"precision": prevalence}]},
            "mark": {"type": "rule", "color": LIGHT["quiet"], "strokeDash": [1, 3]},
            "encoding": {"y": y},
        })
    if points is not None and points.height:
        layers.append({
            "data": _data(points.select("scorer", "recall", "precision")),
            "mark": {"type": "point", "size": 90, "filled": True, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": _lines(scorers)["color"]},
        })
    return _finished({"layer": layers, "width": SMALL - 10, "height": 220})


def thin(curve: pl.DataFrame, points: int = CURVE_POINTS) -> pl.DataFrame:
    """Return at most `points` rows per scorer, evenly spaced, first and last kept, with their order in `place`."""
    parts = []
    for _, part in curve.group_by("scorer", maintain_order=True):
        step = max(1, -(-part.height // points))
        placed = part.with_row_index("place")
        parts.append(placed.filter((pl.col("place") % step == 0) | (pl.col("place") == part.height - 1)))
    return pl.concat(parts) if parts else curve.with_row_index("place")


def working_points(curve: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Return per scorer the point of the curve at `threshold`: its lowest threshold that is not below it."""
    return curve.filter(pl.col("threshold") >= threshold).sort("threshold").unique("scorer", keep="first", maintain_order=True)


def incident_curve(curve: Mapping[str, Sequence[Mapping[str, Any]]], lang: str = "en") -> Spec:
    """Return incidents found over the share of non-malicious sessions let through, a line per scorer.

    Parameters
    ----------
    curve
        Points by scorer, as the evaluation gives them: share (0–1), found (incidents), n (incidents in all).
    """
    rows = [
        {"scorer": name, "at": f"{100 * point['share']:g} %", "share": point["share"], "found": point["found"], "n": point["n"]}
        for name, points in curve.items() for point in points if point["found"] is not None
    ]
    order = list(dict.fromkeys(row["at"] for row in sorted(rows, key=lambda row: row["share"])))
    lines = _lines(list(dict.fromkeys(row["scorer"] for row in rows)))
    shared: Spec = {
        "x": {"field": "at", "type": "ordinal", "sort": order, "title": translate("non-malicious sessions let through", lang),
              "axis": {"labelAngle": 0}},
        "y": {"field": "found", "type": "quantitative", "title": translate("incidents found", lang),
              "scale": {"domain": [0, max([1, *(row["n"] for row in rows)])]}, "axis": {"tickMinStep": 1, "format": "d"}},
        "color": lines["color"],
    }
    layers = [
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**shared, "strokeDash": lines["strokeDash"]}},
        {"mark": {"type": "point", "size": 36, "filled": True, "opacity": 1}, "encoding": shared},
    ]
    return _finished({"data": {"values": rows}, "layer": layers, "width": SMALL - 10, "height": 220})


def rate_intervals(rates: pl.DataFrame, lang: str = "en") -> Spec:
    """Return a rate per scorer with its interval.

    Parameters
    ----------
    rates
        scorer (str), value, low, high (float).
    """
    y: Spec = {"field": "scorer", "type": "nominal", "sort": None, "title": None}
    title = translate("rate with 95 % interval", lang)
    layers = [
        {"mark": {"type": "rule", "color": LIGHT["accent"]},
         "encoding": {"y": y, "x": {**_share_axis("low", lang), "title": title}, "x2": {"field": "high"}}},
        {"mark": {"type": "point", "color": LIGHT["accent"], "filled": True, "size": 50},
         "encoding": {"y": y, "x": {"field": "value", "type": "quantitative"}}},
    ]
    return _finished({"data": _data(rates.select("scorer", "value", "low", "high")), "layer": layers, "width": SMALL - 30})


def _finished(spec: Spec) -> Spec:
    # Every text is made visible here once more: a control character would make the SVG converter abort.
    cleaned: Spec = clean({"$schema": SCHEMA, "config": CONFIG, **spec})
    return cleaned


def _data(frame: pl.DataFrame) -> Spec:
    return {"values": frame.to_dicts()}


def _timed(frame: pl.DataFrame, labels: Mapping[str, str]) -> pl.DataFrame:
    # Times travel as text with a zone: a browser or converter in another zone must not shift them.
    return frame.filter(pl.col("actor").is_in(list(labels))).with_columns(
        pl.col("start", "end").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), pl.col("actor").replace_strict(dict(labels)),
    )


def _share_axis(field: str, lang: str) -> Spec:
    title = translate(field, lang)
    return {"field": field, "type": "quantitative", "scale": {"domain": [0, 1]}, "title": title, "axis": {"format": ".0%", "tickCount": 5}}


def _lines(scorers: Sequence[str]) -> dict[str, Spec]:
    looks = [_SCORERS.get(name, _OTHER[place % len(_OTHER)]) for place, name in enumerate(scorers)]
    shared = {"field": "scorer", "type": "nominal", "legend": {"symbolType": "stroke", "symbolSize": 300, "columns": 3}}
    return {
        channel: {**shared, "scale": {"domain": list(scorers), "range": [look[part] for look in looks]}}
        for part, channel in enumerate(("color", "strokeDash"))
    }
