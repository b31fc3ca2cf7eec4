"""Cases looked at closely: all that is known of one, its records as archived, and what different judges say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from audit_lab.archive import read_original
from audit_lab.errors import InputError
from audit_lab.holdings import answers_folder, evidence_links, merged_egress, standing_labels
from audit_lab.judge import (
    BASELINE,
    CHALLENGER,
    AnswersFit,
    Judge,
    asked_places,
    compare_summary,
    compare_verdicts,
    examples_for,
    export_prompts,
    fit_answers,
    make_judge,
    probe_model,
    prompt_digests,
    render_prompt,
    route_cases,
)
from audit_lab.lines import CaseLines, case_lines
from audit_lab.pipeline import Run, judge_candidates
from audit_lab.profile import NO_ROLE, ROLE_HINT, JudgeSettings, Profile
from audit_lab.store import Store


def find_case(store: Store, case_or_session: str) -> dict[str, Any]:
    """Return all that is known of a case or a session: case, sessions, signals, evidence, verdicts, events.

    Raises
    ------
    InputError
        When nothing has that id (the beginning of one is enough, if it is unique).
    """
    candidates = store.read("candidates")
    named = [candidates["case_id"], store.scan("sessions").select("session_id").collect()["session_id"]]
    found = [item for ids in named for item in ids.filter(ids.str.starts_with(case_or_session))]
    if len(found) != 1:
        some = ", ".join(candidates["case_id"].head(3)) or "none yet; audit-lab run"
        many = "more than one" if found else "no"
        raise InputError(f"{many} case or session '{case_or_session}'", f"cases are, for example: {some}")
    chosen = found[0]
    row = candidates.filter((pl.col("case_id") == chosen) | pl.col("session_ids").list.contains(chosen))
    members = row["session_ids"][0].to_list() if row.height else [chosen]
    case_id = row["case_id"][0] if row.height else ""
    of_case, of_members = pl.col("case_id") == case_id, pl.col("session_id").is_in(members)
    inside = store.scan("session_events").filter(of_members)
    verdicts = store.scan("verdicts").filter(of_case).collect()
    return {
        "case": row.to_dicts()[0] if row.height else None,
        "probability": _probability(store, row, verdicts),
        "sessions": store.scan("sessions").filter(of_members).collect(),
        "signals": store.scan("signals").filter(of_members).collect(),
        "evidence": store.scan("evidence").filter(of_case).sort("row").collect(),
        "verdicts": verdicts,
        "events": store.scan("events").join(inside, on="event_id", how="semi").sort("time", "event_id").collect(),
    }


def _probability(store: Store, case: pl.DataFrame, verdicts: pl.DataFrame) -> float | None:
    """Return what a case's score means by the lab's calibrator; None without a case or a calibrator."""
    if case.is_empty() or store.remembered("calibration") is None:
        return None
    from audit_lab.calibrating import probability_of  # noqa: PLC0415 - scikit-learn takes a second to import

    said = verdicts.filter("usable")["score"].drop_nulls().to_list() or case["score"].to_list()
    return probability_of(store, max(*said, case["floor"][0] or 0.0))


def read_originals(store: Store, case_or_session: str, limit: int) -> list[dict[str, Any]]:
    """Return the records of a case or session as they stand in the archives, masked, at most `limit`."""
    return read_records(store, find_case(store, case_or_session)["events"].head(limit))


def read_originals_of(store: Store, event_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records of events as they stand in the archives, masked, in the order asked for; unknown ones are left out."""
    held = store.scan("events").filter(pl.col("event_id").is_in(list(event_ids))).select("event_id", "archive_id", "position").collect()
    asked = pl.DataFrame({"event_id": list(event_ids)}, schema={"event_id": pl.String})
    return read_records(store, asked.join(held, on="event_id", how="inner", maintain_order="left"))


def read_records(store: Store, events: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the records of events (archive_id, position) as they stand in the archives, masked, in the same order."""
    paths = dict(store.scan("archives").select("archive_id", "path").collect().iter_rows())
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
        judge = JudgeSettings.model_validate(profile.judge.model_dump(exclude_unset=True) | given)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("judge",):
            raise InputError(f"no judge '{given['judge']}'", "one of: baseline, openai, replay") from None
        if first["type"] == NO_ROLE:
            raise InputError(f"judge: '{'.'.join([*map(str, first['loc']), 'role'])}': {first['msg']}", ROLE_HINT) from None
        raise InputError(f"judge: '{'.'.join(map(str, first['loc']))}': {first['msg']}", "see docs/profile.md") from None
    return profile.model_copy(update={"judge": judge})


def compare_judges(store: Store, profile: Profile, first: str, second: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """Put two judges on the same candidates side by side; return the comparison in numbers and case by case.

    'champion' is the judge whose verdicts the lab holds, 'challenger' what the one in shadow said; any other name is a judge that judges
    the candidates now. Answers are kept and reused. With labels, `paired` holds what `evaluate.compare_versions` says of the difference.

    Raises
    ------
    InputError
        When a judge is unknown, or none has judged in shadow.
    JudgeError
        When a judge cannot judge a single case.
    """
    a, b = _judged(store, profile, first), _judged(store, profile, second)
    lines = _lines(store, profile)
    paired, why = _paired(store, profile, a, b)
    return compare_summary(a, b, lines) | {"paired": paired, "why_not_paired": why}, compare_verdicts(a, b, lines)


def _judged(store: Store, profile: Profile, name: str) -> pl.DataFrame:
    if name in ("champion", CHALLENGER):
        held = store.read("verdicts" if name == "champion" else "shadow_verdicts")
        if held.is_empty():
            hint = "add a section [judge.challenger] to the profile, then: audit-lab run"
            raise InputError(f"the lab holds no verdicts of a {name}", hint)
        return held
    changed = with_judge(store, profile, judge=name)
    with opened_judge(store, changed) as judge:
        return judge_candidates(Run(store, changed), judge).verdicts


def _paired(store: Store, profile: Profile, a: pl.DataFrame, b: pl.DataFrame) -> tuple[dict[str, Any] | None, str | None]:
    """Return how much better the second is on labelled cases that both answered, or why nobody can tell."""
    if store.rows("labels") == 0:
        return None, "no labels: audit-lab label FILE"
    from audit_lab.evaluate import case_truth, compare_versions  # noqa: PLC0415 - scikit-learn takes a second to import

    truth = case_truth(store.read("candidates"), store.read("sessions"), standing_labels(store))
    ours, theirs = (frame.filter("usable").select("case_id", "score") for frame in (a, b))
    if not truth["malicious"].any():
        return None, "no case is labelled malicious"
    settings, lines = profile.evaluate, _lines(store, profile)
    found = compare_versions(truth, ours, theirs, lines, settings.bootstrap, settings.confidence, profile.signals.seed)
    return found.as_dict(), None


def _lines(store: Store, profile: Profile) -> CaseLines:
    return case_lines(store.read("candidates"), store.scan("sessions"), profile.evaluate)


@contextmanager
def opened_judge(store: Store, profile: Profile) -> Iterator[Judge]:
    """Give the judge of a profile outside a run (comparisons, probes, trials); however it ends, its calls are in table egress."""
    judge = make_judge(profile.judge, answers_folder(store))
    try:
        yield judge
    finally:
        if hasattr(judge, "close"):
            judge.close()
        if not merged_egress(store).equals(store.read("egress")):
            with store.writing():
                store.replace("egress", merged_egress(store), store.inputs("egress") or "")


def probe_judge(store: Store, profile: Profile, *, accept: bool = False) -> pl.DataFrame:
    """Ask the model of the profile the fixed probes; see `judge.probe_model`."""
    with opened_judge(store, profile) as judge:
        return probe_model(judge, answers_folder(store), accept=accept)


def export_questions(store: Store, profile: Profile, path: Path, *, batch_model: str = "", for_cloud: bool = False) -> int:
    """Write the questions about the lab's candidates to a file and return how many; `for_cloud` leaves out what must stay in the house.

    No judge of the profile is asked: the evidence is made here.
    """
    candidates, settings = store.read("candidates"), profile.judge
    if for_cloud:
        routes = route_cases(
            candidates, store.read("session_events"), store.scan("events"), settings, sessions=store.read("sessions"),
            links=evidence_links(store), labels=standing_labels(store))
        candidates = candidates.join(routes.filter(pl.col("role") == "cloud"), on="case_id", how="semi", maintain_order="left")
    return export_prompts(
        candidates, judge_candidates(Run(store, profile), BASELINE).evidence, path, examples=case_examples(store, profile),
        batch_model=batch_model,
        max_output_tokens=settings.max_output_tokens, lang=settings.lang, template=settings.prompt)


def imported_fit(store: Store, profile: Profile, path: Path) -> AnswersFit:
    """Return how a file of answers that was imported fits the questions about the lab's candidates, of which evidence was made."""
    settings = profile.judge
    questions = prompt_digests(
        store.read("candidates"), store.read("evidence"), examples=case_examples(store, profile), lang=settings.lang,
        template=settings.prompt)
    return fit_answers(path, answers_folder(store), questions)


def case_prompt(store: Store, profile: Profile, case: str) -> str:
    """Return exactly what a model would be shown of a case, and who that is.

    The evidence is made here: the lab's may be missing, or of other settings and labels.

    Raises
    ------
    InputError
        When nothing has that id, or it is no candidate.
    """
    found = find_case(store, case)
    if found["case"] is None:
        raise InputError(f"'{case}' is not among the candidates, so no judge is asked about it", "audit-lab show prints its events")
    settings, read = profile.judge, store.read
    mine = read("candidates").filter(pl.col("case_id") == found["case"]["case_id"])
    evidence = judge_candidates(Run(store, profile), BASELINE, candidates=mine).evidence
    routes = route_cases(
        mine, read("session_events"), store.scan("events"), settings, sessions=read("sessions"), links=evidence_links(store),
        labels=standing_labels(store))
    return render_prompt(
        evidence, case_examples(store, profile), lang=settings.lang, template=settings.prompt,
        places=asked_places(settings, routes["role"][0] == "cloud"))


def case_examples(store: Store, profile: Profile) -> Any:
    """Return the labelled cases of earlier time that a model is shown before its questions."""
    if store.rows("labels") == 0:
        return ()
    read = store.read
    return examples_for(
        read("candidates"), read("sessions"), read("session_events"), read("events"), read("signals"), standing_labels(store),
        profile.judge, read("stories"), evidence_links(store),
    )
