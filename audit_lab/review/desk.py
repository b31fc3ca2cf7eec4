"""The desk: one reviewer, one queue, one case at a time. Terminal and widget are faces of it.

A desk knows where the reviewer is, how long each case took, and what was said in this sitting. It keeps nothing by itself: each label goes
through `keep` at once, and only when that returns has it been said. Nothing is ever changed: undo adds a row that takes a label back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.review.claims import Claims, Held
from audit_lab.review.ledger import VERDICTS, WITHDRAWN, new_label
from audit_lab.review.queue import hide_blind
from audit_lab.review.view import blinded, plain
from audit_lab.visible import clean

# Cases that a reviewer goes back and forth between are not built anew each time.
VIEWS_KEPT = 16
EVENTS_KEPT = 50
# Who is unsure need not say why; every other verdict closes or raises something, and an auditor asks for the reason.
NEEDS_NO_REASON = ("unsure",)


def utc_now() -> datetime:
    """Return the present time, UTC: the desk's usual clock."""
    return datetime.now(UTC)


class Desk:
    """A reviewer's way through a queue.

    Parameters
    ----------
    queue
        What `build_queue` returned: one row per case, in the order of looking.
    case_view
        Gives everything a front end shows of a case: `case_view(case_id)` returns a dict as `review.view.case_view` does.
    author
        Who judges.
    clock
        Gives the present time with its time zone.
    keep
        Called with rows of table `labels` as they are said; raises `AuditLabError` where they could not be kept: then they were not said.
    originals
        `originals(event_ids)` returns the records as archived, masked, one dict each.
    labels
        Earlier labels of this author that stand: a case judged before is corrected, not judged twice.
    idle_minutes
        Longest pause between two acts that counts as time spent.
    claims
        Says to others which case lies here, and here what they have open: such cases come last, and say so. No label waits for them.

    Examples
    --------
    >>> desk = lab.desk("kim")                                       # doctest: +SKIP
    >>> desk.view()["summary"]                                       # doctest: +SKIP
    >>> desk.label("benign", "planned migration, CHG-1204", [0, 2])   # doctest: +SKIP
    >>> desk.undo()                                                  # doctest: +SKIP
    """

    def __init__(
        self,
        queue: pl.DataFrame,
        case_view: Callable[[str], dict[str, Any]],
        author: str,
        clock: Callable[[], datetime] = utc_now,
        *,
        keep: Callable[[pl.DataFrame], object] | None = None,
        originals: Callable[[Sequence[str]], list[dict[str, Any]]] | None = None,
        labels: pl.DataFrame | None = None,
        idle_minutes: float = 10.0,
        claims: Claims | None = None,
    ) -> None:
        if not author.strip():
            raise InputError("a desk without a name", "say who judges: --author NAME")
        self.author = author.strip()
        self._rows = {row["case_id"]: row for row in queue.iter_rows(named=True)}
        self._shown = {row["case_id"]: row for row in hide_blind(queue).iter_rows(named=True)}
        self._order = queue["case_id"].to_list()
        self._case_view, self._originals, self._keep = case_view, originals, keep
        self._clock, self._idle = clock, timedelta(minutes=idle_minutes)
        earlier = tables.empty("labels") if labels is None else labels
        mine = earlier.filter((pl.col("author") == self.author) & (pl.col("target_kind") == "case"))
        self._standing: dict[str, dict[str, Any]] = {row["target_id"]: row for row in mine.iter_rows(named=True)}
        self._said: list[tuple[str, dict[str, Any] | None]] = []
        self._kept: list[pl.DataFrame] = []
        self._skipped: set[str] = set()
        self._spent: dict[str, timedelta] = {}
        self._views: dict[str, dict[str, Any]] = {}
        self._claims = claims
        self._last_act = self._last_label = clock()
        held = self._held()
        self._current: str | None = None
        self._lay(next((case_id for case_id in self._order if case_id not in held), next(iter(self._order), None)))

    def __repr__(self) -> str:
        done = self.progress
        return f"Desk({self.author!r}: {done['n_done']} of {counted(done['n'], 'case')} labelled, {done['n_left']} left)"

    # ---- looking -----------------------------------------------------------------------------------------

    @property
    def current(self) -> str | None:
        """Case that lies on the desk; None when nothing is left."""
        return self._current

    @property
    def progress(self) -> dict[str, Any]:
        """Return n, n_done, n_left, n_skipped and minutes (spent on this sitting's cases), all JSON numbers."""
        done = sum(case_id in self._standing for case_id in self._order)
        minutes = sum(self._spent.values(), timedelta()).total_seconds() / 60
        return {"n": len(self._order), "n_done": done, "n_left": len(self._order) - done, "n_skipped": len(self._skipped),
                "minutes": round(minutes, 2)}

    @property
    def labels(self) -> pl.DataFrame:
        """Table `labels`: every row said in this sitting, withdrawals included, in order."""
        return pl.concat([tables.empty("labels"), *self._kept])

    def view(self) -> dict[str, Any]:
        """Return the case on the desk as one JSON object: what `case_view` gives, blinded where the case is blind, and

        `place`, `n`, `author`, `progress`, `label` (own standing label: verdict, reason, at, minutes, checks_done; else null), `claim` (who
        else has the case open: author, until; else null). With nothing left: case_id null, and only author, n, progress, label and claim.
        """
        self._tick()
        common = {"author": self.author, "n": len(self._order), "progress": self.progress, "label": None, "claim": None}
        case_id = self._current
        if case_id is None:
            return {"case_id": None, **common}
        view = self._view_of(case_id)
        # What the queue hides stays hidden whatever a view holds; the summary is that which `summary_by` and `omitted` speak of.
        return {**view, **self._public(case_id), "summary": view["summary"], **common, "label": self._label_of(case_id),
                "claim": self._claim_of(case_id)}

    def items(self) -> list[dict[str, Any]]:
        """Return the queue as rows for a list: its columns (null what a blind case hides), `verdict` where labelled, `is_skipped`."""
        return [
            {**self._public(case_id), "verdict": self._standing.get(case_id, {}).get("verdict"), "is_skipped": case_id in self._skipped}
            for case_id in self._order
        ]

    def originals(self, event_ids: Sequence[str] | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Return records of the case on the desk as they stand in the archives, masked; those that grounds cite where none are named.

        Raises
        ------
        InputError
            When an event is not of this case, or its archive is gone.
        """
        self._tick()
        if self._current is None or self._originals is None:
            return []
        events = self._view_of(self._current)["events"]
        known = [event["event_id"] for event in events]
        cited = [event["event_id"] for event in events if event["is_cited"]]
        wanted = list(event_ids) if event_ids is not None else cited or known
        for event_id in wanted:
            if event_id not in known:
                raise InputError(f"event '{event_id}' is not among those shown of this case", "name one of the view's events")
        return [dict(clean(record)) for record in self._originals(wanted[:limit])]

    # ---- judging -----------------------------------------------------------------------------------------

    def label(self, verdict: str, reason: str | None = None, checks_done: Sequence[int] = ()) -> dict[str, Any]:
        """Say what the case is, keep it, and go on to the next one.

        Parameters
        ----------
        verdict
            malicious, benign, benign-but-suspicious or unsure.
        reason
            Why; only `unsure` needs none.
        checks_done
            Places (from 0) of the view's checks that were done.

        Returns
        -------
        The label as a JSON object (row of table `labels`).

        Raises
        ------
        InputError
            When nothing lies on the desk, the verdict is unknown, a reason is missing, or there is no such check.
        LabError
            When the lab could not keep it: nothing has been said, say it again.
        """
        self._tick()
        case_id = self._current
        if case_id is None:
            raise InputError("nothing lies on the desk", "the queue is done; undo, or go to a case")
        if verdict not in VERDICTS:
            raise InputError(f"no verdict '{verdict}'", f"one of: {', '.join(VERDICTS)}")
        text = (reason or "").strip()
        if not text and verdict not in NEEDS_NO_REASON:
            raise InputError(f"'{verdict}' without a reason", "a few words: a ticket, who confirmed it, what gave it away")
        before = self._standing.get(case_id)
        row = self._row(case_id, verdict, text or None, list(checks_done), before)
        self._hand_over([row])
        self._said.append((case_id, before))
        self._standing[case_id] = row.row(0, named=True)
        self._skipped.discard(case_id)
        self._advance()
        return dict(plain(row.row(0, named=True)))

    def undo(self) -> str | None:
        """Take the last label of this sitting back and return its case, which lies on the desk again; None where there is none.

        What the author had said of the case before stands again: as a new row, for the ledger is only added to.
        """
        self._tick()
        if not self._said:
            return None
        case_id, before = self._said[-1]
        last = self._standing[case_id]
        rows = [new_label(
            "case", case_id, WITHDRAWN, self.author, self._now(), session_id=last["session_id"], replaces=last["label_id"])]
        if before is not None:
            rows.append(new_label(
                "case", case_id, before["verdict"], self.author, self._now(), reason=before["reason"], session_id=before["session_id"],
                event_ids=before["event_ids"], minutes=before["minutes"], blind=before["blind"], checks_done=before["checks_done"],
                sampling_probability=before["sampling_probability"]))
        self._hand_over(rows)
        self._said.pop()
        if before is None:
            del self._standing[case_id]
        else:
            self._standing[case_id] = rows[1].row(0, named=True)
        self._lay(case_id)
        return case_id

    def skip(self) -> str | None:
        """Put the case aside (it comes again when the others are done) and return the next one."""
        self._tick()
        if self._current is not None and self._current not in self._standing:
            self._skipped.add(self._current)
        self._advance()
        return self._current

    def go(self, case_id: str) -> str:
        """Take a case of the queue onto the desk, by its id (its beginning is enough) or its place, and return its id.

        Raises
        ------
        InputError
            When the queue has no such case, or several.
        """
        self._tick()
        wanted = str(case_id)
        found = [item for item in self._order if item.startswith(wanted)] if wanted else []
        if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(self._order):
            found = [self._order[int(wanted) - 1]]
        if len(found) != 1:
            raise InputError(f"{'more than one' if found else 'no'} case '{wanted}' in this queue", "give a place or more of its id")
        self._lay(found[0])
        return found[0]

    def close(self) -> None:
        """Leave the desk: what lies on it is free for others at once. Opened again by the next act."""
        if self._claims is not None:
            self._claims.free()

    # ---- inside ------------------------------------------------------------------------------------------

    def _row(self, case_id: str, verdict: str, reason: str | None, checks_done: list[int], before: dict[str, Any] | None) -> pl.DataFrame:
        row, view = self._rows[case_id], self._view_of(case_id)
        checks = view["checks"]
        wrong = [place for place in checks_done if not 0 <= place < len(checks)]
        if wrong:
            raise InputError(f"no check {wrong[0]}", f"the case has {len(checks)}, counted from 0")
        carried = [event["event_id"] for event in view["events"] if event["is_cited"] or event["is_hit"]]
        return new_label(
            "case", case_id, verdict, self.author, self._now(), reason=reason,
            # A story's label speaks of several sessions: which ones follows from its events (`spread_case_labels`).
            session_id=row["session_ids"][0] if len(row["session_ids"]) == 1 else None,
            event_ids=carried[:EVENTS_KEPT], minutes=round(self._spent.get(case_id, timedelta()).total_seconds() / 60, 3),
            blind=row["is_blind"], replaces=before["label_id"] if before else None,
            checks_done=[checks[place] for place in sorted(set(checks_done))], sampling_probability=row["sampling_probability"],
        )

    def _hand_over(self, rows: list[pl.DataFrame]) -> None:
        frame = pl.concat(rows)
        if self._keep is not None:
            self._keep(frame)
        self._kept.append(frame)

    def _advance(self) -> None:
        """Go to the next case that is open: after this one, then from the beginning, then those put aside, then those of others."""
        at = self._order.index(self._current) + 1 if self._current in self._rows else 0
        ring = [case_id for case_id in self._order[at:] + self._order[:at] if case_id not in self._standing]
        held = self._held()
        free = [case_id for case_id in ring if case_id not in held]
        fresh = [case_id for case_id in free if case_id not in self._skipped]
        if not fresh:
            self._skipped.clear()
        self._lay(next(iter(fresh or free or ring), None))

    def _lay(self, case_id: str | None) -> None:
        """Put a case onto the desk, and say so to others."""
        self._current = case_id
        if self._claims is not None and case_id is not None:
            self._claims.take(case_id)
        else:
            self.close()

    def _held(self) -> dict[str, Held]:
        return {} if self._claims is None else self._claims.others()

    def _claim_of(self, case_id: str) -> dict[str, Any] | None:
        held = self._held().get(case_id)
        return None if held is None else dict(clean(plain(held._asdict())))

    def _tick(self) -> None:
        """Count the time since the last act for the case on the desk; a pause counts as `idle_minutes` at most."""
        now = self._clock()
        if self._current is not None:
            passed = max(timedelta(), min(now - self._last_act, self._idle))
            self._spent[self._current] = self._spent.get(self._current, timedelta()) + passed
            if self._claims is not None:
                self._claims.take(self._current)
        self._last_act = now

    def _now(self) -> datetime:
        """Return the time of a label: later than that of the one before, for ids are made of it."""
        self._last_label = max(self._clock(), self._last_label + timedelta(microseconds=1))
        return self._last_label

    def _view_of(self, case_id: str) -> dict[str, Any]:
        if case_id not in self._views:
            made, row = self._case_view(case_id), self._rows[case_id]
            while len(self._views) >= VIEWS_KEPT:
                del self._views[next(iter(self._views))]
            self._views[case_id] = blinded(made, clean(plain(row["summary"]))) if row["is_blind"] else made
        return self._views[case_id]

    def _public(self, case_id: str) -> dict[str, Any]:
        return dict(clean(plain(self._shown[case_id])))

    def _label_of(self, case_id: str) -> dict[str, Any] | None:
        row: Mapping[str, Any] | None = self._standing.get(case_id)
        return None if row is None else dict(clean(plain({
            name: row[name] for name in ("verdict", "reason", "at", "minutes", "checks_done")})))
