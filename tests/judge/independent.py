"""Runs the independent set (`independent_set.py`) through the public checker.

`python -m tests.judge.independent [MODULE]` prints the rates and every miss; MODULE is another set with the same names.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import polars as pl

from audit_lab import Lab, tables
from audit_lab.evaluate import exact
from audit_lab.judge import build_evidence, verify_verdicts
from audit_lab.predicates import DENIED, UNAUTHENTICATED, match_predicates
from audit_lab.signals import load_rules, run_rules
from tests.judge import independent_set

DATA = Path(__file__).parents[2] / "data"
_CITED = re.compile(r"(?P<how>hidden |lent )?((?P<other>\w+):)?(?P<name>\w+)(/(?P<outcome>denied|allowed))?(\[(?P<a>-?\d*):(?P<b>-?\d*)\])?")
# From this share of ordinary sessions on a true claim is common (docs/judge.md, section Claims).
COMMON = 0.2


class Item(NamedTuple):
    """One thing said of one case, and what the checker should make of it."""

    group: str
    case: str
    text: str
    kind: str
    why: str
    ground: dict[str, Any] | None = None
    windows: tuple[str, ...] = ()
    expected: bool = True


class Outcome(NamedTuple):
    """What came out: `as_expected` by the group's question, `found` for a person to read."""

    item: Item
    as_expected: bool
    found: str


class Sample:
    """The sample's tables, the cases of the set, and their events by predicate."""

    def __init__(self, folder: Path) -> None:
        lab = Lab(folder / "lab", "sample")
        lab.ingest(*sorted(DATA.glob("audit*.log.gz")))
        lab.run(until="sessions")
        self.events, self.sessions = lab.events.collect(), lab.sessions.collect()
        self.members, self.links = lab.session_events.collect(), lab.links.collect()
        self.signals = run_rules(load_rules(lab.profile.signals.rules), self.events, self.members)
        self.cases = self._cases()
        self._packs: dict[tuple[str, ...], pl.DataFrame] = {}
        # Events that the set cites as shown and that today's packs do not show: the set was written from packs of its day.
        self.added: dict[str, list[str]] = defaultdict(list)
        times = self.events.select("event_id", "time", (DENIED | UNAUTHENTICATED).alias("refused"))
        self.matched = match_predicates(self.events).join(times, on="event_id").join(self.members, on="event_id").sort("time", "event_id")

    def _cases(self) -> dict[str, list[str]]:
        incidents = {line["incident_id"]: line["audit_ids"] for line in map(json.loads, (DATA / "labels.jsonl").read_text().splitlines())}
        found = {}
        for case, named in independent_set.CASES.items():
            if named in incidents:
                held = self.members.filter(pl.col("event_id").is_in(incidents[named]))["session_id"].unique().sort().to_list()
            else:
                held = self.sessions.filter(pl.col("actor") == named).sort("start")["session_id"].head(1).to_list()
            assert held, case
            found[case] = held
        return found

    def candidates(self, cases: Iterable[tuple[str, str]]) -> pl.DataFrame:
        """Return table candidates: one row for each (case id, name of a case of the set)."""
        rows = [
            {"case_id": case_id, "rank": rank, "session_ids": self.cases[name], "score": 0.6, "floor": None, "selected_by": "rank",
             "sampling_probability": 1.0, "why": "chosen"}
            for rank, (case_id, name) in enumerate(cases, start=1)
        ]
        return tables.check(pl.DataFrame(rows, schema=tables.TABLES["candidates"].schema), "candidates")

    def pack(self, windows: tuple[str, ...] = ()) -> pl.DataFrame:
        """Return table evidence of all cases, as long as the profile's default allows."""
        if windows not in self._packs:
            candidates = self.candidates((name, name) for name in self.cases)
            self._packs[windows] = build_evidence(
                candidates, self.sessions, self.members, self.events, self.signals, links=self.links, windows=windows)
        return self._packs[windows]

    def _shown(self, case: str) -> list[str]:
        return self.pack().filter(pl.col("case_id") == case)["event_ids"].explode().drop_nulls().unique().to_list() + self.added[case]

    def _also_show(self, case: str, rows: pl.DataFrame, lent: bool) -> pl.DataFrame:
        """Return events of a case (or lent to it by a link) that its pack does not show, and show them from now on."""
        if lent:
            sides = [("from_session", "to_event_ids"), ("to_session", "from_event_ids")]
            ids = [event_id for own, column in sides for listed in self.links.filter(pl.col(own).is_in(self.cases[case]))[column] for event_id in listed]
            found = rows.filter(pl.col("event_id").is_in(ids) & ~pl.col("session_id").is_in(self.cases[case]))
        else:
            found = rows.filter(pl.col("session_id").is_in(self.cases[case]))
        self.added[case] += found["event_id"].to_list()
        return found

    def shown_pack(self, windows: tuple[str, ...], case: str) -> pl.DataFrame:
        """Return the pack of one case, with a last row of what the set cites beyond it."""
        pack = self.pack(windows).filter(pl.col("case_id") == case)
        if not self.added[case]:
            return pack
        more = {"case_id": case, "row": pack.height + 1, "query_id": "added", "text": "other events", "event_ids": self.added[case], "claim": None}
        return pl.concat([pack, pl.DataFrame([more], schema=pack.schema)])

    def resolve(self, case: str, cited: str) -> list[str]:
        """Return the event ids that a citation of the set means; see `independent_set.py`."""
        found: list[str] = []
        for word in re.findall(r"(?:hidden |lent )?\S+", cited):
            if word.startswith("="):
                found.append(word[1:])
                continue
            part = _CITED.fullmatch(word)
            assert part, word
            of = part["other"] or case
            rows = self.matched.filter(pl.col("predicate") == part["name"])
            own, shown = pl.col("session_id").is_in(self.cases[of]), pl.col("event_id").is_in(self._shown(of))
            if part["outcome"]:
                rows = rows.filter(pl.col("refused") == (part["outcome"] == "denied"))
            every = rows
            rows = every.filter({"hidden ": own & ~shown, "lent ": ~own & shown, None: own & shown}[part["how"]])
            if rows.is_empty() and part["how"] != "hidden ":
                rows = self._also_show(of, every, part["how"] == "lent ")
            start, stop = (int(part[side]) if part[side] else None for side in "ab")
            ids = rows["event_id"].to_list()[start:stop]
            assert ids, f"{case}: nothing in the sample is '{word}'"
            found += ids
        return found


def items(sample: Sample, said: ModuleType = independent_set) -> list[Item]:
    """Return everything that a set says, with citations resolved."""

    def ground(case: str, claim: tuple[Any, ...], cited: str) -> dict[str, Any]:
        return {"claim": dict(zip(("kind", "predicate", "n", "scope", "then"), claim, strict=True)), "event_ids": sample.resolve(case, cited)}

    true = [Item("true", case, f"{claim} [{cited}]", "true", why, ground(case, claim, cited)) for case, claim, cited, why in said.TRUE_GROUNDS]
    first: dict[str, dict[str, Any]] = {}
    for case, claim, cited, _ in independent_set.TRUE_GROUNDS:
        first.setdefault(case, ground(case, claim, cited))
    return [
        *true,
        *(Item("fabricated", case, f"{claim} [{cited}]", kind, why, ground(case, claim, cited), expected=False)
          for case, claim, cited, kind, why in said.FABRICATED_GROUNDS),
        *(Item("irrelevant", case, f"{claim} [{cited}]", "true of many", why, ground(case, claim, cited))
          for case, claim, cited, why in said.IRRELEVANT_GROUNDS),
        *(Item("boundary", case, f"{claim} [{cited}]", "holds" if holds else "does not hold", why, ground(case, claim, cited), expected=holds)
          for case, claim, cited, holds, why in said.BOUNDARY_GROUNDS),
        # A summary stands beside true grounds of its case, as a model's would.
        *(Item(f"honest {lang}", case, text, kind, why, first.get(case), expected=False)
          for case, lang, text, kind, why in said.HONEST_SUMMARIES),
        *(Item(f"contradicting {lang}", case, text, kind, why, first.get(case))
          for case, lang, text, kind, why in said.CONTRADICTING_SUMMARIES),
        *(Item(group, case, text, group, why, first.get(case), windows, expected)
          for group, rows, expected in (
              ("omitting", said.OMITTING_VERDICTS, True), ("partly omitting", said.PARTLY_OMITTING_VERDICTS, True),
              ("mentioning", said.MENTIONING_VERDICTS, False), ("nothing to omit", said.NOTHING_TO_OMIT, False))
          for case, windows, text, why in rows),
    ]


def measure(sample: Sample, said: ModuleType = independent_set) -> list[Outcome]:
    """Return what `verify_verdicts` makes of each item: one case and one verdict for each, so that none touches another."""
    every = items(sample, said)
    names = {f"{item.case}#{number}": item for number, item in enumerate(every)}
    # The cases of the set stay among the candidates: ordinary sessions are those in no case.
    candidates = sample.candidates([*((case, case) for case in sample.cases), *((case_id, item.case) for case_id, item in names.items())])
    packs = {(item.windows, item.case) for item in every}
    copied = {key: sample.shown_pack(*key) for key in packs}
    evidence = pl.concat(copied[item.windows, item.case].with_columns(pl.lit(case_id).alias("case_id")) for case_id, item in names.items())
    verdicts = pl.DataFrame([_verdict(case_id, item, said) for case_id, item in names.items()], schema=tables.TABLES["verdicts"].schema)
    checked = verify_verdicts(verdicts, evidence, sample.events, sample.members, candidates)
    return [outcome for row in checked.iter_rows(named=True) for outcome in _outcomes(names[row["case_id"]], row)]


def _verdict(case_id: str, item: Item, said: ModuleType) -> dict[str, Any]:
    unchecked = {"holds": None, "wrong": None, "sentence": None, "sentence_ko": None, "relevance": None, "note": None}
    is_ground = item.group in ("true", "fabricated", "irrelevant", "boundary")
    score = 0.1 if item.group.startswith("honest") and any(words in item.text for words in said.CALLS_ORDINARY) else 0.85
    return {
        "case_id": case_id, "judge_id": "independent", "judge_version": "1", "model": None, "prompt_sha256": "", "score": score,
        "raw_score": score, "spread": None, "usable": True, "summary": None if is_ground else item.text, "summary_by": None if is_ground else "model",
        "summary_wrong": None, "grounds": [{**item.ground, **unchecked}] if item.ground else [], "grounded_share": None, "omitted": None,
        "checks": [], "action": "escalate" if score > 0.5 else "close", "abstain": None, "attempts": 1, "tokens_in": 0, "tokens_out": 0, "cost_usd": None,
        "latency_ms": None, "cached": False,
    }


def _outcomes(item: Item, row: dict[str, Any]) -> list[Outcome]:
    if item.group in ("true", "fabricated", "irrelevant", "boundary"):
        ground = row["grounds"][0]
        holds, relevance = bool(ground["holds"]), ground["relevance"]
        common = relevance is not None and relevance <= 1 - COMMON and bool(ground["note"])
        found = f"holds={holds} wrong={ground['wrong']!r} relevance={relevance} note={ground['note']!r}"
        judged = [Outcome(item, holds == item.expected, found)]
        if item.group == "true":
            judged.append(Outcome(item._replace(group="true, not called common"), not common, found))
        if item.group == "irrelevant":
            judged.append(Outcome(item._replace(group="irrelevant, called common"), common, found))
        return judged
    column = "omitted" if item.group in ("omitting", "partly omitting", "mentioning", "nothing to omit") else "summary_wrong"
    return [Outcome(item, bool(row[column]) == item.expected, f"{column}={row[column]!r}")]


def main() -> None:
    """Print the rate of every group with its exact 95 % interval, and every miss."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measure(Sample(Path(folder)), importlib.import_module(sys.argv[1]) if sys.argv[1:] else independent_set)
    for group in dict.fromkeys(outcome.item.group for outcome in outcomes):
        of = [outcome for outcome in outcomes if outcome.item.group == group]
        right = sum(outcome.as_expected for outcome in of)
        rate = exact(right, len(of))
        print(f"{group}: {right} of {len(of)} as expected, {rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})")
    for outcome in outcomes:
        if not outcome.as_expected:
            item = outcome.item
            print(f"\n[{item.group}] {item.case}, {item.kind}: {item.text}\n    expected by: {item.why}\n    came out: {outcome.found}")


if __name__ == "__main__":
    main()
