"""Lab: one folder of tables, and the verbs of the flow. A thin face over store and pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import __version__, tables
from audit_lab.archive import IngestResult, blind_spots, ingest_archives, make_ledger, require_balance, volume
from audit_lab.asking import ask
from audit_lab.cases import case_prompt, compare_judges, export_questions, find_case, imported_fit, probe_judge, read_originals, with_judge
from audit_lab.digests import code_digest
from audit_lab.errors import InputError
from audit_lab.holdings import answers_folder
from audit_lab.judge import AnswersFit, Judge, import_answers
from audit_lab.lab_figures import FigureVerbs
from audit_lab.likeness import like_session
from audit_lab.pipeline import (
    DEFAULT_DETECTORS,
    Run,
    run_stages,
    stale_stages,
)
from audit_lab.profile import Profile
from audit_lab.profile_files import load_profile, restored_profile
from audit_lab.signals import Detector, check_rules, coverage_matrix, exceptions_toml, load_rules
from audit_lab.store import Store

_DETAILS = ("precision_recall", "histogram", "session_scores", "incident_rows")
_REPORTED = (
    "archives", "quarantine", "sessions", "session_events", "links", "stories", "signals", "candidates", "scores", "verdicts", "egress",
    "incidents",
)


class Lab(FigureVerbs):
    """A folder that holds everything: tables as Parquet, one manifest, answers of models.

    Parameters
    ----------
    root
        The lab's folder; made by the first ingest.
    profile
        Settings: a name ('default', 'sample'), a TOML file, or a Profile. When none is given: those of the lab's last run, or 'default'.

    Every table of DESIGN is an attribute and gives a Polars LazyFrame: `lab.events`, `lab.sessions`, …

    Examples
    --------
    >>> lab = Lab("lab", profile="sample")          # doctest: +SKIP
    >>> lab.ingest("data")                          # doctest: +SKIP
    >>> lab.run()                                   # doctest: +SKIP
    >>> lab.sessions.filter(pl.col("n_exec") > 0).collect()   # doctest: +SKIP
    """

    def __init__(self, root: str | Path = "lab", profile: str | Path | Profile | None = None) -> None:
        self.store = Store(root)
        if profile is None and self.store.remembered("profile") is not None:
            self.profile = restored_profile(self.store.remembered("profile"))
        else:
            self.profile = profile if isinstance(profile, Profile) else load_profile(profile)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {self.store.rows(name):,}" for name in ("events", "sessions", "candidates", "verdicts"))
        return f"Lab({str(self.store.root)!r}: {counts})"

    def __getattr__(self, name: str) -> pl.LazyFrame:
        if name in tables.TABLES:
            return self.store.scan(name)
        raise AttributeError(f"a lab has no '{name}'; its tables are {', '.join(tables.TABLES)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *tables.TABLES]

    # ---- the flow ----------------------------------------------------------------------------------------

    def ingest(
        self, *sources: str | Path, cluster: str | None = None, progress: Callable[[Path, int, int], None] | None = None
    ) -> IngestResult:
        """Read archives (files, folders, globs) into table events. What was read before changes nothing.

        Raises
        ------
        InputError
            When a source does not exist, or no file could be read.
        LedgerError
            When an archive's account does not balance.
        """
        result = ingest_archives(
            self.store, list(sources), self.profile.archive, cluster=cluster, now=datetime.now(UTC), progress=progress
        )
        require_balance(self.ledger())
        return result

    def run(
        self, *, until: str | None = None, detectors: Sequence[str | Detector] = DEFAULT_DETECTORS, judge: Judge | None = None,
        force: bool = False, progress: Callable[[str, int, int], None] | None = None,
    ) -> Run:
        """Run every stale stage. `detectors=[*DEFAULT_DETECTORS, mine]` adds a plain function of yours.

        Returns
        -------
        Run
            `made`: the stages that ran; `notes`: one line for each thing that was left out, and what would add it.
        """
        run = Run(self.store, self.profile, detectors, judge, progress, datetime.now(UTC).date())
        return run_stages(run, until=until, force=force)

    def export_prompts(self, path: str | Path, *, batch_model: str = "", for_cloud: bool = False) -> int:
        """Write the question about every candidate to a file, one JSON line each, to be answered elsewhere; return how many.

        With `batch_model` the lines have the form that batch services take; `for_cloud` leaves out the cases that must stay in the house.
        Nobody is asked: candidates are enough.
        """
        self._need("candidates")
        return export_questions(self.store, self.profile, Path(path), batch_model=batch_model, for_cloud=for_cloud)

    def import_answers(self, path: str | Path) -> int:
        """Keep answers that were given elsewhere (JSON lines) for the judge 'replay'; return how many were new."""
        self._need("candidates")
        return import_answers(Path(path), answers_folder(self.store))

    def imported_fit(self, path: str | Path) -> AnswersFit:
        """Return how many of the lab's questions have an imported answer by now, and what of this file was of no use; after a run."""
        self._need("evidence")
        return imported_fit(self.store, self.profile, Path(path))

    def compare(self, first: str = "champion", second: str = "challenger") -> tuple[dict[str, Any], pl.DataFrame]:
        """Compare two judges on the same candidates, in numbers and case by case; without names, the verdicts with those in shadow.

        Answers are kept and reused. With labels, `paired` says whether the difference is more than chance.
        """
        self._need("verdicts")
        return compare_judges(self.store, self.profile, first, second)

    def probe(self, *, accept: bool = False) -> pl.DataFrame:
        """Ask the model of the profile fixed questions and say whether it was changed behind its name; `accept` takes it as it is now."""
        return probe_judge(self.store, self.profile, accept=accept)

    def with_judge(self, **changes: Any) -> Profile:
        """Return the profile with some settings of section judge changed (None leaves a setting as it is)."""
        return with_judge(self.store, self.profile, **changes)

    def stale(self) -> list[str]:
        """Return the stages that the next run would do."""
        return stale_stages(Run(self.store, self.profile, today=datetime.now(UTC).date()))

    def report(self, out: str | Path = "reports", *, period: str | None = None, lang: str = "en", now: datetime | None = None) -> Path:
        """Write the report as one HTML file into folder `out` and return its path."""
        # Drawing packages take seconds to import: only a report pays for them.
        from audit_lab.calibrating import promised_thresholds  # noqa: PLC0415
        from audit_lab.drifting import drift_alarms  # noqa: PLC0415
        from audit_lab.evaluating import CALIBRATION  # noqa: PLC0415
        from audit_lab.govern import ReportInput, write_report  # noqa: PLC0415

        if period is not None and not re.fullmatch(r"[\w.-]{1,40}", period):
            raise InputError(f"'{period}' is no period", "letters, digits, '.', '_' and '-', e.g. 2026-11")
        self._need("verdicts")
        evaluation = self._evaluation()
        moved = self._drift()
        events = self.store.read("events")
        first: datetime = events["time"].min()  # type: ignore[assignment]
        name = period or first.strftime("%Y-%m")
        data = ReportInput(
            period=name,
            generated_at=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
            profile=self.profile,
            events=events,
            evaluation=evaluation.as_dict() if evaluation else None,
            details={name: getattr(evaluation, name) for name in _DETAILS} if evaluation else None,
            promises=promised_thresholds(self.store, self.profile, evaluation),
            calibrator=self.store.remembered(CALIBRATION),
            blind=blind_spots(events).to_dicts(),
            versions=self.versions(),
            lang=lang,
            labels=self.standing_labels(),
            drifts=moved,
            drift_alarms=drift_alarms(moved),
            **{table: self.store.read(table) for table in _REPORTED},
        )
        return write_report(data, Path(out) / f"audit-lab-{name}.html")

    # ---- looking -----------------------------------------------------------------------------------------

    def sql(self, query: str) -> pl.DataFrame:
        """Return the result of a DuckDB query over the lab's tables; it can read nothing else and write nothing.

        Raises
        ------
        InputError
            When the query is wrong.
        """
        return ask(self.store, query)

    def ledger(self) -> pl.DataFrame:
        """Return the account of every archive (law 3); column `balanced` says whether it balances."""
        return make_ledger(
            self.store.read("archives"),
            self.store.scan("events").select("archive_id").collect(),
            self.store.scan("quarantine").select("archive_id").collect(),
        )

    def blind(self) -> pl.DataFrame:
        """Return what these archives cannot show, and why."""
        return blind_spots(self.store.read("events"))

    def volume(self, top: int = 20) -> pl.DataFrame:
        """Return what makes the volume: the largest groups of actor, verb and resource."""
        return volume(self.store.scan("events").select("actor", "verb", "resource", "subresource").collect(), top)

    def case(self, case_or_session: str) -> dict[str, Any]:
        """Return all that is known of a case or a session: case, sessions, signals, evidence, verdicts, events.

        Raises
        ------
        InputError
            When nothing has that id (the beginning of one is enough, if it is unique).
        """
        return find_case(self.store, case_or_session)

    def nearest(self, session_id: str, k: int = 5) -> pl.DataFrame:
        """Return the `k` earlier sessions of its kind, and the `k` labelled ones of earlier time, that read most like a session.

        Columns: `sort` ('earlier' or 'labelled'), `session_id`, `distance` (1 − cosine), `is_same_user`, `verdict`, `summary`. No rows
        where nothing was embedded.
        """
        return like_session(self.store, session_id, k)

    def check_rules(self) -> pl.DataFrame:
        """Return, per rule, whether it is evaluable or blind on these data and why, its hits, sessions and runtime."""
        self._need("session_events")
        return check_rules(load_rules(self.profile.signals.rules), self.store.read("events"), self.store.read("session_events"))

    def rule_coverage(self) -> pl.DataFrame:
        """Return the matrix of known behaviours and the rules that cover them; with data, which are blind on them."""
        checks = self.check_rules() if self.store.rows("session_events") else None
        return coverage_matrix(load_rules(self.profile.signals.rules), checks)

    def tune_rules(self, until: datetime, min_sessions: int = 5) -> tuple[pl.DataFrame, str]:
        """Return proposals of exceptions from sessions and labels before `until`, and the proposed ones as TOML text."""
        from audit_lab.proposing import tuned_exceptions  # noqa: PLC0415 - scikit-learn takes a second to import

        self._need("signals")
        proposals = tuned_exceptions(self.store, self.profile, until, min_sessions)
        return proposals, exceptions_toml(proposals)

    def why_unchecked(self, until: datetime) -> str | None:
        """Say, where no label of work before `until` is malicious, that proposals of exceptions could not be checked, and what to run."""
        from audit_lab.proposing import why_unchecked  # noqa: PLC0415 - scikit-learn takes a second to import

        return why_unchecked(self.store, until)

    def prompt(self, case: str) -> str:
        """Return exactly what a language model would be shown of a case."""
        return case_prompt(self.store, self.profile, case)

    def originals(self, case_or_session: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return the records of a case or session as they stand in the archives, masked, at most `limit`."""
        return read_originals(self.store, case_or_session, limit)

    def versions(self) -> dict[str, str]:
        """Return the versions behind the figures: package, code and rules, settings, judge."""
        judges = self.store.read("verdicts").select("judge_id", "judge_version").unique().sort("judge_id")
        return {
            "audit-lab": __version__, "code and rules": code_digest()[:16], "profile": f"{self.profile.name} {self.profile.digest[:16]}",
            "embedding model": self.profile.signals.model if self.store.rows("embeddings") else "none",
            **{f"judge {judge}": version for judge, version in judges.iter_rows()},
        }

    def summary(self) -> dict[str, Any]:
        """Return the flow as numbers: rows of each table, tokens and cost of the verdicts."""
        verdicts = self.store.read("verdicts")
        flow = ("archives", "quarantine", "events", "sessions", "signals", "candidates", "verdicts")
        counted = {name: self.store.rows(name) for name in flow}
        # A verdict for which nothing was sent costs nothing; a call without a known price makes the sum unknown.
        tokens = verdicts["tokens_in"] + verdicts["tokens_out"]
        priced = verdicts.filter(tokens > 0)["cost_usd"]
        return counted | {"tokens": int(tokens.sum()), "cost_usd": None if priced.null_count() else float(priced.sum())}
