"""What speaks for innocence and a verdict leaves out: said next to the verdict, in our words.

The facts come from the evidence pack's own lines, whose form `background.py` fixes; a test holds the two together. What the line
called innocence puts forward counts, from a share on that is worth saying.
"""

from __future__ import annotations

import re
from collections import defaultdict

import polars as pl

# From this share on a resemblance is worth saying; from the other on some of the actions are a routine, some of the writes ownership.
MOSTLY, PARTLY = 0.8, 0.5
MIN_ACTIONS = 3
_ROUTINE = re.compile(r"(\d+) of (\d+) actions done by this actor before, in (\d+) earlier sessions")
_KNOWN = re.compile(r"worked before in (\d+) of its (\d+) namespaces")
_WROTE = re.compile(r"made (\d+) of (\d+) earlier writes in its namespaces")
_OWN = re.compile(r"nearest earlier session of the same actor shares (\d+)% of the actions")
_LABELLED = re.compile(r"shares (\d+)% of the actions, labelled (benign(?:-but-suspicious)?)")
_SOURCE = re.compile(r"from the same source before: \d+ sessions? of \d+ other identit(?:y|ies), (\d+) with the same client")
_CHANGE = r"chang\w*|alter\w*|modif\w*|writ\w*|wrote|edit\w*|touch\w*|updat\w*"
_SAID = {
    "routine": re.compile(
        r"routine|usual|before|same (actions?|work)|familiar|regular|habit|earlier|이전|평소|일상|루틴", re.IGNORECASE),
    "label": re.compile(r"benign|labelled|resembl|similar|legitimate|유사|비슷|정당", re.IGNORECASE),
    "reads": re.compile(
        r"read[- ]only|only (reads?|read|look\w*)|(purely|merely|just|nothing but) (read|look)\w*"
        rf"|(no|without( any)?( single)?) ({_CHANGE})"
        rf"|(nothing|nobody|no one|never|not|n't|neither|nor|without)( \w+){{0,3}} ({_CHANGE})"
        rf"|({_CHANGE}) (nothing|none)|untouched|as it was|(변경|수정|쓰기|바꾼|작성|삭제)[^.]{{0,8}}(없|않)"
        rf"|읽기|(조회|열람)만", re.IGNORECASE),
    "allowed": re.compile(
        r"den(ied|ials?)|refus|forbidden|reject|allowed|succe|permitted|granted|authori[sz]ed|accepted|turned (down|away)|objection"
        r"|resistance|거부|거절|차단|허용|성공", re.IGNORECASE),
    "window": re.compile(r"window|maintenance|scheduled|변경 ?시간|작업 ?시간|점검|윈도", re.IGNORECASE),
    "known": re.compile(
        r"\b(work|know|knew|us|writ|wrote|famil)\w*\b[^.;]{0,40}\bnamespaces?\b|\bnamespaces?\b[^.;]{0,40}\b(before|known?|usual|work\w*"
        r"|own)\b"
        r"|worked (there|here)|이전에 작업|(?:전에|예전에|평소|늘)\s(?:\S+\s)?(?:작업|일)\S{0,3} (?:곳|네임스페이스|데)"
        r"|기존\S* 네임스페이스|익숙", re.IGNORECASE),
    "wrote": re.compile(r"own(s|er|ed)?\b|most (earlier |of the )?writes|wrote there|its (own )?namespace|소유|쓰기", re.IGNORECASE),
    "source": re.compile(r"same source|same address|known (source|address)|같은 출발지|같은 주소", re.IGNORECASE),
}


# What can carry a verdict below the signals: the actor's past and place. That nothing was changed or denied is true of many attacks.
_CARRIES = frozenset({"routine", "known", "wrote", "label", "window", "source"})
_STOPPED = re.compile(r"refused \d+ of \d+ requests; allowed \d+ before the first refusal and 0 after it")


def exculpatory_facts(evidence: pl.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return per case the facts for innocence that its pack shows, each as (kind, sentence)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    rows = evidence.filter(pl.col("query_id").is_in(["innocence", "nearest", "same_source"])).sort("case_id", "row")
    for case_id, text in rows.select("case_id", "text").iter_rows():
        found[case_id] += _facts(text)
    # Who has an identity and comes from where others came from is not made innocent by it.
    nameless = set(rows.filter(pl.col("text").str.contains("no identity", literal=True))["case_id"])
    return {case_id: [fact for fact in facts if fact[0] != "source" or case_id in nameless] for case_id, facts in found.items()}


def routine_share(texts: list[str]) -> tuple[int, int] | None:
    """Return how many of a case's actions its actor had done before, of how many, as its evidence says it.

    >>> routine_share(["innocence: 2 of 3 actions done by this actor before, in 4 earlier sessions"])
    (2, 3)
    """
    found = next((match for text in texts if (match := _ROUTINE.search(text))), None)
    return (int(found[1]), int(found[2])) if found else None


def _facts(text: str) -> list[tuple[str, str]]:
    routine, known, wrote = _ROUTINE.search(text), _KNOWN.search(text), _WROTE.search(text)
    own, labelled, source = _OWN.search(text), _LABELLED.search(text), _SOURCE.search(text)
    facts: list[tuple[str, str]] = []
    if routine and int(routine[2]) >= MIN_ACTIONS and int(routine[1]) >= PARTLY * int(routine[2]):
        facts.append(("routine", f"{routine[1]} of its {routine[2]} actions are this actor's own routine"))
    if known and known[1] == known[2]:
        facts.append(("known", "it had worked in all of its namespaces before"))
    if wrote and int(wrote[1]) >= PARTLY * int(wrote[2]):
        facts.append(("wrote", f"it made {wrote[1]} of the {wrote[2]} earlier writes in its namespaces"))
    if own and int(own[1]) >= 100 * MOSTLY:
        facts.append(("routine", f"the actor did nearly the same before ({own[1]} % of the actions)"))
    if labelled and int(labelled[1]) >= 100 * MOSTLY:
        facts.append(("label", f"it resembles an earlier session that a person called {labelled[2]} ({labelled[1]} %)"))
    if source and int(source[1]):
        facts.append(("source", "the same client came from the same source before, under another identity"))
    if "within a change window" in text:
        facts.append(("window", "a change window was open"))
    if "reads only, nothing changed" in text:
        facts.append(("reads", "it changed nothing"))
    if "nothing denied" in text:
        facts.append(("allowed", "nothing was denied"))
    return facts


def omitted(facts: list[tuple[str, str]], summary: str | None) -> str | None:
    """Return the facts for innocence that a summary does not touch on, as one text; None where there are none.

    >>> omitted([("reads", "it changed nothing")], "Secrets were listed.")
    'it changed nothing'
    """
    left = [sentence for kind, sentence in facts if not _SAID[kind].search(summary or "")]
    return "; ".join(dict.fromkeys(left)) or None


def names_innocence(facts: list[tuple[str, str]], texts: list[str], summary: str | None) -> bool:
    """Tell whether a summary names a fact for innocence that the evidence bears out and that can carry a verdict against the signals.

    Such are the same routine, its own or known namespaces, a benign label, a change window, a known source of whoever has no identity, and
    refusals after which nothing was allowed.

    >>> names_innocence([("routine", "9 of its 9 actions are this actor's own routine")], [], "The backup did its usual work.")
    True
    """
    stopped = any(map(_STOPPED.search, texts))
    borne_out = [kind for kind, _ in facts if kind in _CARRIES] + (["allowed"] if stopped else [])
    return any(_SAID[kind].search(summary or "") for kind in borne_out)
