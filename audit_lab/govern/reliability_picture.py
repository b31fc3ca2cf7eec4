"""A picture of scores as probabilities: what was said from left to right, how often it came true from bottom to top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit_lab.govern.pictures import CONFIG, SCHEMA, SMALL, Spec
from audit_lab.govern.words import translate
from audit_lab.palette import LIGHT
from audit_lab.visible import clean

Curve = Sequence[Mapping[str, Any]]


def draw_reliability(calibration: Mapping[str, Any] | None, lang: str = "en") -> Spec | None:
    """Return a reliability diagram of raw and calibrated scores; None where no bin of a calibrated score holds enough sessions.

    Parameters
    ----------
    calibration
        `calibration` of an evaluation: raw and calibrated, each with a `reliability_curve` of mean_score, share, low, high. Bins
        whose share is null (too few sessions) are left out.
    lang
        Language of axes and legend.

    Both axes end where the data end: where attacks are rare, all that matters lies near 0.
    """
    found = calibration or {}
    names = {"raw": translate("raw score", lang), "calibrated": translate("calibrated", lang)}
    curves: dict[str, Curve] = {kind: ((found.get(kind) or {}).get("reliability_curve") or ()) for kind in names}
    rows = [
        {"kind": names[kind], "said": row["mean_score"], "share": row["share"], "low": row["low"], "high": row["high"]}
        for kind, curve in curves.items() for row in curve if row["share"] is not None
    ]
    if not any(row["kind"] == names["calibrated"] for row in rows):
        return None
    top = max(max(row["said"], row["high"]) for row in rows)
    axis: Spec = {"type": "quantitative", "scale": {"domain": [0, top], "nice": True}}
    ticks: Spec = {"format": "~%", "tickCount": 5}
    x: Spec = {**axis, "field": "said", "title": translate("probability that was said", lang), "axis": ticks}
    y: Spec = {**axis, "field": "share", "title": translate("share that was malicious", lang), "axis": ticks}
    colour: Spec = {
        "field": "kind", "type": "nominal", "scale": {"domain": list(names.values()), "range": [LIGHT["quiet"], LIGHT["accent"]]},
        "legend": {"symbolType": "circle", "columns": 2},
    }
    layers: list[Spec] = [
        {
            "data": {"values": [{"said": 0.0, "share": 0.0}, {"said": top, "share": top}]},
            "mark": {"type": "line", "color": LIGHT["muted"], "strokeDash": [3, 3], "strokeWidth": 1}, "encoding": {"x": x, "y": y},
        },
        {"mark": {"type": "rule"}, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}},
        {"mark": {"type": "point", "filled": True, "size": 45, "opacity": 1}, "encoding": {"x": x, "y": y, "color": colour}},
    ]
    spec: Spec = clean({
        "$schema": SCHEMA, "config": CONFIG, "data": {"values": rows}, "layer": layers, "width": SMALL - 10, "height": 200,
    })
    return spec
