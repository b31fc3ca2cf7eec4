"""Cases looked at closely: all that is known of one, its records as archived, and what different judges say of it."""

from __future__ import annotations

from typing import Any

import polars as pl
from pydantic import ValidationError

from audit_lab.archive import read_original
from audit_lab.errors import InputError
from audit_lab.judge import compare_summary, compare_verdicts, examples_for, make_judge
from audit_lab.pipeline import Run, answers_folder, judge_candidates, standing_labels
from audit_lab.profile import JudgeSettings, Profile
from audit_lab.store import Store


def find_case(store: Store, case_or_session: str) -> dict[str, Any]:
    """Return all that is known of a case or a session: case, sessions, signals, evidence, verdicts, events.

    Raises
    ------
    InputError
        When nothing has that id (the beginning of one is enough, if it is unique).
    """
    candidates, sessions = store.read("candidates"), store.read("sessions")
    found = [item for item in [*candidates["case_id"], *sessions["session_id"]] if item.startswith(case_or_session)]
    if len(found) != 1:
        some = ", ".join(candidates["case_id"].head(3)) or "none yet; audit-lab run"
        many = "more than one" if found else "no"
        raise InputError(f"{many} case or session '{case_or_session}'", f"cases are, for example: {some}")
    chosen = found[0]
    row = candidates.filter((pl.col("case_id") == chosen) | pl.col("session_ids").list.contains(chosen))
    members = row["session_ids"][0].to_list() if row.height else [chosen]
    case_id = row["case_id"][0] if row.height else ""
    inside = store.scan("session_events").filter(pl.col("session_id").is_in(members))
    return {
        "case": row.to_dicts()[0] if row.height else None,
        "sessions": sessions.filter(pl.col("session_id").is_in(members)),
        "signals": store.read("signals").filter(pl.col("session_id").is_in(members)),
        "evidence": store.read("evidence").filter(pl.col("case_id") == case_id).sort("row"),
        "verdicts": store.read("verdicts").filter(pl.col("case_id") == case_id),
        "events": store.scan("events").join(inside, on="event_id", how="semi").sort("time", "event_id").collect(),
    }


def read_originals(store: Store, case_or_session: str, limit: int) -> list[dict[str, Any]]:
    """Return the records of a case or session as they stand in the archives, masked, at most `limit`."""
    paths = dict(store.read("archives").select("archive_id", "path").iter_rows())
    events = find_case(store, case_or_session)["events"].head(limit)
    return [read_original(paths[archive], position) for archive, position in events.select("archive_id", "position").iter_rows()]


def with_judge(store: Store, profile: Profile, **changes: Any) -> Profile:
    """Return the profile with some settings of section judge changed (None leaves a setting as it is).

    Raises
    ------
    InputError
        When there is no such judge or a value is out of range.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    if "replay" not in given and given.get("judge") == "replay" and not profile.judge.replay:
        given["replay"] = str(answers_folder(store) / "imported.jsonl")
    try:
        judge = JudgeSettings.model_validate(profile.judge.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("judge",):
            raise InputError(f"no judge '{given['judge']}'", "one of: baseline, openai, replay") from None
        raise InputError(f"judge: '{'.'.join(map(str, first['loc']))}': {first['msg']}", "see docs/profile.md") from None
    return profile.model_copy(update={"judge": judge})


def compare_judges(store: Store, profile: Profile, first: str, second: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """Let two judges judge the same candidates; return the comparison in numbers and case by case. Answers are kept and reused."""

    def judged(name: str) -> pl.DataFrame:
        changed = with_judge(store, profile, judge=name)
        judge = make_judge(changed.judge, answers_folder(store))
        try:
            return judge_candidates(Run(store, changed), judge).verdicts
        finally:
            if hasattr(judge, "close"):
                judge.close()

    a, b, line = judged(first), judged(second), profile.evaluate.threshold
    return compare_summary(a, b, line), compare_verdicts(a, b, line)


def case_examples(store: Store, profile: Profile) -> Any:
    """Return the labelled cases of earlier time that a model is shown before its questions."""
    if store.rows("labels") == 0:
        return ()
    read = store.read
    return examples_for(
        read("candidates"), read("sessions"), read("session_events"), read("events"), read("signals"), standing_labels(store),
        profile.judge, read("stories"),
    )
