"""From what people decided to proposals for a release: ratios with intervals, mistakes, exceptions, a threshold, examples.

Nothing changes by itself: a proposal is a row that says what would be put in force, and why.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab.calibrating import calibrate_lab
from audit_lab.counting import counted
from audit_lab.errors import AuditLabError
from audit_lab.evaluate import Rate, bootstrap_actors, exact, threshold_proposal
from audit_lab.govern.proposals import add_proposals, make_proposal, standing_proposals
from audit_lab.holdings import standing_labels
from audit_lab.lines import case_lines
from audit_lab.predicates import PREDICATES
from audit_lab.profile import Profile
from audit_lab.review import (
    current_labels,
    decided_cases,
    judge_decisions,
    pull_of_the_score,
    repeated_mistakes,
    rule_decisions,
    wrong_grounds,
)
from audit_lab.reviewing import prioritised_cases
from audit_lab.signals import exceptions_toml, load_rules, propose_exceptions
from audit_lab.store import Store

RATIO: dict[str, Any] = {
    "what": pl.String, "version": pl.String, "n": pl.Int64, "n_false": pl.Int64, "ratio": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "n_actors": pl.Int64, "reason": pl.String,
}


def lab_feedback(store: Store, profile: Profile) -> dict[str, pl.DataFrame]:
    """Hold what people decided against what rules and judges said.

    Returns
    -------
    Frames: `rules` and `judges` (columns RATIO: false alarms among the decided cases in which a rule fired, or which a judge version
    flagged; ratio null with its reason below `review.min_decided`; intervals resample actors), `mistakes` (`review.repeated_mistakes`),
    `wrong_grounds` (`review.wrong_grounds`), `pull` (people who agreed with the flag, blind and open, with exact intervals), `decided`
    (`review.decided_cases`).
    """
    candidates, signals = store.read("candidates"), store.read("signals")
    # A challenger in shadow is used for nothing, but how it would have done is what it is there for.
    verdicts = pl.concat([store.read("verdicts"), store.read("shadow_verdicts")])
    decided = decided_cases(current_labels(store.read("labels")), candidates)
    lines = case_lines(candidates, store.scan("sessions"), profile.evaluate)
    judged = judge_decisions(decided, verdicts, lines)
    actors = _first_actors(store, candidates)
    pull = pull_of_the_score(decided, prioritised_cases(store, profile))
    rates = [exact(agreed, n).as_dict() for n, agreed in pull.select("n", "n_agree").iter_rows()]
    return {
        "rules": _ratios(rule_decisions(decided, candidates, signals), actors, profile),
        "judges": _ratios(judged.filter("is_flagged"), actors, profile),
        "mistakes": repeated_mistakes(judged, profile.review.min_repeats),
        "wrong_grounds": wrong_grounds(verdicts),
        "pull": pull.with_columns(
            *(pl.Series(name, [rate[name] for rate in rates], dtype=pl.Float64) for name in ("value", "low", "high"))),
        "decided": decided,
    }


def propose_release(
    store: Store, profile: Profile, author: str, at: datetime, *, until: datetime | None = None, max_fpr: float = 0.05,
    confidence: float = 0.95,
) -> tuple[pl.DataFrame, list[str]]:
    """Compute what follows from people's decisions and keep it as proposals; nothing is put in force.

    Parameters
    ----------
    author, at
        Who proposes, and when.
    until
        Exceptions and the threshold are learnt from sessions that ended before it; None = from all. What is tuned is tested on later time.
    max_fpr, confidence
        Promise of the proposed threshold.

    Returns
    -------
    (table `proposals`, those that stand; one line for each thing that is not proposed, and why)
    """
    notes: list[str] = []
    feedback = lab_feedback(store, profile)
    proposed = [
        *_examples(feedback, profile), *_mistakes(feedback), *_rules(feedback, profile, notes),
        *_exceptions(store, profile, until, notes), *_threshold(store, profile, until, max_fpr, confidence, notes),
    ]
    disputed = feedback["decided"].filter("is_disputed").height
    if disputed:
        notes.append(f"left out: {counted(disputed, 'case')} on which people differ (audit-lab review --agreement)")
    if feedback["decided"].is_empty():
        notes.append("nobody has decided a case yet: audit-lab review")
    with store.appending("proposals"):
        kept = add_proposals(store.read("proposals"), proposed, author, at)
        store.replace("proposals", kept, "release propose")
    return standing_proposals(kept), notes


def _first_actors(store: Store, candidates: pl.DataFrame) -> pl.DataFrame:
    members = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    sessions = store.scan("sessions").select("session_id", "start", actor=pl.col("cluster") + "\x1f" + pl.col("actor")).collect()
    return members.join(sessions, on="session_id").sort("case_id", "start", "session_id").group_by("case_id").agg(pl.col("actor").first())


def _ratios(decisions: pl.DataFrame, actors: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Count false alarms per thing that alarmed; below the minimum sample there is no ratio, but the count and the reason."""
    rows, least = [], profile.review.min_decided
    for (what, version), part in decisions.join(actors, on="case_id", how="left").group_by("what", "version", maintain_order=True):
        false = part["is_false"].to_numpy()
        draw = bootstrap_actors(part["actor"].fill_null("").to_numpy(), profile.evaluate.bootstrap, profile.evaluate.confidence)
        rate = draw.rate(false, np.ones(false.size, dtype=bool), "decided cases")
        if false.size < least:
            rate = Rate(None, None, None, false.size, f"{counted(false.size, 'decided case')}, {least} needed")
        rows.append({
            "what": what, "version": version, "n": false.size, "n_false": int(false.sum()), "ratio": rate.value, "low": rate.low,
            "high": rate.high, "n_actors": part["actor"].n_unique(), "reason": rate.reason,
        })
    return pl.DataFrame(rows, schema=RATIO).sort("n_false", "n", "what", "version", descending=[True, True, False, False])


# ---- what follows --------------------------------------------------------------------------------------------


def _examples(feedback: dict[str, pl.DataFrame], profile: Profile) -> list[dict[str, Any]]:
    """Cases in which a judge was wrong teach most: one for each mistake of a kind, then others, as many as a prompt shows."""
    mistakes, decided = feedback["mistakes"], {row["case_id"]: row for row in feedback["decided"].iter_rows(named=True)}
    found: dict[str, str] = {}
    for row in mistakes.iter_rows(named=True):
        case_id = next((item for item in row["case_ids"] if item not in found), None)
        if case_id is not None and case_id not in profile.judge.example_cases:
            times = counted(row["n_wrong"], "time")
            found[case_id] = f"shows a {row['direction']} of judge {row['what']} that came {times} ({_does(row['pattern'])})"
    return [
        make_proposal(
            "example", case_id, f"show case {case_id} to models as {decided[case_id]['verdict']}", why,
            {"judge.example_cases": [*profile.judge.example_cases, case_id]},
            {"verdict": decided[case_id]["verdict"], "n_people": decided[case_id]["n_people"], "reason": decided[case_id]["reason"]},
        )
        for case_id, why in list(found.items())[:profile.judge.examples]
    ]


def _mistakes(feedback: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    made = []
    for row in feedback["mistakes"].iter_rows(named=True):
        said = "raised" if row["direction"] == "false alarm" else "let pass"
        truth = "not malicious" if row["direction"] == "false alarm" else "malicious"
        made.append(make_proposal(
            "prompt", f"{row['what']}@{row['version']} {row['direction']} {row['pattern']}",
            f"say to judge {row['what']} what it keeps getting wrong: cases in which the actor would {_does(row['pattern'])}",
            f"it {said} {counted(row['n'], 'such case')} that people decided; {truth}: {row['n_wrong']}",
            {"judge_id": row["what"], "judge_version": row["version"], "direction": row["direction"], "predicate": row["pattern"]},
            {"n": row["n"], "n_wrong": row["n_wrong"], "case_ids": row["case_ids"]},
        ))
    return made


def _rules(feedback: dict[str, pl.DataFrame], profile: Profile, notes: list[str]) -> list[dict[str, Any]]:
    made, limit = [], profile.review.noisy_rule
    rules = {rule.rule_id: rule for rule in load_rules(profile.signals.rules)}
    few = feedback["rules"].filter(pl.col("ratio").is_null()).height
    if few:
        least = counted(profile.review.min_decided, "decided case")
        notes.append(f"no false-positive ratio yet for {counted(few, 'rule')} with fewer than {least}")
    for row in feedback["rules"].filter(pl.col("low") >= limit).iter_rows(named=True):
        rule = rules.get(row["what"])
        floor = f"; it has a floor of {rule.floor:g}, so no judge can lower it" if rule and rule.floor is not None else ""
        made.append(make_proposal(
            "rule", row["what"], f"look at rule {row['what']}: narrow it, lower its level, or except what it keeps firing on",
            f"false alarms: {row['n_false']} of {counted(row['n'], 'decided case')} in which it fired "
            f"({row['low']:.0%} to {row['high']:.0%}){floor}",
            {"rule_id": row["what"], "version": row["version"], "level": rule.level if rule else None},
            {name: row[name] for name in ("n", "n_false", "ratio", "low", "high", "n_actors")},
        ))
    return made


def tuned_exceptions(store: Store, profile: Profile, until: datetime, min_sessions: int = 5) -> pl.DataFrame:
    """Return proposals of exceptions from sessions and labels before `until` (`signals.propose_exceptions`), proposed and refused ones."""
    signals, members, labels = store.read("signals"), store.read("session_events"), standing_labels(store)
    events = store.scan("events").filter(pl.col("time") < until)
    if why_unchecked(store, until):
        # No incident to hold proposals against: of the events only those that a signal speaks of, a few among millions.
        spoken_of = signals.select(event_id="event_ids").explode("event_id", empty_as_null=False).unique()
        events = events.join(spoken_of.lazy(), on="event_id", how="semi")
    return propose_exceptions(
        load_rules(profile.signals.rules), signals, events.collect(), store.read("sessions"), members, labels, until, min_sessions)


def why_unchecked(store: Store, until: datetime) -> str | None:
    """Say in one line why proposals from before `until` were checked against no labelled incident, and what to run; None when they were."""
    earlier = store.scan("sessions").filter(pl.col("end") < until).select("session_id").collect()
    labels = standing_labels(store).join(earlier, on="session_id", how="semi")
    if (labels["verdict"] == "malicious").any():
        return None
    what = "there are no labels of earlier time" if labels.is_empty() else "no label of earlier time says malicious"
    return (f"{what} (before {until:%Y-%m-%d %H:%M:%S} UTC), so nothing could be checked against labelled incidents: first "
            "audit-lab label FILE, or audit-lab review")


def _exceptions(store: Store, profile: Profile, until: datetime | None, notes: list[str]) -> list[dict[str, Any]]:
    moment = until or store.scan("sessions").select(pl.col("end").max()).collect().item()
    if moment is None:
        return []
    notes += [f"exceptions: {why}" for why in [why_unchecked(store, moment)] if why]
    found = tuned_exceptions(store, profile, moment)
    return [
        make_proposal(
            "exception", row["exception_id"], f"except {row['scope']}", row["why"],
            {"toml": exceptions_toml(found.filter(pl.col("exception_id") == row["exception_id"]))},
            {"n_sessions": row["n_sessions"], "n_events": row["n_events"], "until": moment.isoformat()},
        )
        for row in found.filter(pl.col("status") == "proposed").iter_rows(named=True)
    ]


def _threshold(
    store: Store, profile: Profile, until: datetime | None, max_fpr: float, confidence: float, notes: list[str]
) -> list[dict[str, Any]]:
    try:
        promise = calibrate_lab(store, profile, until, max_fpr=max_fpr, confidence=confidence)
    except AuditLabError as error:
        notes.append(f"no threshold: {error.what}")
        return []
    if promise.threshold is None:
        notes.append(f"no threshold: {promise.reason} ({promise.n} {promise.unit} at hand, {promise.needed} needed)")
        return []
    now = profile.evaluate.threshold
    if abs(promise.threshold - now) < profile.review.same_threshold:
        notes.append(f"the threshold stays: {promise.threshold:.4g} would be promised, {now:g} is set")
        return []
    return [make_proposal(
        "threshold", "evaluate.threshold", f"set evaluate.threshold to {promise.threshold:.4g} (now {now:g})",
        f"over {max_fpr:g} of benign {promise.unit} are flagged with probability at most {promise.violation:.3g}",
        {key: change["to"] for key, change in threshold_proposal(promise, profile)["changes"].items()}, promise.as_dict(),
    )]


def _does(pattern: str) -> str:
    known = PREDICATES.get(pattern)
    return known.does if known else pattern.replace("_", " ")
