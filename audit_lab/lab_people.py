"""What a Lab does for people: review, labels, findings for other systems, and proposals from what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from audit_lab.errors import LabError
from audit_lab.exporting import export_findings
from audit_lab.holdings import standing_labels
from audit_lab.profile import Profile
from audit_lab.review import EVENT_COLUMNS, Desk, append_labels, hide_blind, label_sessions, read_incidents
from audit_lab.reviewing import add_labels, import_labels, open_desk, review_agreement, review_queue
from audit_lab.store import Store

if TYPE_CHECKING:
    from audit_lab.review.widget import ReviewWidget


class PeopleVerbs:
    """The verbs of review; `Lab` has them beside those of the flow."""

    store: Store
    profile: Profile

    def review_queue(self, author: str | None = None, *, cases: Sequence[str] = (), everything: bool = False) -> pl.DataFrame:
        """Return the cases to look at, in order: alerts by priority, audits among them; the score is null where a case is blind.

        `cases` come first, whatever was said of them before.
        """
        self._need("verdicts")
        return hide_blind(review_queue(self.store, self.profile, author, include=cases, everything=everything))

    def desk(self, author: str, *, cases: Sequence[str] = (), everything: bool = False, limit: int | None = None) -> Desk:
        """Return a desk (docs/review.md): `author`'s way through the queue, case by case; labels are in the lab as they are said.

        `cases` come first, whatever was said of them before; `everything` adds chosen cases below the line.
        """
        self._need("verdicts")
        return open_desk(self.store, self.profile, author, include=cases, everything=everything, limit=limit)

    def review_widget(self, author: str, *, cases: Sequence[str] = (), everything: bool = False, limit: int | None = None) -> ReviewWidget:
        """Return the same desk as a notebook widget, to be judged at with the keyboard; labels are in the lab as they are said.

        Raises
        ------
        MissingExtraError
            When the extra 'notebook' is not installed.
        """
        from audit_lab.review.widget import ReviewWidget  # noqa: PLC0415 - only notebooks have what it needs

        return ReviewWidget(self.desk(author, cases=cases, everything=everything, limit=limit))

    def add_labels(self, labels: pl.DataFrame) -> None:
        """Add rows of table labels to the ledger: what is there stays as it is. Safe beside a run and other reviewers."""
        add_labels(self.store, labels)

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
        events = self.store.scan("events").select(EVENT_COLUMNS).collect()
        labels = label_sessions(incidents, read("sessions"), read("session_events"), events)
        with self.store.writing(), self.store.appending("labels"):
            kept = append_labels(read("labels"), labels)
            self.store.replace_many({"labels": (kept, str(path)), "incidents": (incidents, str(path))})
        return labels

    def standing_labels(self) -> pl.DataFrame:
        """Return the labels that stand, speak of sessions that the lab has now, and, if of incidents, of those of the last file."""
        return standing_labels(self.store)

    def agreement(self) -> dict[str, Any]:
        """Return how far people agree who judged the same: Cohen's kappa per pair, Krippendorff's alpha of all, where they differ."""
        return review_agreement(self.store)

    def export_findings(
        self, shape: str, to: str | Path | None = None, *, closed: bool | None = None, now: datetime | None = None
    ) -> tuple[str, list[Path], int]:
        """Write findings as 'ocsf', 'tickets-md' or 'tickets-json'; return the text, the files written, and the number of findings.

        `closed`: also those that people called benign; when not given, in ocsf only.
        """
        self._need("verdicts")
        return export_findings(
            self.store, self.profile, shape, None if to is None else Path(to), now or datetime.now(UTC), closed=closed)

    def feedback(self) -> dict[str, pl.DataFrame]:
        """Hold what people decided against what rules and judges said: false-positive ratios, repeated mistakes, pull of the score."""
        from audit_lab.proposing import lab_feedback  # noqa: PLC0415

        self._need("verdicts")
        return lab_feedback(self.store, self.profile)

    def propose_release(self, author: str, *, now: datetime | None = None, **learning: Any) -> tuple[pl.DataFrame, list[str]]:
        """Write down what follows from people's decisions as proposals, changing nothing; return those that stand, and notes.

        `learning`: until, max_fpr, confidence (`proposing.propose_release`).
        """
        from audit_lab.proposing import propose_release  # noqa: PLC0415

        self._need("verdicts")
        return propose_release(self.store, self.profile, author, now or datetime.now(UTC), **learning)

    def standing_proposals(self) -> pl.DataFrame:
        """Return the proposals for a release that stand; `lab.proposals` has all that was ever written down."""
        from audit_lab.govern.proposals import standing_proposals  # noqa: PLC0415

        return standing_proposals(self.store.read("proposals"))

    def _need(self, name: str) -> None:
        if self.store.inputs(name) is None:
            raise LabError(f"lab '{self.store.root}' has no {name} yet", "audit-lab ingest PATH, then audit-lab run")
