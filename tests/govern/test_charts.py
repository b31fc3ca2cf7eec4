"""Charts: offline pictures of shapes and text, the same bytes every time."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import altair as alt
import polars as pl
import pytest

from audit_lab.errors import ContractError
from audit_lab.govern import charts, pictures
from audit_lab.govern.svg import ELEMENTS, check_svg, picture_svg
from audit_lab.palette import LIGHT, PALETTE, contrast

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
    assert picture_svg(pictures.timeline(SESSIONS), "t") == picture_svg(pictures.timeline(SESSIONS), "t")


def test_times_are_drawn_in_utc() -> None:
    assert "05:01" in picture_svg(pictures.timeline(SESSIONS), "t")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_only_text(text: str) -> None:
    # A control character would make the converter abort the whole process.
    picture = picture_svg(pictures.timeline(SESSIONS.with_columns(actor=pl.lit(text))), "t")
    seen = Elements(picture)
    assert seen.names <= ELEMENTS | {"clippath"} and not {name for name in seen.attributes if name.startswith("on")}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", picture)


@pytest.mark.parametrize(("span", "ticks"), [
    (timedelta(minutes=11), ["05:00", "05:01"]), (timedelta(seconds=40), ["05:00:00", "05:00:05"]), (timedelta(days=9), ["24 Nov", "25 Nov"]),
    (timedelta(days=1), ["23 Nov 06:00", "23 Nov 09:00"]), (timedelta(days=300), []),
])
def test_time_axis_has_few_round_ticks(span: timedelta, ticks: list[str]) -> None:
    given = pictures.time_ticks(START, START + span)
    moments = [datetime.fromisoformat(text) for text in given["values"]]
    assert [moment.strftime(given["format"]) for moment in moments[:2]][: len(ticks)] == ticks
    assert 2 <= len(moments) <= pictures.MOST_TICKS + 1 and moments[0] >= START and moments[-1] <= START + span


def test_actors_that_look_alike_keep_their_own_rows() -> None:
    long = "a" * 60
    assert list(pictures.actor_labels([long + "x", long + "y"]).values()) == ["a" * 42 + "… (+19)", "a" * 42 + "… (+19) ·2"]


def test_a_custom_scorer_of_any_name_is_drawn() -> None:
    curve = pl.DataFrame({"scorer": ["<mine>\x1b"] * 2, "recall": [0.1, 0.2], "precision": [1.0, 0.5], "threshold": [0.9, 0.2]})
    assert "&lt;mine&gt;␛" in picture_svg(pictures.precision_recall(curve, pictures.working_points(curve, 0.5)), "p")


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
        picture_svg(alt.Chart("http://127.0.0.1:9/data.json").mark_bar().encode(x="a:Q").to_dict(), "t")


def test_two_charts_do_not_share_ids() -> None:
    clipped = alt.Chart(pl.DataFrame({"a": [1, 2]})).mark_line(clip=True).encode(x="a:Q", y="a:Q").to_dict()
    first, second = picture_svg(clipped, "one"), picture_svg(clipped, "two")
    ids = [set(re.findall(r'id="([^"]+)"', picture)) for picture in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for picture, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", picture)) <= own


def test_all_colours_of_a_chart_follow_the_page() -> None:
    bins = pl.DataFrame({"class": ["malicious", "benign", "benign-but-suspicious"], "score": [0.9, 0.1, 0.5]})
    for picture in (picture_svg(pictures.timeline(SESSIONS), "t"), picture_svg(pictures.score_histogram(bins, 0.5), "h")):
        used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-fA-F]{3,6})"', picture))
        assert used <= set(LIGHT.values())


def test_scores_fall_into_bins() -> None:
    bins = pictures.bin_scores(pl.DataFrame({"class": ["benign"] * 4, "score": [0.0, 0.049, 1.0, None]}))
    assert bins["n"].to_list() == [2, 1]
    assert bins["bin_low"].to_list() == pytest.approx([0, 0.95]) and bins["bin_high"].to_list() == pytest.approx([0.05, 1])


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    curve = pl.DataFrame({"scorer": ["all"] * 5000, "recall": [number / 5000 for number in range(5000)]})
    thin = pictures.thin(curve)
    assert thin.height <= pictures.CURVE_POINTS + 1
    assert thin["recall"].to_list()[0] == 0 and thin["recall"].to_list()[-1] == curve["recall"].to_list()[-1]


def test_working_points_are_the_first_that_reach_the_threshold() -> None:
    curve = pl.DataFrame({"scorer": ["all"] * 3, "threshold": [0.9, 0.6, 0.4], "recall": [0.1, 0.5, 0.9], "precision": [1.0, 0.8, 0.2]})
    assert pictures.working_points(curve, 0.5)["recall"].to_list() == [0.5]
    assert pictures.working_points(curve, 0.95).is_empty()


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


def test_notebooks_get_the_same_pictures_as_charts() -> None:
    curve = {"all": [{"share": 0.01, "found": 3, "n": 6}, {"share": 0.05, "found": None, "n": 6}]}
    points = pl.DataFrame({"scorer": ["all"] * 2, "threshold": [0.9, 0.6], "recall": [0.1, 0.5], "precision": [1.0, 0.8]})
    rates = pl.DataFrame({"scorer": ["all"], "value": [0.5], "low": [0.2], "high": [0.7]})
    binned = pl.DataFrame({"class": ["benign"], "score": [0.2]})
    drawn = [
        (charts.timeline(SESSIONS), pictures.timeline(SESSIONS)),
        (charts.score_histogram(binned, 0.5), pictures.score_histogram(binned, 0.5)),
        (charts.precision_recall(points, charts.working_points(points, 0.5)), pictures.precision_recall(points, points.tail(1))),
        (charts.incident_curve(curve), pictures.incident_curve(curve)),
        (charts.rate_intervals(rates), pictures.rate_intervals(rates)),
    ]
    for chart, spec in drawn:
        checked = chart.to_dict()  # Altair holds it against its schema
        assert picture_svg({**checked, "config": spec["config"]}, "x") == picture_svg(spec, "x")
    assert (drawn[2][0] | drawn[3][0]).to_dict()["hconcat"]


def test_a_notebook_can_take_the_look_of_the_report_and_draws_offline() -> None:
    look, way = alt.theme.active, alt.renderers.active
    charts.use_style()
    try:
        chart = alt.Chart(pl.DataFrame({"name": ["a\x1b[31m\u202e"], "n": [1]}), title="two\nlines").mark_bar().encode(x="n:Q", y="name:N")
        bundle = chart._repr_mimebundle_()
    finally:
        alt.theme.enable(look)
        alt.renderers.enable(way)
    assert bundle["application/vnd.vegalite.v5+json"]["config"]["legend"]["orient"] == "bottom"
    assert "text/html" not in bundle  # Altair's own page would load a script from the internet
    assert "␛[31m⟦U+202E⟧" in bundle["image/svg+xml"]
    assert "two\nlines" in str(bundle["application/vnd.vegalite.v5+json"]["title"]).replace("\\n", "\n")


def test_a_report_does_not_need_altair() -> None:
    # Where JupyterLab is installed, importing it takes longer than drawing the whole report.
    code = "import sys, audit_lab.govern; print('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
