"""The picture of a story: shapes and text only, nobody's name unless asked for, and silence left out."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.govern.story_chart import draw_story
from audit_lab.govern.svg import check_svg
from audit_lab.govern.time_axis import BREAK, make_axis

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BOT = "system:serviceaccount:dev:bot"
EVIL = 'eve"><script>alert(1)</script>\u202e'


def frame(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows of a table: what is not given is null, or a harmless value where null is not allowed."""
    filler = {pl.String: "x", pl.Boolean: False, pl.Int64: 1, pl.Float64: 0.0}
    columns = tables.TABLES[name].columns
    full = [{column: row.get(column, None if spec.nullable else filler.get(spec.dtype, START)) for column, spec in columns.items()} for row in rows]
    return tables.conform(pl.DataFrame(full, schema=tables.TABLES[name].schema), name)


def story(*, user: str = "ann@corp.example", later_s: float = 60, n_events: int = 3) -> dict[str, pl.DataFrame]:
    """ann mints a token; the account acts from elsewhere, one request refused; a controller answers and does much else."""
    at = [START, START + timedelta(seconds=later_s), START + timedelta(seconds=1)]
    who = [(user, "human", "10.0.0.1", "private"), (BOT, "service_account", "203.0.113.9", "public"),
           ("system:kube-controller-manager", "controller", "10.0.0.5", "private")]
    sessions = [{"session_id": f"s-{number}", "actor": actor, "user": actor, "actor_kind": kind, "source_ip": source, "source_class": where,
                 "start": at[number], "end": at[number] + timedelta(seconds=20)}
                for number, (actor, kind, source, where) in enumerate(who)]
    events, held = [], []
    for number, session in enumerate(sessions):
        for step in range(n_events):
            event = {"event_id": f"e{number}-{step}", "time": at[number] + timedelta(seconds=20 * step / n_events), "actor": session["actor"],
                     "user": session["actor"], "actor_kind": session["actor_kind"], "verb": "list", "api_group": "", "resource": "secrets",
                     "status": 403 if number == 1 and step == 1 else 200}
            events.append(event)
            held.append({"event_id": event["event_id"], "session_id": session["session_id"]})
    events[0] |= {"verb": "create", "resource": "serviceaccounts", "subresource": "token", "name": "bot", "namespace": "dev"}
    links = [
        {"link_id": "l-1", "kind": "token_minted", "from_session": "s-0", "to_session": "s-1", "score": 0.95, "from_event_ids": ["e0-0"],
         "to_event_ids": ["e1-0"]},
        {"link_id": "l-2", "kind": "follow_up", "from_session": "s-0", "to_session": "s-2", "score": 0.9, "from_event_ids": ["e0-1"],
         "to_event_ids": ["e2-1"]},
    ]
    roles = ("cause", "member", "follow_up")
    stories = [{"story_id": "t-1", "session_id": f"s-{number}", "role": role} for number, role in enumerate(roles)]
    return {"stories": frame("stories", stories), "sessions": frame("sessions", sessions), "links": frame("links", links),
            "events": frame("events", events), "session_events": frame("session_events", held)}


def test_a_lane_per_session_an_arrow_per_link_and_a_legend_of_what_is_there():
    svg = str(draw_story("t-1", **story()))
    check_svg(svg)
    for words in ("user-1", "sa-1", "private source-1 · cause", "public source-2", "system:kube-controller-manager", "token minted (0.95)",
                  "carried out by a controller", "secrets", "rights, accounts, tokens", "refused or failed"):
        assert f">{words}<" in svg or words in svg, words
    assert "exec<" not in svg


def test_it_is_a_picture_that_a_notebook_shows():
    picture = draw_story("t-1", **story())
    assert picture._repr_svg_() == str(picture)
    assert vl_convert.svg_to_png("".join(picture), scale=1).startswith(b"\x89PNG")


def test_names_are_shown_only_on_demand():
    world = story()
    assert "ann@corp" not in draw_story("t-1", **world)
    assert "203.0.113.9" not in draw_story("t-1", **world)
    shown = draw_story("t-1", **world, clear_names=True)
    assert "ann@corp.example" in shown
    assert "dev:bot" in shown
    assert "203.0.113.9" in shown


@pytest.mark.parametrize("clear_names", [False, True])
def test_hostile_names_stay_text(clear_names):
    svg = str(draw_story("t-1", **story(user=EVIL), clear_names=clear_names))
    check_svg(svg)
    assert "<script" not in svg
    assert "\u202e" not in svg
    vl_convert.svg_to_png(svg, scale=1)


def test_of_a_controller_only_the_cited_events_are_drawn():
    few, many = (str(draw_story("t-1", **story(n_events=number))).count('v16"') for number in (3, 9))
    assert few == 1 + 2 + 2 + 1           # minted, two reads, two of three at the account (one is refused), one answer
    assert many == 1 + 8 + 8 + 1


def test_thousands_of_events_stay_a_small_picture():
    assert len(draw_story("t-1", **story(n_events=5000))) < 120_000


def test_an_unknown_story_is_an_error_with_a_hint():
    with pytest.raises(InputError, match="no story 't-9'"):
        draw_story("t-9", **story())


def test_weak_links_are_not_drawn():
    world = story()
    world["links"] = world["links"].with_columns(score=pl.lit(0.4))
    assert "token minted" not in draw_story("t-1", **world)


def test_hours_of_silence_are_cut_out_and_said():
    assert "… 1 h 59 min …" in draw_story("t-1", **story(later_s=7200))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 90_000), min_size=1, max_size=30))
def test_places_keep_the_order_of_times_and_labels_stay_apart(seconds):
    times = [START + timedelta(seconds=second) for second in sorted(seconds)]
    axis = make_axis(times, 100, 900)
    pixels = [axis.place(time) for time in times]
    assert all(before <= after + 1e-6 for before, after in pairwise(pixels))
    assert 100 - 1e-6 <= min(pixels) <= max(pixels) <= 900 + 1e-6
    assert all(after - before > 40 for (before, _), (after, _) in pairwise(axis.labels()))
    assert all(after[2] - before[3] == pytest.approx(BREAK) for before, after in pairwise(axis.bursts))
