"""The report's pictures for notebooks: the same frames in, Altair charts out.

>>> from audit_lab.govern import charts                                                                # doctest: +SKIP
>>> charts.incident_curve(lab.evaluate().as_dict()["curve"])                                           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from audit_lab.govern import pictures

working_points = pictures.working_points


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


def _chart(spec: pictures.Spec) -> alt.TopLevelMixin:
    chart: alt.TopLevelMixin = alt.Chart.from_dict(spec)
    return chart
