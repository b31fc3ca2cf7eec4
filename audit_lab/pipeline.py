"""The stages in order, what is stale, and progress: the one place where the stage folders meet.

A stage is a function from tables to tables. It is stale when what it was made from has changed: the tables
on its left, the settings it reads, the code and rules of this version, or the detectors it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from audit_lab import tables
from audit_lab.digests import bytes_digest, code_digest, files_digest, source_of
from audit_lab.errors import InputError, JudgeError
from audit_lab.hashing import text_digest
from audit_lab.holdings import answers_folder, evidence_links, merged_egress, standing_labels
from audit_lab.judge import (
    CaseFiles,
    Judge,
    judge_in_shadow,
    make_judge,
    probe_model,
    probe_notes,
    run_judge,
    sameness_notes,
    unanswered,
    unanswered_note,
)
from audit_lab.limits import budget_notes, case_limits
from audit_lab.lines import case_lines
from audit_lab.profile import Profile
from audit_lab.sessions import add_links, build_sessions, build_stories, link_sessions, session_features
from audit_lab.signals import (
    NEED_VECTORS,
    OUTLIERS,
    ROUTINE,
    Detector,
    expired_note,
    find_outliers,
    load_exceptions,
    load_rules,
    rank_cases,
    resolution_note,
    run_detectors,
    run_rules_aside,
)
from audit_lab.store import Store
from audit_lab.vectors import embed_lab

STAGES = ("sessions", "signals", "candidates", "verdicts")
DEFAULT_DETECTORS: tuple[str, ...] = ("rules", "outliers")
"""Names of the built-in detectors: 'outliers' are those that the profile lists (`signals.detectors`). `run(detectors=[…])` takes
names of single ones too, and functions of your own: `[*DEFAULT_DETECTORS, "isolation", mine]`."""

Step = Callable[["Run"], dict[str, pl.DataFrame]]
Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done of it, and their number."""


@dataclass(repr=False)
class Run:
    """One run of the pipeline: where, with which settings, and what it has to say.

    `unanswered` counts cases to which no judge gave an answer; `unfinished` tells that another run would go on asking.
    """

    store: Store
    profile: Profile
    detectors: Sequence[str | Detector] = DEFAULT_DETECTORS
    judge: Judge | None = None
    progress: Progress | None = None
    today: date | None = None
    notes: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    unanswered: int = 0
    unfinished: bool = False
    _pending: dict[str, str] = field(default_factory=dict, repr=False)
    _held: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        made = ", ".join(self.made) or "nothing: all was up to date"
        return f"Run(lab {str(self.store.root)!r}, profile {self.profile.name!r}; made {made}{''.join(f'; {note}' for note in self.notes)})"

    def table(self, name: str) -> pl.DataFrame:
        """Return a table of the lab, read once per run."""
        if name not in self._held:
            self._held[name] = self.store.read(name)
        return self._held[name]

    def keep(self, made: dict[str, pl.DataFrame], inputs: str) -> None:
        """Store the tables that a stage made."""
        self.store.replace_many({name: (frame, inputs) for name, frame in made.items()})
        self._held.update(made)

    def tick(self, stage: str, done: int, total: int) -> None:
        """Report progress within a stage."""
        if self.progress:
            self.progress(stage, done, total)


@dataclass(frozen=True)
class Stage:
    """A stage: the tables on its left and right, the settings it reads, and its function."""

    name: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    settings: tuple[str, ...]
    step: Step


def run_stages(run: Run, *, until: str | None = None, force: bool = False) -> Run:
    """Run every stale stage in order, up to and with `until`.

    Raises
    ------
    InputError
        When `until` is no stage, or nothing has been ingested.
    """
    if until is not None and until not in STAGES:
        raise InputError(f"no stage '{until}'", f"stages are {', '.join(STAGES)}")
    if run.store.rows("events") == 0:
        raise InputError(f"lab '{run.store.root}' holds no events", "audit-lab ingest PATH")
    with run.store.writing():
        # Whoever opens the lab later without a profile gets that of the last run that came to its end, or of the only one.
        settings = run.profile.model_dump(mode="json")
        if run.store.remembered("profile") is None:
            run.store.remember("profile", settings)
        for stage in PIPELINE:
            inputs = _fingerprint(run, stage)
            if force or any(run.store.inputs(name) != inputs for name in stage.makes):
                run.tick(stage.name, 0, 1)
                made = stage.step(run)
                # What is unfinished is kept, and stale: the next run goes on where this one stopped.
                run.keep(made, "" if run.unfinished else inputs)
                run.made.append(stage.name)
            run.tick(stage.name, 1, 1)
            if stage.name == until:
                break
        if stage.makes == _JUDGED:
            _say_what_is_left(run)
        run.store.remember("profile", settings)
    return run


def stale_stages(run: Run) -> list[str]:
    """Return the stages that a run would do again; a stage behind a stale one is stale."""
    for index, stage in enumerate(PIPELINE):
        if any(run.store.inputs(name) != _fingerprint(run, stage) for name in stage.makes):
            return [later.name for later in PIPELINE[index:]]
    return []


# ---- the stages ----------------------------------------------------------------------------------------------


def _sessions(run: Run) -> dict[str, pl.DataFrame]:
    made = build_sessions(run.table("events"), run.profile)
    run.tick("sessions", 1, 2)
    links = link_sessions(run.table("events"), made.sessions, made.session_events, near_s=run.profile.sessions.gap_s)
    return {
        "sessions": tables.conform(add_links(made.sessions, links), "sessions"), "session_events": made.session_events, "links": links,
        "stories": build_stories(links, made.sessions),
    }


def _signals(run: Run) -> dict[str, pl.DataFrame]:
    events, sessions, members = run.table("events"), run.table("sessions"), run.table("session_events")
    settings = run.profile.signals
    mine = [detector for detector in run.detectors if not isinstance(detector, str)]
    named = [name for name in run.detectors if isinstance(name, str)]
    unknown = [name for name in named if name not in (*DEFAULT_DETECTORS, *OUTLIERS)]
    if unknown:
        built_in = ", ".join((*DEFAULT_DETECTORS, *OUTLIERS))
        raise InputError(f"no detector '{unknown[0]}'", f"built-in ones are {built_in}; your own is a function")
    # 'outliers' are those of the profile; any of them can be named besides, or alone.
    wanted = [name for name in OUTLIERS if name in named or ("outliers" in named and name in settings.detectors)]
    found = [tables.empty("signals")]
    vectors = tables.empty("embeddings")
    total = 3 + len(mine)
    exceptions = tables.empty("exceptions")
    if "rules" in run.detectors:
        known = [*ROUTINE, *(item for path in settings.exceptions for item in load_exceptions(path, routine=False))]
        ruled = run_rules_aside(load_rules(settings.rules), events, members, known, run.today)
        found.append(ruled.signals)
        exceptions = ruled.exceptions
        run.notes += [note] if run.today and (note := expired_note(known, run.today)) else []
    run.tick("signals", 1, total)
    if wanted:
        embedded = None
        if "outliers" in named or {*NEED_VECTORS} & {*wanted}:
            embedded, vectors, notes = embed_lab(run.store, sessions, settings)
            run.notes += notes
        run.tick("signals", 2, total)
        features = session_features(events, members, sessions, with_step=True)
        chosen = settings.model_copy(update={"detectors": wanted})
        held = (None, features, None) if embedded is None else (embedded.vectors, features, embedded.exact)
        found.append(find_outliers(sessions, events, members, chosen, *held))
        run.notes += [note] if (note := resolution_note(sessions, settings)) else []
    run.tick("signals", 3, total)
    if mine:
        found.append(run_detectors(mine, sessions, events, members))
    return {"signals": pl.concat(found), "embeddings": vectors, "exceptions": exceptions}


def _candidates(run: Run) -> dict[str, pl.DataFrame]:
    limits, unknown = case_limits(run.profile)
    cases = rank_cases(run.table("sessions"), run.table("signals"), run.profile.signals, run.table("stories"), limits)
    run.notes += ([unknown] if unknown else []) + budget_notes(cases.days, limits, run.profile.signals.exploration_share)
    run.store.remember("budget", cases.days.with_columns(pl.col("day").cast(pl.String)).to_dicts())
    return {"candidates": cases.candidates, "scores": cases.scores}


def _verdicts(run: Run) -> dict[str, pl.DataFrame]:
    settings, answers = run.profile.judge, answers_folder(run.store)
    judge = run.judge or make_judge(settings, answers, lambda done, total: run.tick("verdicts", done, total))
    try:
        if settings.probe and settings.judge == "openai" and run.judge is None:
            run.notes += probe_notes(probe_model(judge, answers))
        made = judge_candidates(run, judge)
        run.notes += [*getattr(judge, "notes", []), *sameness_notes(made.verdicts)]
        shadow = judge_in_shadow(settings, answers, lambda challenger: judge_candidates(run, challenger, made.evidence).verdicts)
        run.notes += shadow.notes
        run._pending = dict(getattr(judge, "pending", {}))
        run.unfinished = bool(run._pending) or shadow.pending
        return {
            "evidence": made.evidence, "verdicts": made.verdicts, "shadow_verdicts": shadow.verdicts,
            "egress": merged_egress(run.store, made.egress),
        }
    except JudgeError:
        # Nothing could be judged, but calls were made: they are accounted for all the same.
        run.keep({"egress": merged_egress(run.store)}, "")
        raise
    finally:
        if run.judge is None and hasattr(judge, "close"):
            judge.close()


def _say_what_is_left(run: Run) -> None:
    """Count the cases that the lab's verdicts leave unanswered, and note it in one line."""
    verdicts = run.table("verdicts")
    run.unanswered = unanswered(verdicts).height
    left = unanswered_note(verdicts, run._pending)
    run.notes += [left] if left else []


def judge_candidates(
    run: Run, judge: Judge, evidence: pl.DataFrame | None = None, *, events: pl.DataFrame | None = None,
    candidates: pl.DataFrame | None = None,
) -> CaseFiles:
    """Judge the lab's candidates, or those given: evidence (where it is not given), checked verdicts, and what left the machine.

    `events` takes the place of the lab's: what would a judge have said of others?
    """
    chosen = run.table("candidates") if candidates is None else candidates
    return run_judge(
        chosen, run.table("sessions"), run.table("session_events"),
        run.table("events") if events is None else events, run.table("signals"), judge, run.profile.judge,
        links=evidence_links(run.store), stories=run.table("stories"), labels=standing_labels(run.store),
        review_line=case_lines(chosen, run.table("sessions"), run.profile.evaluate), evidence=evidence,
    )


_JUDGED = ("evidence", "verdicts", "shadow_verdicts", "egress")
PIPELINE: tuple[Stage, ...] = (
    Stage("sessions", ("events",), ("sessions", "session_events", "links", "stories"), ("sessions",), _sessions),
    Stage("signals", ("events", "sessions"), ("signals", "embeddings", "exceptions"), ("signals-finding",), _signals),
    Stage("candidates", ("sessions", "stories", "signals"), ("candidates", "scores"), ("signals",), _candidates),
    Stage("verdicts", ("events", "sessions", "links", "signals", "candidates"), _JUDGED, ("judge",), _verdicts),
)


# ---- what is stale -------------------------------------------------------------------------------------------


def _fingerprint(run: Run, stage: Stage) -> str:
    left = [run.store.digest(name) for name in stage.needs]
    extra = [code_digest(), run.profile.section_digest(*stage.settings)]
    if stage.name == "signals":
        extra += [detector if isinstance(detector, str) else source_of(detector) for detector in run.detectors]
        extra += [files_digest(Path(path)) for path in (*run.profile.signals.rules, *run.profile.signals.exceptions)]
        extra.append(str(run.today) if run.profile.signals.exceptions else "")
    if stage.name == "candidates":
        extra.append(str(case_limits(run.profile)[0]))
    if stage.name == "verdicts":
        extra.append(f"{run.profile.evaluate.threshold} {sorted(run.profile.evaluate.thresholds.items())}")
        extra.append(files_digest(Path(run.profile.judge.prompt)) if run.profile.judge.prompt.endswith(".md") else "")
        # Labels become examples for models only; the baseline does not look at them.
        extra.append(run.store.digest("labels") if run.judge is not None or _asks_a_model(run.profile) else "")
        extra += [bytes_digest(path) for path in _replayed(run.profile)]
        extra.append(f"{run.judge.judge_id}:{run.judge.judge_version}" if run.judge is not None else "")
    return text_digest("\n".join([stage.name, *left, *extra]))


def _replayed(profile: Profile) -> list[Path]:
    """Return the files of recorded answers that the judges of a profile replay: more answers are more verdicts."""
    judges = (profile.judge, profile.judge.challenger)
    return [Path(judge.replay) for judge in judges if judge is not None and judge.judge == "replay" and judge.replay]


def _asks_a_model(profile: Profile) -> bool:
    challenger = profile.judge.challenger
    return profile.judge.judge != "baseline" or (challenger is not None and challenger.judge != "baseline")
