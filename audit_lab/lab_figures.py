"""What a Lab says of how well it works: evaluation, thresholds, probabilities, drift and experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from audit_lab.hashing import text_digest
from audit_lab.lab_people import PeopleVerbs

if TYPE_CHECKING:
    from audit_lab.calibrating import WarmUp
    from audit_lab.evaluate import Calibration, CostChoice, Costs, Evaluation, Promise, Rate


ASKED_DRIFT = "drift_was_asked"  # whether table drifts was made for a period or date that somebody named


class FigureVerbs(PeopleVerbs):
    """The verbs of evaluation, on top of those of review: what people said is what figures are made of."""

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

        What is not given is as the profile sets it (`drift.by`, `drift.since`).

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
            self.store.remember(ASKED_DRIFT, by is not None or since is not None)
        return found

    def _drift(self) -> pl.DataFrame:
        """Return what a report says of drift: as the profile sets it. A table that somebody asked for in other words stays in the lab."""
        from audit_lab.drifting import lab_drift  # noqa: PLC0415

        return lab_drift(self.store, self.profile) if self.store.remembered(ASKED_DRIFT) else self.drift()

    def experiment(self, grid: str | Path | Mapping[str, Any], progress: Callable[[int, int], None] | None = None) -> pl.DataFrame:
        """Run a grid of settings (a TOML file, or a dict of setting to values) and return the runs side by side.

        `lab.experiments` and `lab.metrics` keep them; only what a run changes is computed again.

        >>> lab.experiment({"signals.repeat": [0.4, 0.6], "evaluate.threshold": [0.4, 0.5]})   # doctest: +SKIP
        """
        from audit_lab.experiments import run_grid  # noqa: PLC0415

        return run_grid(self.store, self.profile, grid, datetime.now(UTC).date(), progress)

    def _evaluation(self) -> Evaluation | None:
        """Return what a report can say of how well it works: nothing without incidents, or where these sessions taught the threshold."""
        from audit_lab.evaluating import taught_all  # noqa: PLC0415

        if taught_all(self.store, self.profile) or not self.store.rows("incidents"):
            return None
        return self.evaluate()
