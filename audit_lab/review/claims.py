"""Claims: who has which case on the desk, and until when, so that two people do not read the same one at the same time.

A claim is a courtesy, no lock: it ends by itself, and a label is never held up by one. It says nothing of a case but that somebody
looks at it, so it tells a blind reviewer nothing. Where two people are asked about a case (`review.second_share`) both may have it open.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import polars as pl

from audit_lab import tables
from audit_lab.masking import mask_text


class Held(NamedTuple):
    """Somebody's claim on a case."""

    author: str
    until: datetime


class Claims(Protocol):
    """What a desk needs of claims; every call is cheap, and none raises where the lab is busy."""

    def take(self, case_id: str) -> None:
        """Say that this case lies on the author's desk from now on, and no other."""
        ...

    def free(self) -> None:
        """Say that nothing lies on the author's desk."""
        ...

    def others(self) -> dict[str, Held]:
        """Return the cases that as many people as are asked about them have judged, or have open now, without this author."""
        ...


def taken(claims: pl.DataFrame, case_id: str, author: str, now: datetime, minutes: float) -> pl.DataFrame:
    """Return table `claims` with this author's claim on a case; an author has one case at a time, and what has ended is gone."""
    said = {"author": mask_text(author), "case_id": case_id, "at": now, "until": now + timedelta(minutes=minutes)}
    row = pl.DataFrame([said], schema=tables.TABLES["claims"].schema)
    return tables.check(pl.concat([freed(claims, author, now), row]), "claims")


def freed(claims: pl.DataFrame, author: str, now: datetime) -> pl.DataFrame:
    """Return table `claims` without this author's claim and without those that have ended."""
    return claims.filter((pl.col("author") != mask_text(author)) & (pl.col("until") > now))


def held_by_others(claims: pl.DataFrame, author: str, now: datetime, room: dict[str, int]) -> dict[str, Held]:
    """Return the cases that others have open, with the claim that lasts longest.

    Parameters
    ----------
    claims
        Table `claims`.
    author, now
        Who asks, and when.
    room
        How many more people are asked about a case (case_id -> n); 1 where it is not named. With as many claims as that it is held.
    """
    live = freed(claims, author, now).sort("until", "author", descending=[True, False])
    return {
        str(case_id): Held(part["author"][0], part["until"][0])
        for (case_id,), part in live.group_by("case_id", maintain_order=True) if part.height >= max(room.get(str(case_id), 1), 1)
    }
