"""The picture of one story: a lane per session, its events as marks, the links between sessions as arrows.

Plain SVG with shapes and text only, in the report's palette, so that it follows the reader's colour scheme. Actors are pseudonyms
unless the reader may see names; every text that came from a log passes `visible`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup, escape

from audit_lab.errors import InputError
from audit_lab.govern.svg import check_svg
from audit_lab.govern.time_axis import Axis, make_axis
from audit_lab.palette import LIGHT
from audit_lab.visible import visible
from audit_lab.vocabulary import Pseudonyms, action_group, action_token, is_write

WIDTH, LEFT, RIGHT, TOP = 960, 212, 26, 34
LANE, LOW_LANE = 50, 34      # height of the lane of a session, and of one that only follows up
LABEL = 33                   # characters of a lane's label
LEAST_SCORE = 0.5            # weaker links join no story and are not drawn

# Meaning of an event -> colour and what the legend says; later ones are drawn over earlier ones.
MEANINGS = {
    "other": (LIGHT["quiet"], "read or other"),
    "change": (LIGHT["accent"], "change"),
    "secrets": (LIGHT["lookalike"], "secrets"),
    "access": (LIGHT["second"], "rights, accounts, tokens"),
    "exec": (LIGHT["malicious"], "exec"),
}
# Links that have no direction: one user or credential on both sides.
_MUTUAL = ("impersonation", "credential_shared")
_GROUPS = {**dict.fromkeys(("rbac", "tokens", "certificates", "serviceaccounts"), "access"), "secrets": "secrets", "exec": "exec"}


class Picture(Markup):
    """An SVG element that a notebook shows as a picture and a template takes as it is."""

    def _repr_svg_(self) -> str:
        return str(self)


class _Lane(NamedTuple):
    middle: float
    height: float
    role: str


def draw_story(
    story_id: str, stories: pl.DataFrame, sessions: pl.DataFrame, links: pl.DataFrame, events: pl.DataFrame,
    session_events: pl.DataFrame, *, clear_names: bool = False,
) -> Picture:
    """Draw one story.

    Parameters
    ----------
    story_id
        Which one, as in table stories.
    stories, sessions, links, events, session_events
        The tables of these names; rows of other stories are ignored.
    clear_names
        Show actors by name instead of by pseudonym: for people, never for a model.

    Raises
    ------
    InputError
        When there is no such story.
    """
    members = stories.filter(pl.col("story_id") == story_id).join(sessions, on="session_id")
    if members.is_empty():
        raise InputError(f"no story '{visible(story_id, 40)}'", "see table stories")
    follows = pl.col("role") == "follow_up"
    members = members.sort(follows, "start", "session_id")
    drawn = _arrows(members, links, events)
    marks = _marks(members, drawn, events, session_events)
    lanes = _lanes(members)
    axis = make_axis([*marks["time"].to_list(), *drawn["made"].to_list(), *drawn["used"].to_list()], LEFT + 12, WIDTH - RIGHT)
    bottom = TOP + sum(lane.height for lane in lanes.values())
    kinds = drawn.filter(pl.col("kind") != "follow_up").sort("used", "kind")["kind"].unique(maintain_order=True).to_list()
    numbers = {kind: number for number, kind in enumerate(kinds, start=1)}
    parts = [
        *_frame(axis, bottom), *_bars(members, lanes, axis, clear_names), *_curves(drawn, lanes, axis), *_ticks(marks, lanes, axis),
        *_badges(drawn, lanes, axis, numbers),
    ]
    legend, height = _legend(numbers, drawn, marks, bottom + 38)
    day = members["start"].dt.strftime("%Y-%m-%d").sort()[0]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" viewBox="-8 -4 {WIDTH + 8} {height + 4:.0f}" '
        f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(visible(story_id, 40))}: {members.height} sessions">'
        f'<rect x="-10" y="-10" width="{WIDTH + 20}" height="{height + 20:.0f}" fill="{LIGHT["ground"]}"/>'
        + _text(0, 14, f"{visible(story_id, 40)} · {day} (UTC)", fill="muted") + "".join(parts) + "".join(legend) + "</svg>"
    )
    check_svg(svg)
    return Picture(svg)


def _arrows(members: pl.DataFrame, links: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the links of the story with `made` and `used`: when the thing was last made before, and first used."""
    role = dict(members.select("session_id", "role").iter_rows())
    inside = links.filter(
        pl.col("from_session").is_in(role) & pl.col("to_session").is_in(role) & (pl.col("score") >= LEAST_SCORE)
        & ((pl.col("kind") != "follow_up") | pl.col("from_session").replace_strict(role, default=None).ne("follow_up"))
    )
    cited = inside.select(ids=pl.concat_list("from_event_ids", "to_event_ids")).explode("ids")["ids"].unique()
    when = dict(events.filter(pl.col("event_id").is_in(cited.implode())).select("event_id", "time").iter_rows())
    made, used = [], []
    for row in inside.iter_rows(named=True):
        first = min((when[key] for key in row["to_event_ids"] if key in when), default=None)
        before = [when[key] for key in row["from_event_ids"] if key in when]
        earlier = [time for time in before if first is None or time <= first]
        made.append(max(earlier) if earlier else min(before, default=None))
        used.append(first)
    times = {"made": pl.Series(made, dtype=events.schema["time"]), "used": pl.Series(used, dtype=events.schema["time"])}
    return inside.with_columns(**times).drop_nulls(["made", "used"]).sort("kind", "used", "link_id")


def _marks(members: pl.DataFrame, drawn: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return session_id, time, meaning, refused of the events to show: of controllers only what follows up this story."""
    answers = drawn.filter(pl.col("kind") == "follow_up").select(event_id="to_event_ids").explode("event_id")["event_id"].unique()
    held = session_events.join(members.select("session_id", "role"), on="session_id")
    held = held.filter((pl.col("role") != "follow_up") | pl.col("event_id").is_in(answers.implode()))
    refused = (pl.col("status").fill_null(200) >= 400) | (pl.col("decision").fill_null("") == "forbid")
    shown = events.join(held, on="event_id").select("session_id", "time", action_token(), write=is_write(), refused=refused)
    groups = {token: _GROUPS.get(action_group(token)) for token in shown["action"].unique()}
    meaning = pl.coalesce(pl.col("action").replace_strict(groups, default=None, return_dtype=pl.String),
                          pl.when("write").then(pl.lit("change")).otherwise(pl.lit("other")))
    return shown.select("session_id", "time", "refused", meaning=meaning).sort("time", "session_id")


def _lanes(members: pl.DataFrame) -> dict[str, _Lane]:
    lanes, top = {}, float(TOP)
    for session, role in members.select("session_id", "role").iter_rows():
        height = LOW_LANE if role == "follow_up" else LANE
        lanes[session] = _Lane(top + height / 2, height, role)
        top += height
    return lanes


def _frame(axis: Axis, bottom: float) -> Iterable[str]:
    for pixel, text in axis.labels():
        yield f'<line x1="{pixel:.1f}" y1="{TOP}" x2="{pixel:.1f}" y2="{bottom:.1f}" stroke="{LIGHT["line"]}" stroke-width="0.7"/>'
        yield _text(pixel, bottom + 15, text, fill="muted", anchor="middle")
    for pixel, text in axis.breaks():
        yield f'<rect x="{pixel - 17:.1f}" y="{TOP}" width="34" height="{bottom - TOP:.1f}" fill="{LIGHT["sunken"]}"/>'
        yield _text(pixel, TOP - 6, f"… {text} …", fill="muted", anchor="middle", size=10)


def _bars(members: pl.DataFrame, lanes: dict[str, _Lane], axis: Axis, clear_names: bool) -> Iterable[str]:
    names = Pseudonyms()
    for row in members.iter_rows(named=True):
        lane = lanes[row["session_id"]]
        left, right = axis.place(row["start"]), axis.place(row["end"])
        yield (f'<rect x="{left - 4:.1f}" y="{lane.middle - 9:.1f}" width="{right - left + 8:.1f}" height="18" rx="4" '
               f'fill="{LIGHT["panel"]}" stroke="{LIGHT["line"]}"/>')
        source = visible(row["source_ip"] or "none") if clear_names else names.name("source", row["source_ip"])
        kind = f"{row['actor_kind'].replace('_', ' ')} · {row['source_class'].replace('_', ' ')} {source}"
        if lane.role == "follow_up":
            yield _text(0, lane.middle + 4, _actor(row, names, clear_names), fill="muted")
        else:
            mark = " · cause" if lane.role == "cause" else ""
            yield _text(0, lane.middle - 2, _actor(row, names, clear_names), weight="bold")
            yield _text(0, lane.middle + 13, kind + mark, fill="muted")


def _actor(row: dict[str, Any], names: Pseudonyms, clear_names: bool) -> str:
    text = row["actor"] if clear_names else names.actor(row["user"], row["actor_kind"])
    if row["impersonated_user"] and not clear_names:
        text += f" as {names.actor(row['impersonated_user'], '')}"
    for prefix in ("system:serviceaccount:kube-system:", "system:serviceaccount:"):
        text = text.replace(prefix, "")
    text = visible(text or "no identity")
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"


def _ticks(marks: pl.DataFrame, lanes: dict[str, _Lane], axis: Axis) -> Iterable[str]:
    seen = set()
    order = {meaning: number for number, meaning in enumerate(MEANINGS)}
    rows = sorted(marks.iter_rows(named=True), key=lambda row: order[row["meaning"]])
    for row in rows:
        pixel, middle = round(axis.place(row["time"])), lanes[row["session_id"]].middle
        spot = (row["session_id"], pixel, row["meaning"], row["refused"])
        if spot in seen:
            continue
        seen.add(spot)
        colour = MEANINGS[row["meaning"]][0]
        width = 1.2 if row["meaning"] == "other" else 2
        shape = f"M{pixel - 3} {middle - 3:.1f}l6 6m0 -6l-6 6" if row["refused"] else f"M{pixel} {middle - 8:.1f}v16"
        yield f'<path d="{shape}" stroke="{colour}" stroke-width="{width}" fill="none"/>'


def _ends(row: dict[str, Any], lanes: dict[str, _Lane], axis: Axis) -> tuple[tuple[float, float], tuple[float, float], int]:
    """Return where a link starts and ends, and whether it goes down (1) or up (-1)."""
    start, end = lanes[row["from_session"]], lanes[row["to_session"]]
    down = 1 if end.middle > start.middle else -1
    return (axis.place(row["made"]), start.middle + 10 * down), (axis.place(row["used"]), end.middle - 11 * down), down


def _curves(drawn: pl.DataFrame, lanes: dict[str, _Lane], axis: Axis) -> Iterable[str]:
    for row in drawn.iter_rows(named=True):
        (x1, y1), (x2, y2), down = _ends(row, lanes, axis)
        quiet, mutual = row["kind"] == "follow_up", row["kind"] in _MUTUAL
        colour = LIGHT["quiet"] if quiet else LIGHT["ink"]
        bend, tip = (y2 - y1) * 0.5, 0 if mutual else 5 * down
        line = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend - tip:.1f} {x2:.1f} {y2 - tip:.1f}"
        dash = ' stroke-dasharray="3 3"' if quiet else ""
        yield f'<path d="{line}" stroke="{colour}" stroke-width="{1 if quiet else 1.4}" fill="none"{dash}/>'
        if mutual:
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in ((x1, y1), (x2, y2)))
        else:
            yield f'<path d="M{x2:.1f} {y2:.1f}l-3.5 {-6 * down}h7z" fill="{colour}"/>'


def _badges(drawn: pl.DataFrame, lanes: dict[str, _Lane], axis: Axis, numbers: dict[str, int]) -> Iterable[str]:
    taken: list[tuple[float, float]] = []
    for row in drawn.filter(pl.col("kind").is_in(numbers)).iter_rows(named=True):
        start, end, _ = _ends(row, lanes, axis)
        yield _badge(_free_spot(start, end, taken), numbers[row["kind"]])


def _free_spot(start: tuple[float, float], end: tuple[float, float], taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return a place on the way of an arrow where no other badge lies."""
    places = [_on_curve(start, end, share) for share in (0.5, 0.65, 0.35, 0.8, 0.2)]
    free = [place for place in places if all(abs(place[0] - x) + abs(place[1] - y) > 15 for x, y in taken)]
    shifted = (places[0][0] + 16 * len(taken), places[0][1])
    spot = free[0] if free else shifted
    taken.append(spot)
    return spot


def _on_curve(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    # The cubic of `_curves`: leaves and arrives vertically, its control points half-way down.
    (x1, y1), (x2, y2) = start, end
    rest, middle = 1 - share, (y1 + y2) / 2
    early, inner, outer, late = rest**3, 3 * rest**2 * share, 3 * rest * share**2, share**3
    return (early + inner) * x1 + (outer + late) * x2, early * y1 + (inner + outer) * middle + late * y2


def _badge(spot: tuple[float, float], number: int) -> str:
    x, y = spot
    return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7.5" fill="{LIGHT["panel"]}" stroke="{LIGHT["ink"]}"/>'
            + _text(x, y + 3.5, str(number), anchor="middle", size=10))


def _legend(numbers: dict[str, int], drawn: pl.DataFrame, marks: pl.DataFrame, top: float) -> tuple[list[str], float]:
    """Return the legend's shapes and the height of the whole picture."""
    entries: list[tuple[str, str]] = []
    for kind, number in numbers.items():
        score = max(drawn.filter(pl.col("kind") == kind)["score"].to_list())
        entries.append((_badge((8, -4), number), f"{kind.replace('_', ' ')} ({score:.2f})"))
    if "follow_up" in drawn["kind"].to_list():
        line = f'<path d="M0 -4h14" stroke="{LIGHT["quiet"]}" stroke-width="1.4" stroke-dasharray="3 3" fill="none"/>'
        entries.append((line, "carried out by a controller"))
    present = set(marks["meaning"])
    for meaning, (colour, words) in reversed(MEANINGS.items()):
        if meaning in present:
            entries.append((f'<path d="M8 -12v14" stroke="{colour}" stroke-width="2.4" fill="none"/>', words))
    if marks["refused"].any():
        entries.append((f'<path d="M5 -8l7 7m0 -7l-7 7" stroke="{LIGHT["muted"]}" stroke-width="2" fill="none"/>', "refused or failed"))
    shapes, x, y = [], float(LEFT), top
    for shape, words in entries:
        width = 24 + 6.1 * len(words) + 20
        if x + width > WIDTH:
            x, y = float(LEFT), y + 21
        shapes.append(f'<g transform="translate({x:.1f} {y:.1f})">{shape}{_text(21, 0, words)}</g>')
        x += width
    return shapes, y + 16


def _text(x: float, y: float, text: str, *, fill: str = "ink", anchor: str = "start", weight: str = "normal", size: int = 11) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" fill="{LIGHT[fill]}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"


