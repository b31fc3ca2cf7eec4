"""A picture of drift: weeks from left to right, what is watched from top to bottom, darker where it moved more than chance explains."""

from __future__ import annotations

import polars as pl

from audit_lab.govern.pictures import CONFIG, SCHEMA, Spec
from audit_lab.govern.words import translate
from audit_lab.palette import LIGHT
from audit_lab.profile import DriftSettings
from audit_lab.visible import clean, visible

ROWS = 24       # rows drawn; mixes and numbers first, then the alarms that are largest
NAME_SHOWN = 48
HALF = 0.5
_FILLS = (LIGHT["sunken"], LIGHT["accent-soft"], LIGHT["accent"])


def draw_drift(table: pl.DataFrame, settings: DriftSettings, lang: str = "en") -> Spec | None:
    """Return a map of drift; None where nothing was compared.

    Parameters
    ----------
    table
        Table `drifts`.
    settings
        The limits that were in force.
    lang
        Language of the legend.

    A cell's fill says how large the change is beside the limit for alarms, chance taken off; a dot marks an alarm (large, and more than
    chance). A cell is left out where nothing can be said. Drawn are all mixes and numbers, and of rates, volumes and new values those that
    alarmed.
    """
    rows = table.filter(~pl.col("kind").is_in(["none", "change point"])).with_columns(
        moved=_moved(settings), name=pl.col("feature").map_elements(lambda text: visible(text, NAME_SHOWN), return_dtype=pl.String)
    )
    if rows.is_empty():
        return None
    steady = pl.col("kind").is_in(["category", "number", "vector"]) | (pl.col("family") == "overrides")
    chosen = (
        rows.group_by("family", "name").agg(pl.col("alarm").any(), pl.col("moved").max(), steady=steady.first())
        .filter(pl.col("steady") | pl.col("alarm"))
        .sort(["steady", "moved", "name"], descending=[True, True, False], nulls_last=True).head(ROWS)
    )
    families = rows.select("family").unique(maintain_order=True).with_row_index("place")
    order = chosen.join(families, on="family").sort("place", "name")["name"]
    steps = [
        translate("moved less than half of the alarm limit", lang), translate("half of the limit and more", lang),
        translate("over the limit", lang),
    ]
    step = pl.when(pl.col("moved") < HALF).then(pl.lit(steps[0])).when(pl.col("moved") < 1).then(pl.lit(steps[1]))
    shown = rows.filter(pl.col("name").is_in(order.implode()))
    cells = (
        shown.filter(pl.col("moved").is_not_null()).group_by("period", "name", maintain_order=True)
        .agg(pl.col("moved").max(), pl.col("alarm").fill_null(False).any())
        .select(pl.col("period").dt.strftime("%Y-%m-%d"), "name", "alarm", step=step.otherwise(pl.lit(steps[2])))
    )
    periods = shown["period"].unique().sort().dt.strftime("%Y-%m-%d").to_list()
    x: Spec = {
        "field": "period", "type": "ordinal", "scale": {"domain": periods, "paddingInner": 0.12},
        "title": translate("first day of the week", lang) if table["by"][0] == "week" else translate("day", lang),
        "axis": {"labelAngle": 0 if len(periods) <= 8 else -60, "labelOverlap": True, "domain": False, "ticks": False},
    }
    y: Spec = {
        "field": "name", "type": "nominal", "sort": order.to_list(), "title": None, "scale": {"paddingInner": 0.12},
        "axis": {"domain": False, "ticks": False, "labelLimit": 300},
    }
    alarm = translate("alarm", lang)
    layers: list[Spec] = [
        {
            "mark": {"type": "rect"},
            "encoding": {"x": x, "y": y, "color": {
                "field": "step", "type": "nominal", "scale": {"domain": [*steps, alarm], "range": [*_FILLS, LIGHT["malicious"]]},
                "legend": {"columns": 2, "symbolType": "square", "labelLimit": 400},
            }},
        },
        {
            "transform": [{"filter": "datum.alarm"}],
            "mark": {"type": "point", "filled": True, "size": 40, "color": LIGHT["malicious"], "opacity": 1},
            "encoding": {"x": x, "y": y},
        },
    ]
    width = max(180, min(560, 72 * len(periods)))
    spec: Spec = clean({
        "$schema": SCHEMA, "config": CONFIG, "data": {"values": cells.to_dicts()}, "layer": layers, "width": width, "height": {"step": 19},
        "padding": {"left": 24, "top": 6, "right": 6, "bottom": 6},  # names are measured in a font that may not be the reader's
    })
    return spec


def _moved(settings: DriftSettings) -> pl.Expr:
    """How far a feature moved, chance taken off, in units of the alarm limit."""
    chance = pl.col("by_chance").fill_null(0.0)
    ratio = (pl.col("ratio").log().abs() - chance) / pl.lit(settings.min_ratio).log()
    return (
        pl.when(pl.col("kind") == "category").then((pl.col("psi") - chance) / settings.min_psi)
        .when(pl.col("kind") == "number").then((pl.col("wasserstein") - chance) / settings.min_wasserstein)
        .when(pl.col("kind") == "vector").then((pl.col("wasserstein") - chance) / settings.min_shift)
        .when(pl.col("kind").is_in(["rate", "volume"])).then(ratio)
        .when(pl.col("kind") == "presence").then(pl.when(pl.col("alarm")).then(1.0).otherwise(0.0))
    )
