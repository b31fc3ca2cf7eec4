"""Drift in report and notebook: what changed in words, a map, or why nothing was compared; untrusted names stay text."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import altair as alt
import polars as pl
import pytest

from audit_lab import tables
from audit_lab.drifting import drift_alarms
from audit_lab.errors import InputError
from audit_lab.govern import charts, render_report
from audit_lab.govern.drift_picture import draw_drift
from audit_lab.govern.svg import picture_svg
from audit_lab.profile import DriftSettings
from tests.govern.report_world import build_world

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
EVIL = "x\u202e</text><script>run()</script>\x1b"


def row(week: int, family: str, feature: str, kind: str, **more: object) -> dict[str, object]:
    return {
        **dict.fromkeys(tables.TABLES["drifts"].columns), "period": MONDAY + timedelta(weeks=week), "by": "week", "family": family,
        "feature": feature, "value": "", "kind": kind, "n_reference": 900.0, "n_current": 200.0, "by_chance": 0.0, "alarm": False, **more,
    }


def drift_table() -> pl.DataFrame:
    since = MONDAY + timedelta(days=9)
    rows = [
        row(0, "clients", "client family", "category", psi=0.01), row(1, "clients", "client family", "category", psi=0.4, alarm=True,
            since=since, q_value=0.001, detail=f"{EVIL} 0.0% → 12.0%"),
        row(0, "rules", "rate of exec", "rate", ratio=1.1, before=0.01, after=0.011),
        row(1, "rules", "rate of exec", "rate", ratio=4.0, before=0.01, after=0.04, alarm=True, since=since, q_value=0.002),
        row(0, "scores", "fused score", "number", wasserstein=0.2), row(1, "scores", "fused score", "number", wasserstein=0.05),
        *(row(1, "schema", "new key", "presence", value=f"key{number}", after=0.71, alarm=True, since=since, q_value=0.01) for number in range(8)),
        row(0, "embeddings", "embeddings", "none", reason="the extra 'embed' was not installed", alarm=None),
        row(1, "overrides", "label errors", "change point", value="1", before=0.05, after=0.4, alarm=True, since=since),
    ]
    return tables.conform(pl.DataFrame(rows, schema=tables.TABLES["drifts"].schema), "drifts")


def test_the_section_says_what_changed_how_much_and_since_when() -> None:
    table = drift_table()
    page = render_report(dataclasses.replace(build_world(), drifts=table, drift_alarms=drift_alarms(table)))
    assert '<section id="drift">' in page and "2 periods from 2026-11-02 on" in page
    for words in ("PSI 0.40", "× 4.00", "1.0 % → 4.0 %", "key0, key1, key2, key3, key4 and 3 more", "new, on 71 % of the time",
                  "5.0 % → 40 %", "2026-11-11", "the extra &#39;embed&#39; was not installed"):
        assert words in page, words
    assert 'aria-label="Map of drift' in page
    assert "<script" not in page and "\u202e" not in page and "\x1b" not in page


def test_the_section_speaks_korean() -> None:
    table = drift_table()
    page = render_report(dataclasses.replace(build_world(), drifts=table, drift_alarms=drift_alarms(table), lang="ko"))
    assert "변화 감시" in page and "새로 나타남" in page and "What changed" not in page


def test_nothing_alarming_and_nothing_compared_are_said() -> None:
    quiet = drift_table().filter(~pl.col("alarm").fill_null(False))
    page = render_report(dataclasses.replace(build_world(), drifts=quiet, drift_alarms=drift_alarms(quiet)))
    assert "Nothing changed more than chance explains" in page
    alone = tables.conform(pl.DataFrame([
        row(0, family, family, "none", reason="all data lie within one week: two are needed to compare", alarm=None) for family in ("schema", "actors")
    ], schema=tables.TABLES["drifts"].schema), "drifts")
    page = render_report(dataclasses.replace(build_world(), drifts=alone, drift_alarms=drift_alarms(alone)))
    assert page.count("all data lie within one week: two are needed to compare") == 1 and "Map of drift" not in page
    assert 'id="drift"' not in render_report(build_world())


def test_the_map_marks_alarms_and_leaves_out_what_is_not_known() -> None:
    spec = draw_drift(drift_table(), DriftSettings())
    assert spec is not None
    cells = {(cell["name"], cell["period"]): cell for cell in spec["data"]["values"]}
    assert cells["client family", "2026-11-09"]["alarm"] and cells["client family", "2026-11-09"]["step"] == "over the limit"
    assert cells["fused score", "2026-11-02"]["step"] == "half of the limit and more"
    assert cells["new key", "2026-11-09"]["alarm"] and ("new key", "2026-11-02") not in cells
    assert not {name for name, _ in cells} & {"embeddings", "label errors"}
    assert picture_svg(spec, "drift") == picture_svg(spec, "drift")
    assert isinstance(charts.drift_map(drift_table()), alt.TopLevelMixin)
    with pytest.raises(InputError, match="no drift to draw: the extra 'embed'"):
        charts.drift_map(drift_table().filter(pl.col("kind") == "none"))
