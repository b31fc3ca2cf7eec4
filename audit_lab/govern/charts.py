"""Charts of sessions, scores and curves: plain functions, frame in, Altair chart out.

The report draws them as SVG; in a notebook they show as they are. Times are drawn in UTC whatever the
machine's zone; big frames are thinned here, in a stated way, so that a chart stays a picture.

>>> curve = {"all": [{"share": 0.01, "found": 3, "n": 6}, {"share": 0.05, "found": 5, "n": 6}]}
>>> incident_curve(curve).to_dict()["layer"][0]["mark"]["type"]
'line'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from audit_lab.govern.palette import LIGHT
from audit_lab.govern.visible import visible
from audit_lab.govern.words import translate

SMALL = 300  # width of a chart that fits a phone, pixels
WIDE = 780  # width of the timeline's plot, pixels
CURVE_POINTS = 400  # a precision-recall curve keeps at most this many points per scorer
BINS = 20  # of the score distribution
FONT = "Arial, 'Liberation Sans', Helvetica, 'Noto Sans CJK KR', sans-serif"  # one set of metrics on most machines
CLASSES = ("malicious", "benign-but-suspicious", "benign")

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


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """Return the chart in the report's style: its palette, quiet axes, no title of its own."""
    return (
        chart.configure(aria=False, background="transparent", font=FONT, padding=6)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=LIGHT["muted"],
            titleColor=LIGHT["muted"],
            gridColor=LIGHT["line"],
            domainColor=LIGHT["line"],
            tickColor=LIGHT["line"],
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelLimit=190,
        )
        .configure_legend(
            labelColor=LIGHT["ink"],
            titleColor=LIGHT["muted"],
            labelFontSize=11,
            orient="bottom",
            title=None,
            symbolStrokeWidth=2,
            columns=2,
        )
        .configure_header(labelColor=LIGHT["ink"], labelFontSize=11, title=None)
    )


def timeline(sessions: pl.DataFrame, incidents: pl.DataFrame | None = None, lang: str = "en") -> alt.TopLevelMixin:
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
    actors = [visible(actor, 44) for actor in sessions["actor"].unique(maintain_order=True)]
    names = {
        state: translate(text, lang)
        for state, text in (("flagged", "flagged session"), ("candidate", "judged, not flagged"), ("other", "other session"))
    }
    shades = {True: translate("malicious incident", lang), False: translate("benign but suspicious", lang)}
    order = alt.Y("actor:N", sort=actors, title=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=250, grid=False))
    when = alt.X(
        "start:T", scale=alt.Scale(type="utc"), title=translate("time (UTC)", lang), axis=alt.Axis(format="%H:%M", labelOverlap=True)
    )
    bars = _timed(sessions).with_columns(
        pl.col("actor").map_elements(lambda text: visible(text, 44), return_dtype=pl.String),
        pl.col("state").replace_strict(names),
    )
    bar = (
        alt.Chart(bars)
        .mark_bar(height=7, cornerRadius=2, minBandSize=2)
        .encode(
            y=order,
            x=when,
            x2="end:T",
            color=alt.Color(
                "state:N",
                scale=alt.Scale(
                    domain=[*names.values(), *shades.values()],
                    range=[LIGHT["malicious"], LIGHT["accent"], LIGHT["quiet"], LIGHT["malicious-soft"], LIGHT["lookalike-soft"]],
                ),
                legend=alt.Legend(columns=5, symbolType="square"),
            ),
        )
    )
    layers = [bar]
    if incidents is not None and incidents.height:
        bands = (
            _timed(incidents)
            .with_columns(
                pl.col("actor").map_elements(lambda text: visible(text, 44), return_dtype=pl.String),
                state=pl.when(pl.col("malicious")).then(pl.lit(shades[True])).otherwise(pl.lit(shades[False])),
            )
            .filter(pl.col("actor").is_in(actors))
        )
        band = alt.Chart(bands).mark_bar(height=17).encode(y=order, x=when, x2="end:T", color="state:N")
        layers = [band, bar]
    return styled(alt.layer(*layers).properties(width=WIDE, height=alt.Step(19)))


def score_histogram(scores: pl.DataFrame, threshold: float | None = None, lang: str = "en") -> alt.TopLevelMixin:
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
        axis = alt.Axis(title=translate("score", lang), format=".1f") if last else alt.Axis(labels=False, ticks=False, title=None)
        bar = (
            alt.Chart(own)
            .mark_bar(color=_CLASS_COLOURS[kind])
            .encode(
                x=alt.X("bin_low:Q", scale=alt.Scale(domain=[0, 1]), axis=axis),
                x2="bin_high:Q",
                y=alt.Y("n:Q", title=None, axis=alt.Axis(tickCount=3, format="~s")),
                y2=alt.datum(0),
            )
        )
        layers: list[alt.Chart] = [bar]
        if threshold is not None:
            rule = alt.Chart(pl.DataFrame({"t": [threshold]})).mark_rule(color=LIGHT["ink"], strokeDash=[4, 3]).encode(x="t:Q")
            layers.append(rule)
        title = alt.TitleParams(
            f"{translate(kind, lang)} · {int(own['n'].sum()):,}",
            anchor="start",
            fontSize=11,
            fontWeight="normal",
            color=LIGHT["ink"],
            offset=3,
        )
        rows.append(alt.layer(*layers).properties(width=SMALL - 40, height=62, title=title))
    return styled(alt.vconcat(*rows, spacing=8))


def bin_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Return class, bin_low, bin_high, n, for every bin of 1/20 that holds a score; 1.0 falls in the last bin."""
    number = (pl.col("score") * BINS).floor().clip(0, BINS - 1)
    bins = scores.drop_nulls("score").group_by("class", number=number).agg(n=pl.len()).sort("class", "number")
    return bins.select("class", bin_low=pl.col("number") / BINS, bin_high=(pl.col("number") + 1) / BINS, n="n")


def precision_recall(
    curve: pl.DataFrame,
    points: pl.DataFrame | None = None,
    lang: str = "en",
    prevalence: float | None = None,
) -> alt.TopLevelMixin:
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
    x = alt.X("recall:Q", scale=alt.Scale(domain=[0, 1]), title=translate("recall", lang), axis=alt.Axis(format=".0%", tickCount=5))
    y = alt.Y("precision:Q", scale=alt.Scale(domain=[0, 1]), title=translate("precision", lang), axis=alt.Axis(format=".0%", tickCount=5))
    line = (
        alt.Chart(thin(curve))
        .mark_line(interpolate="step-before", strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=_line_colours(scorers),
            strokeDash=_line_dashes(scorers),
            order="place:Q",
        )
    )
    layers = [line]
    if prevalence is not None:
        layers.append(alt.Chart(pl.DataFrame({"precision": [prevalence]})).mark_rule(color=LIGHT["quiet"], strokeDash=[1, 3]).encode(y=y))
    if points is not None and points.height:
        layers.append(alt.Chart(points).mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, color=_line_colours(scorers)))
    return styled(alt.layer(*layers).properties(width=SMALL - 50, height=220))


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


def incident_curve(curve: Mapping[str, Sequence[Mapping[str, Any]]], lang: str = "en") -> alt.TopLevelMixin:
    """Return incidents found over the share of non-malicious sessions let through, a line per scorer.

    Parameters
    ----------
    curve
        Points by scorer, as the evaluation gives them: share (0–1), found (incidents), n (incidents in all).
    """
    rows = pl.DataFrame(
        [
            {"scorer": name, "share": point["share"], "found": point["found"], "n": point["n"]}
            for name, points in curve.items()
            for point in points
        ],
        schema={"scorer": pl.String, "share": pl.Float64, "found": pl.Int64, "n": pl.Int64},
    ).drop_nulls("found")
    shares = [f"{100 * share:g} %" for share in sorted(set(rows["share"].to_list()))]
    total = max([1, *rows["n"].to_list()])
    base = alt.Chart(
        rows.with_columns(at=(pl.col("share") * 100).map_elements(lambda value: f"{value:g} %", return_dtype=pl.String))
    ).encode(
        x=alt.X("at:O", sort=shares, title=translate("non-malicious sessions let through", lang), axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "found:Q",
            title=translate("incidents found", lang),
            scale=alt.Scale(domain=[0, total]),
            axis=alt.Axis(tickMinStep=1, format="d"),
        ),
        color=_line_colours(list(rows["scorer"].unique(maintain_order=True))),
    )
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=_line_dashes(list(rows["scorer"].unique(maintain_order=True))))
    return styled(alt.layer(lines, base.mark_point(size=36, filled=True, opacity=1)).properties(width=SMALL - 50, height=220))


def rate_intervals(rates: pl.DataFrame, lang: str = "en") -> alt.TopLevelMixin:
    """Return a rate per scorer with its interval.

    Parameters
    ----------
    rates
        scorer (str), value, low, high (float).
    """
    y = alt.Y("scorer:N", sort=None, title=None)
    x = alt.X("low:Q", title=translate("rate with 95 % interval", lang), axis=alt.Axis(format=".0%", tickCount=5))
    rule = alt.Chart(rates).mark_rule(color=LIGHT["accent"]).encode(y=y, x=x, x2="high:Q")
    point = alt.Chart(rates).mark_point(color=LIGHT["accent"], filled=True, size=50).encode(y=y, x="value:Q")
    return styled(alt.layer(rule, point).properties(width=SMALL - 70))


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    # Times travel as text with a zone: a browser or converter in another zone must not shift them.
    return frame.with_columns(pl.col("start", "end").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


def _line_colours(scorers: Sequence[str]) -> alt.Color:
    return alt.Color("scorer:N", scale=_line_scale(scorers, 0), legend=_line_legend())


def _line_dashes(scorers: Sequence[str]) -> alt.StrokeDash:
    return alt.StrokeDash("scorer:N", scale=_line_scale(scorers, 1), legend=_line_legend())


def _line_scale(scorers: Sequence[str], part: int) -> alt.Scale:
    return alt.Scale(
        domain=list(scorers), range=[_SCORERS.get(name, _OTHER[place % len(_OTHER)])[part] for place, name in enumerate(scorers)]
    )


def _line_legend() -> alt.Legend:
    return alt.Legend(symbolType="stroke", symbolSize=300, columns=3)
