"""Charts: offline pictures of shapes and text, the same bytes every time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import altair as alt
import polars as pl
import pytest

from audit_lab.errors import ContractError
from audit_lab.govern import charts
from audit_lab.govern.palette import LIGHT, PALETTE, contrast
from audit_lab.govern.svg import ELEMENTS, chart_svg, check_svg

START = datetime(2026, 11, 23, 5, tzinfo=UTC)
SESSIONS = pl.DataFrame(
    {
        "actor": ["anna", "anna", "boris"],
        "start": [START, START + timedelta(minutes=3), START + timedelta(minutes=1)],
        "end": [START + timedelta(minutes=1), START + timedelta(minutes=4), START + timedelta(minutes=2)],
        "state": ["flagged", "other", "candidate"],
    }
)
HOSTILE = (
    "</text><script>document.title='run'</script>",
    '" onload="x',
    "]]>",
    "<!--",
    "&lt;b&gt;",
    "\x1b[31m",
    "\u202eabc",
    "\x00",
    "\ufffe",
    "{{7*7}}",
    "datum.x",
    "a" * 400,
)


class Elements(HTMLParser):
    """The names of elements and attributes that a browser would find."""

    def __init__(self, picture: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(picture)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_chart_is_the_same_bytes_each_time() -> None:
    assert chart_svg(charts.timeline(SESSIONS), "t") == chart_svg(charts.timeline(SESSIONS), "t")


def test_times_are_drawn_in_utc() -> None:
    assert "05:01" in chart_svg(charts.timeline(SESSIONS), "t")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_only_text(text: str) -> None:
    # A control character would make the converter abort the whole process.
    picture = chart_svg(charts.timeline(SESSIONS.with_columns(actor=pl.lit(text))), "t")
    seen = Elements(picture)
    assert seen.names <= ELEMENTS | {"clippath"} and not {name for name in seen.attributes if name.startswith("on")}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", picture)


def test_a_custom_scorer_of_any_name_is_drawn() -> None:
    curve = pl.DataFrame({"scorer": ["<mine>\x1b"] * 2, "recall": [0.1, 0.2], "precision": [1.0, 0.5], "threshold": [0.9, 0.2]})
    assert "&lt;mine&gt;␛" in chart_svg(charts.precision_recall(curve, charts.working_points(curve, 0.5)), "p")


@pytest.mark.parametrize(
    "picture",
    [
        "<svg><script>1</script></svg>",
        "<svg><foreignObject/></svg>",
        '<svg><image href="x"/></svg>',
        '<svg><g onclick="x"/></svg>',
        "<svg><a xlink:href='x'/></svg>",
        "<svg><style>x</style></svg>",
        '<svg><g style="x"/></svg>',
    ],
)
def test_a_picture_with_more_than_shapes_is_refused(picture: str) -> None:
    with pytest.raises(ContractError, match="shapes and text only"):
        check_svg(picture)


def test_data_from_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        chart_svg(alt.Chart("http://127.0.0.1:9/data.json").mark_bar().encode(x="a:Q"), "t")


def test_two_charts_do_not_share_ids() -> None:
    clipped = alt.Chart(pl.DataFrame({"a": [1, 2]})).mark_line(clip=True).encode(x="a:Q", y="a:Q")
    first, second = chart_svg(clipped, "one"), chart_svg(clipped, "two")
    ids = [set(re.findall(r'id="([^"]+)"', picture)) for picture in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for picture, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", picture)) <= own


def test_all_colours_of_a_chart_follow_the_page() -> None:
    bins = pl.DataFrame({"class": ["malicious", "benign", "benign-but-suspicious"], "score": [0.9, 0.1, 0.5]})
    for picture in (chart_svg(charts.timeline(SESSIONS), "t"), chart_svg(charts.score_histogram(bins, 0.5), "h")):
        used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-fA-F]{3,6})"', picture))
        assert used <= set(LIGHT.values())


def test_scores_fall_into_bins() -> None:
    bins = charts.bin_scores(pl.DataFrame({"class": ["benign"] * 4, "score": [0.0, 0.049, 1.0, None]}))
    assert bins["n"].to_list() == [2, 1]
    assert bins["bin_low"].to_list() == pytest.approx([0, 0.95]) and bins["bin_high"].to_list() == pytest.approx([0.05, 1])


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    curve = pl.DataFrame({"scorer": ["all"] * 5000, "recall": [number / 5000 for number in range(5000)]})
    thin = charts.thin(curve)
    assert thin.height <= charts.CURVE_POINTS + 1
    assert thin["recall"].to_list()[0] == 0 and thin["recall"].to_list()[-1] == curve["recall"].to_list()[-1]


def test_working_points_are_the_first_that_reach_the_threshold() -> None:
    curve = pl.DataFrame({"scorer": ["all"] * 3, "threshold": [0.9, 0.6, 0.4], "recall": [0.1, 0.5, 0.9], "precision": [1.0, 0.8, 0.2]})
    assert charts.working_points(curve, 0.5)["recall"].to_list() == [0.5]
    assert charts.working_points(curve, 0.95).is_empty()


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("ground", "panel", "sunken")),
        ("malicious", "malicious-soft"),
        ("lookalike", "lookalike-soft"),
        ("fine", "fine-soft"),
        ("accent", "accent-soft"),
        ("ink", "accent-soft"),
        ("malicious", "panel"),
        ("fine", "panel"),
    ],
)
def test_text_has_enough_contrast(scheme: int, ink: str, ground: str) -> None:
    assert contrast(PALETTE[ink][scheme], PALETTE[ground][scheme]) >= 4.5
