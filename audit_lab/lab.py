"""Lab: one folder of tables, and the verbs of the flow. A thin face over store and pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from audit_lab import __version__, tables
from audit_lab.archive import IngestResult, blind_spots, ingest_archives, make_ledger, require_balance, volume
from audit_lab.asking import ask
from audit_lab.cases import case_prompt, compare_judges, export_questions, find_case, probe_judge, read_originals, with_judge
from audit_lab.errors import InputError
from audit_lab.hashing import text_digest
from audit_lab.judge import Judge, import_answers
from audit_lab.lab_people import PeopleVerbs
from audit_lab.pipeline import (
    DEFAULT_DETECTORS,
    Run,
    answers_folder,
    code_digest,
    run_stages,
    stale_stages,
    standing_labels,
)
from audit_lab.profile import Profile, load_profile
from audit_lab.review import append_labels, label_sessions, read_incidents
from audit_lab.reviewing import import_labels
from audit_lab.signals import Detector, check_rules, coverage_matrix, exceptions_toml, load_rules, propose_exceptions
from audit_lab.store import Store

if TYPE_CHECKING:
    from audit_lab.calibrating import WarmUp
    from audit_lab.evaluate import Calibration, CostChoice, Costs, Evaluation, Promise, Rate

_DETAILS = ("precision_recall", "histogram", "session_scores", "incident_rows")
_REPORTED = (
    "archives", "quarantine", "sessions", "session_events", "links", "stories", "signals", "candidates", "scores", "verdicts", "egress",
    "incidents",
)


class Lab(PeopleVerbs):
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
            self.profile = Profile.model_validate(self.store.remembered("profile"))
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
        """
        self._need("verdicts")
        return export_questions(self.store, self.profile, Path(path), batch_model=batch_model, for_cloud=for_cloud)

    def import_answers(self, path: str | Path) -> int:
        """Keep answers that were given elsewhere (JSON lines) for the judge 'replay'; return how many were new."""
        self._need("verdicts")
        return import_answers(Path(path), answers_folder(self.store))

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

    def label(self, path: str | Path) -> pl.DataFrame:
        """Add the labels of an incident file (JSON lines) or of people (a CSV file, docs/review.md) and return them.

        Nothing is taken away, and a file read again changes nothing.
        """
        if Path(path).suffix.lower() == ".csv":
            self._need("candidates")
            return import_labels(self.store, path)
        incidents = read_incidents(path)
        self._need("sessions")
        read = self.store.read
        labels = label_sessions(incidents, read("sessions"), read("session_events"), read("events"))
        with self.store.writing(), self.store.appending("labels"):
            kept = append_labels(read("labels"), labels)
            self.store.replace_many({"labels": (kept, str(path)), "incidents": (incidents, str(path))})
        return labels

    def standing_labels(self) -> pl.DataFrame:
        """Return the labels that stand, speak of sessions that the lab has now, and, if of incidents, of those of the last file."""
        return standing_labels(self.store)

    def evaluate(
        self, incidents: str | Path | None = None, *, split: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Evaluation:
        """Compare what was flagged with an incident file, or with the labels that are in the lab; `lab.metrics` keeps the figures.

        `since` and `until` take only sessions that start then or later, and end before; with `evaluate.learnt_until` only later ones count.
        """
        from audit_lab.evaluating import evaluate_lab, keep_metrics  # noqa: PLC0415 - scikit-learn takes a second to import

        if incidents is not None:
            self.label(incidents)
        self._need("verdicts")
        result = evaluate_lab(self.store, self.profile, split=split, since=since, until=until)
        keep_metrics(self.store, result.metrics, datetime.now(UTC))
        return result

    def ladder(self, alerts_per_day: int | None = None) -> pl.DataFrame:
        """Return what each stage adds when every one may raise the same number of alerts; rungs of models that have not run are null."""
        from audit_lab.evaluating import climb, keep_metrics, ladder_rows  # noqa: PLC0415

        rungs = climb(self.store, self.profile, alerts_per_day)
        result = self.evaluate()
        keep_metrics(self.store, pl.concat([result.metrics, ladder_rows(result, rungs)]), datetime.now(UTC))
        return rungs

    def injection(self) -> Rate:
        """Judge the lab's findings again with injected text in what clients write; return the share that it talked the judge out of."""
        from audit_lab.evaluating import keep_metrics, rate_rows  # noqa: PLC0415
        from audit_lab.injecting import injection_run  # noqa: PLC0415

        found, result = injection_run(self.store, self.profile), self.evaluate()
        keep_metrics(self.store, rate_rows(result, "judge", "case", "injection_success", found), datetime.now(UTC))
        return found

    def history(self) -> pl.DataFrame:
        """Return how recall and false-positive rate changed with the versions of judge, prompt, rules and settings."""
        from audit_lab.evaluating import history  # noqa: PLC0415

        return history(self.store.read("metrics"))

    def calibrate(
        self, max_fpr: float | None = None, confidence: float = 0.95, scorer: str = "all", *, before: datetime | None = None, **goal: Any
    ) -> Promise:
        """Return a threshold that keeps a promise with probability `confidence`, or why there is none and how much data it would need.

        The goal is one of `max_fpr` (share of benign actors flagged), `min_recall` (of malicious incidents), `min_precision` (of flagged
        actors), `alerts_per_day`, `max_usd_per_day` (with `costs`); see docs/evaluation.md. Calibrate on earlier time (`before`) than you
        use it on. `threshold_proposal(promise, lab.profile)` says what to set.
        """
        from audit_lab.calibrating import calibrate_lab  # noqa: PLC0415

        self._need("verdicts")
        return calibrate_lab(self.store, self.profile, before, max_fpr=max_fpr, confidence=confidence, scorer=scorer, **goal)

    def cheapest(
        self, review_minute: float, missed_incident: float, *, minutes_per_alert: float | None = None, scorer: str = "all",
        before: datetime | None = None,
    ) -> CostChoice:
        """Return the threshold of least cost, reviews and missed incidents together, with an interval and what costs nearly as little."""
        from audit_lab.calibrating import cheapest_in_lab  # noqa: PLC0415

        self._need("verdicts")
        return cheapest_in_lab(self.store, self.profile, review_minute, missed_incident, before, minutes_per_alert, scorer)

    def costs(self, review_minute: float, missed_incident: float, minutes_per_alert: float | None = None) -> Costs:
        """Return what a look and a missed incident cost; minutes as people recorded them, else as the profile says."""
        from audit_lab.calibrating import costs_of  # noqa: PLC0415

        return costs_of(self.store, self.profile, review_minute, missed_incident, minutes_per_alert)

    def at_threshold(
        self, threshold: float, scorer: str = "all", *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, Any]:
        """Return what a threshold would have flagged: sessions, incidents found, benign actors."""
        from audit_lab.calibrating import at_threshold  # noqa: PLC0415

        return at_threshold(self.store, self.profile, threshold, scorer, since, until)

    def warm_up(self, max_fpr: float, confidence: float = 0.95, *, before: datetime | None = None) -> WarmUp:
        """Return the threshold to use until labels carry a promise: low first, tightening with every labelled actor."""
        from audit_lab.calibrating import warm_up  # noqa: PLC0415

        return warm_up(self.store, self.profile, self.calibrate(max_fpr, confidence, before=before), before)

    def group_thresholds(
        self, by: str | dict[str, str] = "cluster", max_fpr: float = 0.05, confidence: float = 0.95, *, before: datetime | None = None
    ) -> pl.DataFrame:
        """Return a threshold per cluster, kind of actor or team (a dict actor -> team), shrunk to the common one where data are few."""
        from audit_lab.calibrating import groups_in_lab  # noqa: PLC0415

        self._need("verdicts")
        return groups_in_lab(self.store, self.profile, by, max_fpr, confidence, before=before)

    def calibration(self, *, before: datetime | None = None, scorer: str = "all", method: str = "auto") -> Calibration:
        """Learn from labels of earlier time what scores mean, and remember it: later evaluations show both, cases their probability.

        None below the floors of labels, with the reason; then scores and threshold stay as they are.
        """
        from audit_lab.calibrating import learn_probabilities  # noqa: PLC0415

        self._need("verdicts")
        return learn_probabilities(self.store, self.profile, before, scorer, method)

    def drift(self, by: str | None = None, since: date | None = None) -> pl.DataFrame:
        """Compare later weeks (or days) with the first ones, or with those before `since`: what changed, how much, since when.

        Returns
        -------
        Table `drifts`, which the lab keeps: `alarm` is true where a difference is more than chance and large enough (profile, section
        drift). Where nothing can be compared its rows say why.
        """
        from audit_lab.drifting import lab_drift  # noqa: PLC0415

        self._need("verdicts")
        found = lab_drift(self.store, self.profile, by, since)
        with self.store.writing():
            self.store.replace("drifts", found, text_digest(f"{by} {since} {self.profile.section_digest('drift')}"))
        return found

    def experiment(self, grid: str | Path | Mapping[str, Any], progress: Callable[[int, int], None] | None = None) -> pl.DataFrame:
        """Run a grid of settings (a TOML file, or a dict of setting to values) and return the runs side by side.

        `lab.experiments` and `lab.metrics` keep them; only what a run changes is computed again.

        >>> lab.experiment({"signals.repeat": [0.4, 0.6], "evaluate.threshold": [0.4, 0.5]})   # doctest: +SKIP
        """
        from audit_lab.experiments import run_grid  # noqa: PLC0415

        return run_grid(self.store, self.profile, grid, datetime.now(UTC).date(), progress)

    def report(self, out: str | Path = "reports", *, period: str | None = None, lang: str = "en", now: datetime | None = None) -> Path:
        """Write the report as one HTML file into folder `out` and return its path."""
        # Drawing packages take seconds to import: only a report pays for them.
        from audit_lab.drifting import drift_alarms  # noqa: PLC0415
        from audit_lab.govern import ReportInput, write_report  # noqa: PLC0415

        if period is not None and not re.fullmatch(r"[\w.-]{1,40}", period):
            raise InputError(f"'{period}' is no period", "letters, digits, '.', '_' and '-', e.g. 2026-11")
        self._need("verdicts")
        evaluation = self._evaluation()
        moved = self.drift()
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
            blind=blind_spots(events).to_dicts(),
            versions=self.versions(),
            lang=lang,
            labels=self.standing_labels(),
            drifts=moved,
            drift_alarms=drift_alarms(moved),
            **{table: self.store.read(table) for table in _REPORTED},
        )
        return write_report(data, Path(out) / f"audit-lab-{name}.html")

    def _evaluation(self) -> Evaluation | None:
        """Return what a report can say of how well it works: nothing without incidents, or where these sessions taught the threshold."""
        learnt, last = self.profile.evaluate.learnt_until, self.store.scan("sessions").select(pl.col("start").max()).collect().item()
        taught = learnt is not None and (last is None or last <= learnt)
        return None if taught or not self.store.rows("incidents") else self.evaluate()

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
        self._need("signals")
        read = self.store.read
        proposals = propose_exceptions(
            load_rules(self.profile.signals.rules), read("signals"), read("events"), read("sessions"), read("session_events"),
            self.standing_labels(), until, min_sessions,
        )
        return proposals, exceptions_toml(proposals)

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
