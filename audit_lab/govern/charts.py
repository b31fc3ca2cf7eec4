"""The report's pictures for notebooks: the same frames in, Altair charts out.

They carry no style of their own, so that they can be layered and put side by side; `use_style` gives a whole
notebook the report's look, and draws its charts without a network.

>>> from audit_lab.govern import charts                                                                # doctest: +SKIP
>>> charts.use_style()                                                                                 # doctest: +SKIP
>>> charts.incident_curve(lab.evaluate().as_dict()["curve"])                                           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from audit_lab.errors import InputError
from audit_lab.govern import pictures
from audit_lab.govern.drift_picture import draw_drift
from audit_lab.govern.reliability_picture import draw_reliability
from audit_lab.govern.svg import VEGA_LITE
from audit_lab.profile import DriftSettings
from audit_lab.visible import clean

VEGA_LITE_MIME = "application/vnd.vegalite.v5+json"  # what JupyterLab 4 and VS Code draw; they read version 6 as well
working_points = pictures.working_points


def use_style() -> None:
    """Let all Altair charts of this notebook look like the report's, and draw them offline.

    Altair's own way loads its library from the internet. Here JupyterLab and VS Code draw with what they bring along,
    and everything else gets a picture (SVG). Control characters in the data are shown as marks: they would make the
    converter abort the kernel.
    """
    config = {key: value for key, value in pictures.CONFIG.items() if key not in ("aria", "background")}

    @alt.theme.register("audit_lab", enable=True)
    def _theme() -> alt.theme.ThemeConfig:
        return alt.theme.ThemeConfig(config=config)  # type: ignore[typeddict-item]

    alt.renderers.register("audit_lab", _offline)
    alt.renderers.enable("audit_lab")


def _offline(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    shown = _with_clean_data(spec)
    return {
        VEGA_LITE_MIME: {**shown, "$schema": "https://vega.github.io/schema/vega-lite/v5.json"},
        "image/svg+xml": vl_convert.vegalite_to_svg(shown, vl_version=VEGA_LITE, allowed_base_urls=[]),
        "text/plain": "<chart>",
    }


def _with_clean_data(spec: Any) -> Any:
    # Only the data is somebody else's text; a line break in an expression or a title is the author's.
    if isinstance(spec, dict):
        return {key: clean(item) if key in ("values", "datasets") else _with_clean_data(item) for key, item in spec.items()}
    return [_with_clean_data(item) for item in spec] if isinstance(spec, list) else spec


def timeline(sessions: pl.DataFrame, incidents: pl.DataFrame | None = None, lang: str = "en") -> alt.TopLevelMixin:
    """Return sessions of actors over time; arguments as in `pictures.timeline`."""
    return _chart(pictures.timeline(sessions, incidents, lang))


def score_histogram(scores: pl.DataFrame, threshold: float | None = None, lang: str = "en") -> alt.TopLevelMixin:
    """Return the distribution of scores per class; arguments as in `pictures.score_histogram`."""
    return _chart(pictures.score_histogram(scores, threshold, lang))


def precision_recall(
    curve: pl.DataFrame, points: pl.DataFrame | None = None, lang: str = "en", prevalence: float | None = None,
) -> alt.TopLevelMixin:
    """Return precision over recall per scorer; arguments as in `pictures.precision_recall`."""
    return _chart(pictures.precision_recall(curve, points, lang, prevalence))


def incident_curve(curve: Mapping[str, Sequence[Mapping[str, Any]]], lang: str = "en") -> alt.TopLevelMixin:
    """Return incidents found per share of sessions let through; arguments as in `pictures.incident_curve`."""
    return _chart(pictures.incident_curve(curve, lang))


def rate_intervals(rates: pl.DataFrame, lang: str = "en") -> alt.TopLevelMixin:
    """Return a rate per scorer with its interval; arguments as in `pictures.rate_intervals`."""
    return _chart(pictures.rate_intervals(rates, lang))


def drift_map(table: pl.DataFrame, settings: DriftSettings | None = None, lang: str = "en") -> alt.TopLevelMixin:
    """Return weeks against what is watched, darker where it moved more than chance explains, alarms marked; see `draw_drift`.

    Raises
    ------
    InputError
        When nothing was compared; the table's column reason says why.
    """
    spec = draw_drift(table, settings or DriftSettings(), lang)
    if spec is None:
        reason = next(iter(table["reason"].drop_nulls()), "the table is empty")
        raise InputError(f"no drift to draw: {reason}", "lab.drift() on at least two weeks or days")
    return _chart(spec)


def reliability(calibration: Mapping[str, Any], lang: str = "en") -> alt.TopLevelMixin:
    """Return what raw and calibrated scores said against what came true, from an evaluation's `calibration`; see `draw_reliability`.

    Raises
    ------
    InputError
        When there is no calibrated score to draw, with the reason.
    """
    spec = draw_reliability(calibration, lang)
    if spec is None:
        reason = calibration.get("reason") or "no bin holds enough sessions"
        raise InputError(f"no reliability to draw: {reason}", "lab.calibration(before=…)")
    return _chart(spec)


def _chart(spec: pictures.Spec) -> alt.TopLevelMixin:
    chart: alt.TopLevelMixin = alt.Chart.from_dict({key: value for key, value in spec.items() if key not in ("$schema", "config")})
    return chart
