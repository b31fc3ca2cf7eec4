"""Two people at once: the second is told and gets the next case; a claim ends by itself, holds up no label, and says nothing to the blind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from rich.console import Console

from audit_lab import Lab
from audit_lab.cli_case import case_page
from audit_lab.profile import Profile
from audit_lab.review import freed, held_by_others, people_asked, taken
from audit_lab.review.queue import HIDDEN_WHEN_BLIND
from audit_lab.reviewing import open_desk
from audit_lab.tables import empty

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def profile(**review: object) -> Profile:
    base = Profile()
    settings = base.review.model_copy(update={"second_share": 0.0, "blind_share": 0.0, **review})
    return base.model_copy(update={"review": settings})


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def desk(lab: Lab, author: str, clock: Clock, settings: Profile | None = None, **more: object):
    return open_desk(lab.store, settings or profile(), author, everything=True, clock=clock, **more)


def test_the_second_gets_the_next_case_and_is_told_who_has_the_first(lab: Lab) -> None:
    clock = Clock()
    kim = desk(lab, "kim", clock)
    lee = desk(lab, "lee", clock)
    first, other = kim.current, lee.current
    assert {first, other} == set(lab.review_queue(everything=True)["case_id"])
    assert lee.view()["claim"] is None
    assert lab.claims.collect().sort("author").select("author", "case_id", "until").rows() == [
        ("kim", first, NOON + timedelta(minutes=15)), ("lee", other, NOON + timedelta(minutes=15))]
    lee.go(first)
    assert lee.view()["claim"] == {"author": "kim", "until": "2026-03-01T12:15:00Z"}
    console = Console(width=120)
    with console.capture() as shown:
        for part in case_page(lee.view(), set()):
            console.print(part)
    assert "kim has this case open as well, until 12:15 UTC" in shown.get()
    assert json.loads(json.dumps(lee.view())) == lee.view()


def test_a_claim_holds_up_no_label_and_what_is_left_comes_all_the_same(lab: Lab) -> None:
    clock = Clock()
    kim, lee = desk(lab, "kim", clock), desk(lab, "lee", clock)
    held = kim.current
    lee.label("benign", "planned")
    assert lee.current == held, "with nothing else left the case of another comes, and says so"
    assert lee.view()["claim"]["author"] == "kim"
    lee.label("malicious", "token stolen")
    kim.label("benign", "I know them")
    assert lab.labels.collect()["author"].to_list() == ["lee", "lee", "kim"]


def test_a_claim_ends_by_itself_and_lives_as_long_as_somebody_acts(lab: Lab) -> None:
    clock = Clock()
    kim = desk(lab, "kim", clock)
    clock.now += timedelta(minutes=10)
    kim.view()
    clock.now += timedelta(minutes=10)
    assert desk(lab, "lee", clock).current != kim.current
    clock.now += timedelta(minutes=6)
    assert desk(lab, "max", clock).current == kim.current
    assert set(lab.claims.collect()["author"]) == {"lee", "max"}


def test_who_leaves_frees_what_lay_there(lab: Lab) -> None:
    clock = Clock()
    kim = desk(lab, "kim", clock)
    case = kim.current
    kim.close()
    lee = desk(lab, "lee", clock)
    assert lee.current == case
    kim.skip()
    lee.skip()
    assert lee.current == case or kim.current != lee.current


def test_two_people_who_are_both_asked_may_have_it_open_and_learn_nothing(lab: Lab) -> None:
    clock, both = Clock(), profile(second_share=1.0, blind_share=1.0)
    kim, lee = desk(lab, "kim", clock, both), desk(lab, "lee", clock, both)
    assert kim.current == lee.current
    view = lee.view()
    assert (view["claim"], view["is_blind"]) == (None, True)
    max_ = desk(lab, "max", clock, both)
    assert max_.current != kim.current, "a third is not asked while two are at it"
    max_.go(kim.current)
    held = max_.view()
    assert held["claim"]["author"] in ("kim", "lee")
    assert {name: held[name] for name in HIDDEN_WHEN_BLIND} == dict.fromkeys(HIDDEN_WHEN_BLIND)
    kim.label("malicious", "token stolen")
    again = desk(lab, "zoe", clock, both)
    assert "malicious" not in json.dumps(again.view()["claim"])


def test_a_busy_ledger_of_claims_stops_nobody(lab: Lab) -> None:
    clock = Clock()
    with lab.store.appending("claims"):
        kim = desk(lab, "kim", clock)
        kim.label("benign", "planned")
    assert lab.labels.collect().height == 1
    kim.view()
    assert lab.claims.collect()["author"].to_list() == ["kim"], "tried again at the next act"


def test_without_minutes_there_are_no_claims(lab: Lab) -> None:
    clock, none = Clock(), profile(claim_minutes=0)
    assert desk(lab, "kim", clock, none).current == desk(lab, "lee", clock, none).current
    assert lab.claims.collect().is_empty()


def test_an_asked_case_comes_first_whoever_has_it(lab: Lab) -> None:
    clock = Clock()
    kim = desk(lab, "kim", clock)
    lee = desk(lab, "lee", clock, include=[kim.current])
    assert lee.current == kim.current and lee.view()["claim"]["author"] == "kim"


def test_claims_are_frames() -> None:
    table = taken(empty("claims"), "c-1", "kim password=hunter2", NOON, 15)
    assert "hunter2" not in table["author"][0]
    assert held_by_others(table, "kim password=hunter2", NOON, {}) == {}
    assert set(held_by_others(table, "lee", NOON, {})) == {"c-1"}
    assert held_by_others(table, "lee", NOON, {"c-1": 2}) == {}
    assert held_by_others(table, "lee", NOON + timedelta(minutes=15), {}) == {}
    assert freed(table, "lee", NOON).equals(table)
    assert taken(table, "c-2", "kim password=hunter2", NOON, 15)["case_id"].to_list() == ["c-2"]
    assert {people_asked(f"c-{n}", profile(second_share=0.5).review) for n in range(40)} == {1, 2}
