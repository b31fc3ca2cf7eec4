"""What a run left undone: cases that nobody answered, and whether another run would go on with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import polars as pl

from audit_lab.judge.routing import WAITS

_SHOWN = 3


def unanswered(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the cases to which no answer came: not asked, or asked in vain. A model that abstains has answered.

    Parameters
    ----------
    verdicts
        Table of that name.

    Returns
    -------
    pl.DataFrame
        `case_id`, `why`: the reason of all that have it in common, without how often it was tried.
    """
    # A function of frames has neither prompt nor model: what it does not say it does not want to say.
    asked = (pl.col("prompt_sha256") != "") | pl.col("abstain").str.starts_with("waits: ")
    left = verdicts.filter(pl.col("score").is_null() & pl.col("model").is_null() & asked)
    return left.select("case_id", pl.col("abstain").map_elements(_reason, return_dtype=pl.String).alias("why"))


def unanswered_note(verdicts: pl.DataFrame, pending: Mapping[str, str]) -> str | None:
    """Return one line on what a run left undone; None where it left nothing.

    Parameters
    ----------
    verdicts
        Table of that name.
    pending
        Cases of which another run has something to ask, and why this one did not get it.
    """
    left = unanswered(verdicts)
    again = "; run again to go on" if pending else ""
    said = f"judged {verdicts.height - left.height} of {verdicts.height}"
    if left.height:
        reasons = Counter(left["why"]).most_common()
        parts = [f"{n}{'' if place else ' without an answer'}: {why}" for place, (why, n) in enumerate(reasons[:_SHOWN])]
        more = sum(n for _, n in reasons[_SHOWN:])
        return "; ".join([said, *parts, *([f"{more} for other reasons"] if more else [])]) + again
    if pending:
        (why, _), = Counter(map(_reason, pending.values())).most_common(1)
        return f"{said}; {len(pending)} without a repeat, a repair or a second opinion: {why}{again}"
    return None


def _reason(why: str) -> str:
    """Return why there is no answer, in the same words for the case that was tried and for those that were then not.

    >>> _reason("not tried: the endpoint failed (500)"), _reason("the endpoint failed (500) after 3 calls")
    ('the endpoint failed (500)', 'the endpoint failed (500)')
    """
    waits = why.startswith(f"{WAITS} (")
    bare = re.sub(r"^not tried: | after \d+ calls$", "", why[len(WAITS) + 2:-1] if waits else why)
    return f"waiting for the on-premises endpoint ({bare})" if waits else bare
