"""What speaks for innocence and a verdict leaves out: said next to the verdict, in our words.

The facts come from the evidence pack's own lines, whose form `background.py` fixes; a test holds the two together.
"""

from __future__ import annotations

import re
from collections import defaultdict

import polars as pl

# From these shares on a resemblance is worth saying.
MOSTLY = 0.8
MIN_ACTIONS = 3
_ROUTINE = re.compile(r"(\d+) of (\d+) actions done by this actor before, in (\d+) earlier sessions")
_OWN = re.compile(r"nearest earlier session of the same actor shares (\d+)% of the actions")
_LABELLED = re.compile(r"shares (\d+)% of the actions, labelled (benign(?:-but-suspicious)?)$")
_SAID = {
    "routine": re.compile(r"routine|usual|before|same (actions?|work)|familiar|regular|habit", re.IGNORECASE),
    "label": re.compile(r"benign|labelled|resembl|similar|legitimate", re.IGNORECASE),
    "reads": re.compile(r"read[- ]only|only (reads?|read)|no (writes?|changes)|nothing (was )?changed", re.IGNORECASE),
}


def exculpatory_facts(evidence: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return per case the strong facts for innocence that its pack shows, each as (kind, sentence)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    rows = evidence.filter(pl.col("query_id").is_in(["innocence", "nearest"])).sort("case_id", "row")
    for case_id, text in rows.select("case_id", "text").iter_rows():
        routine, own, labelled = _ROUTINE.search(text), _OWN.search(text), _LABELLED.search(text)
        if routine and int(routine[2]) >= MIN_ACTIONS and int(routine[1]) >= MOSTLY * int(routine[2]):
            found[case_id].append(("routine", f"{routine[1]} of its {routine[2]} actions are this actor's own routine"))
        if own and int(own[1]) >= 100 * MOSTLY:
            found[case_id].append(("routine", f"the actor did nearly the same before ({own[1]} % of the actions)"))
        if labelled and int(labelled[1]) >= 100 * MOSTLY:
            found[case_id].append(("label", f"it resembles an earlier session that a person called {labelled[2]} ({labelled[1]} %)"))
        if "reads only, nothing changed" in text and "nothing denied" in text:
            found[case_id].append(("reads", "it changed nothing, and nothing was denied"))
    return found


def omitted(facts: list[tuple[str, str]], summary: str | None) -> str | None:
    """Return the facts for innocence that a summary does not touch on, as one text; None where there are none.

    >>> omitted([("reads", "it changed nothing, and nothing was denied")], "Secrets were listed.")
    'it changed nothing, and nothing was denied'
    """
    left = [sentence for kind, sentence in facts if not _SAID[kind].search(summary or "")]
    return "; ".join(left) or None
