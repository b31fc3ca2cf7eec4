"""A challenger in shadow: it judges what the champion judges, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.errors import AuditLabError, JudgeError
from audit_lab.judge.judging import Judge, make_judge
from audit_lab.judge.outstanding import unanswered_note
from audit_lab.judge.verdicts import CHALLENGER, JudgeTables
from audit_lab.profile import ChallengerSettings, JudgeSettings


class Shadowed(NamedTuple):
    """What became of a challenger: table shadow_verdicts, what there is to say about it, and whether another run has more to ask it."""

    verdicts: pl.DataFrame
    notes: list[str]
    pending: bool = False


def judge_in_shadow(settings: JudgeSettings, folder: Path | None, judge: Callable[[Judge], pl.DataFrame]) -> Shadowed:
    """Let the profile's challenger judge by `judge`; whatever befalls it becomes a note and harms nobody else.

    Parameters
    ----------
    settings, folder
        Section judge of the profile; where answers are kept.
    judge
        Takes the challenger and returns its verdicts, checked.
    """
    if settings.challenger is None:
        return Shadowed(tables.empty("shadow_verdicts"), [])
    challenger: Any = None
    try:
        challenger = make_challenger(settings, folder)
        verdicts = tables.check(judge(challenger), "shadow_verdicts")
        left = unanswered_note(verdicts, challenger.pending)
        notes = [f"challenger: {note}" for note in [*challenger.notes, *([left] if left else [])]]
        return Shadowed(verdicts, notes, bool(challenger.pending))
    except Exception as error:
        why = str(error) if isinstance(error, AuditLabError) else f"{type(error).__name__}: {error}".splitlines()[0]
        said: JudgeTables | None = getattr(error, "tables", None)
        kept = tables.empty("shadow_verdicts") if said is None else _renamed(said).verdicts
        return Shadowed(kept, [f"challenger: {why}"], bool(challenger is not None and challenger.pending))
    finally:
        if challenger is not None:
            challenger.close()


def make_challenger(settings: JudgeSettings, folder: Path | None = None) -> Judge:
    """Return the judge in shadow that section judge.challenger of a profile describes; whatever it is, its name is 'challenger'.

    Raises
    ------
    JudgeError, MissingExtraError
        When the section is missing, names no usable endpoint, or the package for it is not installed.
    """
    if settings.challenger is None:
        raise JudgeError("the profile names no challenger", "add a section [judge.challenger], see docs/judge.md")
    values = {**dict(settings), **settings.challenger.model_dump(), "cloud": None, "large": None, "challenger": None}
    # What it leaves to defaults was not asked for, and what the champion asked for in its place does not count.
    said = (settings.model_fields_set - ChallengerSettings.model_fields.keys()) | settings.challenger.model_fields_set
    chosen = JudgeSettings.model_construct(said, **values)
    return Shadow(make_judge(chosen, folder, judge_id=CHALLENGER))


class Shadow:
    """A judge under the name 'challenger': what it says is kept apart and compared, and decides nothing."""

    judge_id = CHALLENGER

    def __init__(self, judge: Judge) -> None:
        self._judge: Any = judge
        # What only some judges do is offered only where it is done.
        for name in ("show", "route"):
            if hasattr(judge, name):
                setattr(self, name, getattr(judge, name))

    @property
    def judge_version(self) -> str:
        """Version of the judge behind the name."""
        return str(self._judge.judge_version)

    @property
    def notes(self) -> list[str]:
        """What it has to say about itself, e.g. that its prices are old."""
        return list(getattr(self._judge, "notes", []))

    @property
    def pending(self) -> dict[str, str]:
        """Cases of which some question got no answer for a reason that may pass."""
        return dict(getattr(self._judge, "pending", {}))

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return its verdicts, under its own name."""
        return _renamed(self._judge(candidates, evidence, signals))

    def repair(self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Let it repair its verdicts, once."""
        again = self._judge.repair(verdicts, candidates, evidence) if hasattr(self._judge, "repair") else None
        return None if again is None else _renamed(again)

    def close(self) -> None:
        """Close its connections."""
        if hasattr(self._judge, "close"):
            self._judge.close()


def _renamed(made: JudgeTables) -> JudgeTables:
    return made._replace(verdicts=made.verdicts.with_columns(pl.lit(CHALLENGER).alias("judge_id")))
