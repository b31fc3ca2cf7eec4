import polars as pl
import pytest
from outlier_frames import world

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.signals.detectors import run_detectors

MADE = world(*[{}] * 3)
IDS = MADE[0]["session_id"].to_list()


def run(function) -> pl.DataFrame:
    return run_detectors([function], *MADE)


def frame(**columns) -> pl.DataFrame:
    return pl.DataFrame({"session_id": IDS[:2], "strength": [0.5, 0.0], **columns})


def test_a_plain_function_is_enough():
    def mine(sessions, events, session_events):
        return sessions.join(session_events, on="session_id").head(1).select("session_id", strength=pl.lit(1))

    found = tables.check(run(mine), "signals")
    assert found.select("session_id", "detector_id", "kind", "strength", "reason", "event_ids").row(0) == (
        IDS[0], "mine", "custom", 1.0, "found by detector mine", [])


def test_reason_and_events_are_kept_in_one_line_and_limited():
    def mine(*_):
        return frame(reason=["two\nlines", "x"], event_ids=[[f"e{i}" for i in range(80)], []]).lazy()

    found = run(mine)
    assert found.height == 1
    assert found["reason"].item() == "two lines"
    assert len(found["event_ids"].item()) == 50


def test_a_changed_function_is_another_version():
    def one():
        def mine(*_):
            return frame()
        return mine

    def two():
        def mine(*_):
            return frame(reason=["a", "b"])
        return mine

    assert run(one())["detector_version"].item() == run(one())["detector_version"].item() != run(two())["detector_version"].item()


@pytest.mark.parametrize(("returned", "said"), [
    (None, "detector 'mine' returned NoneType, not a frame"),
    (pl.DataFrame({"session_id": IDS}), "detector 'mine': its frame lacks strength"),
    (frame(score=[1, 2]), "detector 'mine': its frame has unknown columns score"),
    (pl.DataFrame({"session_id": IDS[:1], "strength": [1.5]}), "detector 'mine': strength must lie between 0 and 1"),
    (pl.DataFrame({"session_id": IDS[:1], "strength": [float("nan")]}), "detector 'mine': strength must lie between 0 and 1"),
    (pl.DataFrame({"session_id": IDS[:1], "strength": ["high"]}), "detector 'mine': strength is String, not a number"),
    (pl.DataFrame({"session_id": IDS[:1], "strength": [None]}, schema={"session_id": pl.String, "strength": pl.Float64}), "must not be null"),
    (pl.DataFrame({"session_id": IDS[:1] * 2, "strength": [1, 1]}), "detector 'mine': a session appears more than once"),
    (pl.DataFrame({"session_id": ["s-unknown"], "strength": [1]}), "detector 'mine': 1 of its session ids are not in sessions"),
    (frame(event_ids=["e1", "e2"]), "detector 'mine': event_ids is String, not a list of texts"),
])
def test_a_bad_result_names_the_detector_in_one_line(returned, said):
    def mine(*_):
        return returned

    with pytest.raises(InputError) as caught:
        run(mine)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_detector_that_fails_is_named():
    def mine(*_):
        raise KeyError("no such column")

    with pytest.raises(InputError, match="detector 'mine' failed: KeyError: 'no such column'"):
        run(mine)


def test_detectors_need_names_and_different_ones():
    def mine(*_):
        return frame()

    with pytest.raises(InputError, match="two detectors are called 'mine'"):
        run_detectors([mine, mine], *MADE)
    with pytest.raises(InputError, match="must be a named function"):
        run_detectors([lambda *_: frame()], *MADE)
    with pytest.raises(InputError, match="must be a named function"):
        run_detectors([3], *MADE)


def test_no_detectors_no_signals():
    assert run_detectors([], *MADE).equals(tables.empty("signals"))
