"""verdicts -> verdicts: every ground checked on the tables, and its sentence rendered by us (law 6).

A ground holds when every event it cites lies in the case's evidence and is of the kind that the claim speaks of, and
the claim is true of the case. What does not hold is marked with the reason; nothing is dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.counting import counted
from audit_lab.judge import facts as fact
from audit_lab.judge.case_numbers import CaseNumbers
from audit_lab.judge.omissions import exculpatory_facts, names_innocence, omitted, routine_share
from audit_lab.judge.prose import check_prose
from audit_lab.judge.relevance import COMMON_SHARE, peer_shares, weight, why_set_aside
from audit_lab.judge.rows import KINDS
from audit_lab.judge.sentences import english, korean
from audit_lab.lines import Lines, line_at
from audit_lab.predicates import PREDICATES
from audit_lab.profile import EvaluateSettings, JudgeSettings

REVIEW_LINE, MIN_PEERS = EvaluateSettings().threshold, JudgeSettings().min_peers


class _Said(NamedTuple):
    """What the tables say about one case and predicate."""

    n: int
    n_denied: int
    n_succeeded: int
    first: datetime
    last: datetime


class _Checker:
    """The facts of all cases that some claim speaks of, looked up by case and predicate."""

    def __init__(
        self, grounds: list[dict[str, Any]], told: set[str], candidates: pl.DataFrame, session_events: fact.Frame, events: fact.Frame,
    ) -> None:
        wanted = candidates.filter(pl.col("case_id").is_in(sorted({ground["case_id"] for ground in grounds} | told)))
        inside = fact.case_events(wanted, session_events, events)
        # A summary may speak of anything, a claim only of what it names.
        matched = fact.matches(inside, None if told else claimed_predicates(grounds))
        self.counts = {
            (item["case_id"], item["predicate"]): _Said(item["n"], item["n_denied"], item["n_succeeded"], item["first"], item["last"])
            for item in fact.count_facts(matched).iter_rows(named=True)
        }
        self.said: dict[str, dict[str, _Said]] = defaultdict(dict)
        for (case_id, name), said in self.counts.items():
            self.said[case_id][name] = said
        self.kinds = dict(inside.group_by("case_id").agg(pl.col("actor_kind").drop_nulls().unique()).iter_rows())
        fresh = {ground["claim"]["predicate"] for ground in grounds if ground["claim"]["kind"] == "novelty"}
        some = matched.filter(pl.col("predicate").is_in(sorted(fresh)))
        new = fact.novelty_facts(inside, some, fact.history(events, fresh)) if fresh else None
        self.novelty = {} if new is None else {(item["case_id"], item["predicate"]): item for item in new.iter_rows(named=True)}
        reached = {ground["claim"]["predicate"] for ground in grounds if ground["claim"]["kind"] == "reach"} | {"request"}
        reach = fact.reach_facts(inside, matched.filter(pl.col("predicate").is_in(sorted(reached))))
        self.reach = {(case, name, scope): n for case, name, scope, n in reach.select("case_id", "predicate", "scope", "n").iter_rows()}
        cited = pl.DataFrame(
            [(ground["case_id"], event_id) for ground in grounds for event_id in ground["event_ids"]],
            schema={"case_id": pl.String, "event_id": pl.String}, orient="row",
        ).unique()
        self.events: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
        for item in matched.join(cited, on=["case_id", "event_id"], how="semi").iter_rows(named=True):
            self.events[item["case_id"], item["predicate"]][item["event_id"]] = item

    def numbers(self, case_id: str, texts: list[str]) -> CaseNumbers:
        """Return the numbers of a case that prose is held against; `texts` are the lines of its evidence."""
        said = self.said[case_id]
        counts = {name: item.n for name, item in said.items()}
        whole = self.counts.get((case_id, "request"))
        named = {
            "events": counts.get("request", 0), "writes": counts.get("write_or_delete", 0), "denied": whole.n_denied if whole else 0,
            **{scope: self.reach.get((case_id, "request", scope), 0) for scope in ("namespaces", "secrets", "nodes")},
        }
        shown = {int(number) for text in texts for number in re.findall(r"(?<![\w-])\d+", text.replace("x", " ").replace("+", " "))}
        return CaseNumbers(
            named, counts, {name: item.n_succeeded for name, item in said.items()}, frozenset(shown) | set(counts.values()),
            {name: item.n_denied for name, item in said.items()}, {name: (item.first, item.last) for name, item in said.items()},
            frozenset(self.kinds.get(case_id, ())), routine_share(texts))

    def wrong(self, ground: dict[str, Any], shown: set[str]) -> str | None:
        """Return why a ground does not hold, in our words; None where it holds."""
        claim, cited, case_id = ground["claim"], ground["event_ids"], ground["case_id"]
        outside = [event_id for event_id in cited if event_id not in shown]
        bad = _outside_grammar(claim)
        if bad:
            return bad
        if not cited:
            return "cites no event"
        if outside:
            return f"cites {counted(len(outside), 'event')} outside the case's evidence"
        of_kind = self.events[case_id, claim["predicate"]]
        later = self.events[case_id, claim["then"]] if claim["kind"] == "order" else {}
        strange = [event_id for event_id in cited if event_id not in of_kind and event_id not in later]
        if strange:
            return f"{len(strange)} of {len(cited)} cited events are not of that kind"
        check = {
            "count": self._count, "order": self._order, "novelty": self._novelty, "denial": self._denial,
            "privilege": self._privilege, "reach": self._reach,
        }[claim["kind"]]
        return check(ground, of_kind)

    def found(self, ground: dict[str, Any]) -> int | None:
        """Return the number that the tables give for a claim with a number."""
        claim, case_id = ground["claim"], ground["case_id"]
        said = self.counts.get((case_id, claim["predicate"]))
        if claim["kind"] == "reach":
            return self.reach.get((case_id, claim["predicate"], claim["scope"]))
        return None if said is None else {"count": said.n, "denial": said.n_denied}.get(claim["kind"])

    def failed(self, case_id: str, name: str | None) -> bool:
        """Tell whether no request of a kind succeeded in a case."""
        said = self.counts.get((case_id, name or ""))
        return said is not None and said.n_succeeded == 0

    def _count(self, ground: dict[str, Any], _of_kind: dict[str, Any]) -> str | None:
        said, asked = self.counts[ground["case_id"], ground["claim"]["predicate"]], ground["claim"]["n"] or 1
        return None if said.n >= asked else f"happened {said.n} times, not {asked}"

    def _order(self, ground: dict[str, Any], of_kind: dict[str, Any]) -> str | None:
        later = self.events[ground["case_id"], ground["claim"]["then"]]
        firsts = [of_kind[event_id]["time"] for event_id in ground["event_ids"] if event_id in of_kind]
        lasts = [later[event_id]["time"] for event_id in ground["event_ids"] if event_id in later]
        if not firsts or not lasts:
            return "does not cite an event of each of the two kinds"
        return None if min(firsts) < max(lasts) else "what it calls later came first"

    def _novelty(self, ground: dict[str, Any], _of_kind: dict[str, Any]) -> str | None:
        known = self.novelty.get((ground["case_id"], ground["claim"]["predicate"]))
        peers = ground["claim"]["scope"] == "peers"
        new = None if known is None else known["new_for_peers" if peers else "new_for_actor"]
        if new is None:
            return "too few peers to call it new" if peers else "the actor has no past to call it new"
        return None if new else ("others of its kind had done it before" if peers else "the actor had done it before")

    def _denial(self, ground: dict[str, Any], of_kind: dict[str, Any]) -> str | None:
        said, asked = self.counts[ground["case_id"], ground["claim"]["predicate"]], ground["claim"]["n"] or 1
        if said.n_denied < asked:
            return f"{said.n_denied} such requests were denied, not {asked}"
        passed = [event_id for event_id in ground["event_ids"] if not of_kind[event_id]["denied"]]
        return f"{len(passed)} of {len(ground['event_ids'])} cited events were not denied" if passed else None

    def _privilege(self, ground: dict[str, Any], of_kind: dict[str, Any]) -> str | None:
        if not any(of_kind[event_id]["succeeded"] for event_id in ground["event_ids"]):
            return "none of the cited requests succeeded"
        return None

    def _reach(self, ground: dict[str, Any], _of_kind: dict[str, Any]) -> str | None:
        asked, scope = ground["claim"]["n"] or 1, ground["claim"]["scope"]
        found = self.reach.get((ground["case_id"], ground["claim"]["predicate"], scope), 0)
        return None if found >= asked else f"reached {found} different {scope}, not {asked}"


def verify_verdicts(
    verdicts: pl.DataFrame, evidence: pl.DataFrame, events: fact.Frame, session_events: fact.Frame, candidates: pl.DataFrame,
    *, review_line: Lines = REVIEW_LINE, min_grounded: float = 1.0, min_peers: int = MIN_PEERS,
) -> pl.DataFrame:
    """Return the verdicts with every ground checked.

    Parameters
    ----------
    verdicts, evidence, events, session_events, candidates
        Tables of those names; `events` and `session_events` may be lazy.
    review_line
        Score, or lines of the cases, from which a verdict needs a ground that tells something to be used: its own score, or the fused score
        of its case. A case that the signals put over the line is not talked down by a number alone, nor by what everybody does.
    min_grounded
        Share of grounds that must hold for a verdict to be usable.
    min_peers
        Comparable sessions below which nothing is said of how common a claim is.

    Returns
    -------
    pl.DataFrame
        Table verdicts with `holds`, `wrong`, `sentence`, `sentence_ko`, `relevance`, `note` per ground, and `grounded_share`,
        `usable`, `set_aside`, `summary_wrong` (of a model's prose) and `omitted`.
    """
    tables.check(verdicts, "verdicts")
    records = verdicts.to_dicts()
    grounds = [{**ground, "case_id": record["case_id"]} for record in records for ground in record["grounds"]]
    told = {record["case_id"] for record in records if record["summary"] and record["summary_by"] == "model"}
    checker = _Checker(grounds, told, candidates, session_events, events)
    texts: dict[str, list[str]] = defaultdict(list)
    for case_id, text in evidence.select("case_id", "text").iter_rows():
        texts[case_id].append(text)
    innocent = exculpatory_facts(evidence)
    shown: dict[str, set[str]] = defaultdict(set)
    for case_id, event_ids in evidence.select("case_id", "event_ids").iter_rows():
        shown[case_id].update(event_ids)
    shares = peer_shares(grounds, candidates, session_events, events, min_peers)
    fused = dict(candidates.select("case_id", "score").iter_rows())
    for record in records:
        record["grounds"] = [_checked({**ground, "case_id": record["case_id"]}, checker, shown, shares) for ground in record["grounds"]]
        if record["case_id"] in told:
            numbers = checker.numbers(record["case_id"], texts[record["case_id"]])
            record["summary_wrong"] = "; ".join(check_prose(record["summary"], numbers, record["score"])) or None
        if record["summary_by"] == "template":
            record["summary"] = _with_weightiest(record["summary"], record["grounds"], "sentence")
            record["summary_ko"] = _with_weightiest(record["summary_ko"], record["grounds"], "sentence_ko")
        weights = [weight(ground) for ground in record["grounds"]]
        record["grounded_share"] = sum(weights) / len(weights) if weights else None
        line = line_at(review_line, record["case_id"])
        is_alert = record["score"] is not None and record["score"] >= line
        facts = innocent.get(record["case_id"], [])
        record["omitted"] = omitted(facts, record["summary"]) if is_alert else None
        record["set_aside"] = None if record["score"] is None else why_set_aside(
            record["grounds"], needs_grounds=is_alert or fused.get(record["case_id"], 0.0) >= line, min_grounded=min_grounded,
            speaks_for_innocence=record["raw_score"] < line and not record["summary_wrong"] and names_innocence(
                facts, texts[record["case_id"]], record["summary"]))
        record["usable"] = record["score"] is not None and record["set_aside"] is None
    return tables.check(pl.DataFrame(records, schema=verdicts.schema), "verdicts")


def _with_weightiest(summary: str | None, grounds: list[dict[str, Any]], language: str) -> str | None:
    """Let a template's summary end with the sentence of the first ground that holds; checking twice changes nothing."""
    sentence = next((ground[language] for ground in grounds if ground["holds"]), None)
    return summary if not summary or not sentence or summary.endswith(sentence) else f"{summary} {sentence}"


def claimed_predicates(grounds: list[dict[str, Any]]) -> set[str]:
    """Return the names of known predicates that claims speak of."""
    said = {ground["claim"]["predicate"] for ground in grounds} | {ground["claim"]["then"] for ground in grounds}
    return {name for name in said if name in PREDICATES}


def _outside_grammar(claim: dict[str, Any]) -> str | None:
    if claim["kind"] not in KINDS or claim["predicate"] not in PREDICATES:
        return "claim is not in the grammar"
    if claim["kind"] == "order" and (claim["then"] not in PREDICATES or claim["then"] == claim["predicate"]):
        return "an order needs two different kinds of events"
    if claim["kind"] == "novelty" and claim["scope"] not in ("actor", "peers", None):
        return "a novelty needs one of: actor, peers"
    if claim["kind"] == "reach" and claim["scope"] not in fact.SCOPES:
        return f"a reach needs one of: {', '.join(fact.SCOPES)}"
    if claim["kind"] == "privilege" and PREDICATES[claim["predicate"]].category != "privilege":
        return "this kind of event grants no privilege"
    return None


def _checked(
    ground: dict[str, Any], checker: _Checker, shown: dict[str, set[str]], shares: dict[Any, tuple[float | None, int]],
) -> dict[str, Any]:
    case_id, claim = ground["case_id"], ground["claim"]
    wrong = checker.wrong(ground, shown[case_id])
    n = checker.found(ground) if wrong is None else None
    failed, then_failed = checker.failed(case_id, claim["predicate"]), checker.failed(case_id, claim["then"])
    share, n_peers = shares.get((case_id, *claim.values()), (None, 0))
    if wrong is not None:
        note = None
    elif share is None:
        note = f"only {n_peers} comparable sessions: nobody knows how common this is"
    else:
        note = f"common: {share:.0%} of {n_peers} comparable sessions show the same" if share >= COMMON_SHARE else None
    return {
        "claim": claim, "event_ids": ground["event_ids"], "holds": wrong is None, "wrong": wrong,
        "sentence": english(claim, n, failed, then_failed), "sentence_ko": korean(claim, n, failed, then_failed),
        "relevance": None if share is None or wrong is not None else 1 - share, "note": note,
    }
