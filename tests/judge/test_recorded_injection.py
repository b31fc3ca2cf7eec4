"""Hostile text in the recorded events of the sample: into every string that its raw records hold, through reader, sessions and evidence into the prompt.

A variant is a copy of an incident's records under audit IDs of its own, with a text appended to one field or to all. All variants are read in one
archive and then told apart as clusters. A variant is compared with the one that has a harmless word in the same place.
"""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from audit_lab import Lab, load_profile, tables
from audit_lab.judge import build_evidence
from audit_lab.judge.prompt import build_prompts, load_template
from audit_lab.judge.rows import is_shown
from audit_lab.sessions import build_sessions
from tests.judge.injections import CORPUS
from tests.judge.test_injection import skeleton

DATA = Path(__file__).parents[2] / "data"
PLAIN = "zebra"
# Attacks and look-alikes whose records hold bodies of many kinds: roles, bindings, pods, webhooks, jobs, tokens, certificates, execs.
INCIDENTS = (
    "dev-A012", "dev-A014", "dev-A016", "dev-A020", "dev-A024", "dev-A026", "dev-A027", "dev-A029", "dev-A006", "dev-A009", "dev-N025", "dev-N008",
)
MOST_RECORDS = 12
# Strings of the corpus that a field takes in the fast test.
STRINGS = 2
ATTEMPT = ("hostile_text", "odd_text")
# Fields whose values are shown as classes (what a rule grants, what a command is, what is asked for): a text that adds or breaks one changes
# the few lines that say so, and no others.
CLASSED = re.compile(
    r"requestObject(\[\]\.value|\.rules\[\])\.(verbs|apiGroups|resources)\[\]|requestObject\.spec\.resourceAttributes\.(verb|group|resource|subresource)"
    r"|.*\.(command|args)\[\]|.*\.image|requestObject\.spec\.request|requestURI|userAgent")
MOST_LINES = 12
# Written by the API server itself, whatever a client sends.
SERVERS_OWN = re.compile(
    r"(kind|apiVersion|level|stage|auditID|requestReceivedTimestamp|stageTimestamp|annotations\.authorization\.k8s\.io/decision"
    r"|(request|response)Object\.(kind|apiVersion)|.*\.(creationTimestamp|deletionTimestamp|time|resourceVersion|uid))")


class Variant(NamedTuple):
    """`text` in one field of an incident's records, or in all of them where `field` is None."""

    incident: str
    field: str | None
    text: str


@pytest.fixture(scope="module")
def incidents() -> dict[str, list[dict[str, Any]]]:
    """The records of each incident, the ones with the most fields first kept, in order of time."""
    said = [json.loads(line) for line in (DATA / "labels.jsonl").read_text().splitlines()]
    wanted = {audit_id: line["incident_id"] for line in said if line["incident_id"] in INCIDENTS for audit_id in line["audit_ids"]}
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for file in sorted(DATA.glob("audit*.log.gz")):
        with gzip.open(file, "rt") as lines:
            for line in lines:
                audit_id = line[line.find('"auditID":"') + 11 :][:36]
                if audit_id in wanted:
                    record = json.loads(line)
                    if record["stage"] == "ResponseComplete":
                        found[wanted[audit_id]][audit_id] = record
    chosen = {}
    for incident, records in found.items():
        # What adds most fields that none before has, then the earliest: few records, all kinds of fields.
        left, seen, kept = list(records.values()), set(), []
        while left and len(kept) < MOST_RECORDS:
            best = max(left, key=lambda record: len({path for path, _ in leaves(record)} - seen))
            seen |= {path for path, _ in leaves(best)}
            kept.append(best)
            left.remove(best)
        chosen[incident] = sorted(kept, key=lambda record: record["requestReceivedTimestamp"])
    return chosen


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a record with its path; places in lists are not told apart."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}[]")
    elif isinstance(value, str):
        yield path, value


def rewritten(value: Any, change: Callable[[str, str], str], path: str = "") -> Any:
    if isinstance(value, dict):
        return {key: rewritten(item, change, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list):
        return [rewritten(item, change, f"{path}[]") for item in value]
    return change(path, value) if isinstance(value, str) else value


def fields_of(incidents: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Every writable field -> the incident with the fewest records that has it."""
    found: dict[str, str] = {}
    for incident in sorted(incidents, key=lambda name: (len(incidents[name]), name)):
        for record in incidents[incident]:
            for path, _ in leaves(record):
                if not SERVERS_OWN.fullmatch(path):
                    found.setdefault(path, incident)
    return dict(sorted(found.items()))


def prompts_of(variants: list[Variant], incidents: dict[str, list[dict[str, Any]]], folder: Path) -> list[list[str]]:
    """The lines of each variant's facts."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "audit.log.gz", "wt", compresslevel=1) as file:
        for number, (incident, field, text) in enumerate(variants):
            def change(path: str, value: str, field: str | None = field, text: str = text) -> str:
                return f"{value}{text}" if (path == field or (field is None and not SERVERS_OWN.fullmatch(path))) else value

            for record in incidents[incident]:
                # The audit ID is a client's to choose, too; here it carries the variant's number before anything else.
                with_text = "" if field not in (None, "auditID") else text
                changed = rewritten(copy.deepcopy(record), change)
                file.write(json.dumps({**changed, "auditID": f"v{number:06d}{record['auditID']}{with_text}"}) + "\n")
    lab = Lab(folder / "lab", "sample")
    lab.ingest(folder / "audit.log.gz")
    events = lab.store.read("events").with_columns(cluster=pl.col("event_id").str.slice(0, 7))
    made = build_sessions(events, load_profile("sample"))
    cases = made.session_events.join(events.select("event_id", "cluster", "time"), on="event_id").group_by("cluster").agg(
        pl.col("session_id").sort_by("time").unique(maintain_order=True)).sort("cluster")
    assert cases.height == len(variants), "records of a variant were not read"
    candidates = tables.conform(cases.select(
        pl.col("cluster").alias("case_id"), pl.int_range(1, pl.len() + 1).alias("rank"), pl.col("session_id").alias("session_ids"),
        pl.lit(0.9).alias("score"), pl.lit(None).alias("floor"), pl.lit("rank").alias("selected_by"),
        pl.lit(1.0).alias("sampling_probability"), pl.lit("").alias("why")), "candidates")
    pack = build_evidence(candidates, made.sessions, made.session_events, events, tables.empty("signals"))
    assert [text for text in pack["text"] if not is_shown(text)] == []
    prompts = build_prompts(cases["cluster"].to_list(), pack, load_template())
    return [prompts[f"v{number:06d}"].messages[-1]["content"].split("\n") for number in range(len(variants))]


def unlike(variants: list[Variant], found: list[list[str]]) -> list[str]:
    """Say of which variants the prompt differs from another's of the same field by more than typed facts.

    Typed facts are the attempt itself (lines of `ATTEMPT`, and that an action with an attempt in it has a line of its own) and a class that a
    text makes true (`skeleton`, `CLASSED`). So variants in which the same attempts were recognised must read the same.
    """
    known: dict[Any, tuple[Variant, list[str]]] = {}
    wrong = []
    for variant, lines in zip(variants, found, strict=True):
        shape = skeleton(lines)
        seen = tuple(line for line in shape if any(name in line for name in ATTEMPT))
        first, expected = known.setdefault((variant.incident, variant.field, seen), (variant, shape))
        if shape != expected:
            if CLASSED.fullmatch(variant.field or "") and len(set(shape) ^ set(expected)) <= MOST_LINES:
                continue
            gone, come = ([line for line in a if line not in b] for a, b in ((expected, shape), (shape, expected)))
            wrong.append(f"{variant.field}: {variant.text[:60]!r}, unlike {first.text[:60]!r}: {gone[:3]} became {come[:3]}")
    return wrong


def test_every_field_of_recorded_events_takes_hostile_text_and_the_prompt_stays(incidents, tmp_path):
    """Each field with a plain word, an open attempt, and strings of the corpus in turn."""
    fields = fields_of(incidents)
    assert len(fields) > 200
    corpus = list(dict.fromkeys(CORPUS))
    variants = [
        Variant(incident, field, f"{PLAIN}{text}")
        for place, (field, incident) in enumerate(fields.items())
        for text in ("", CORPUS[0], *(corpus[(place * STRINGS + turn) % len(corpus)] for turn in range(STRINGS)))
    ]
    assert {variant.text.removeprefix(PLAIN) for variant in variants} >= set(corpus)
    found = prompts_of(variants, incidents, tmp_path)
    assert unlike(variants, found) == []
    # Most texts change nothing at all, not even a typed fact.
    plain = {variant.field: lines for variant, lines in zip(variants, found, strict=True) if variant.text == PLAIN}
    same = [lines == plain[variant.field] for variant, lines in zip(variants, found, strict=True) if variant.text != PLAIN]
    assert sum(same) > len(same) / 2


def test_every_string_in_all_fields_of_recorded_events_at_once(incidents, tmp_path):
    variants = [Variant(incident, None, f"{PLAIN}{text}") for incident in ("dev-A016", "dev-A024", "dev-N025") for text in ("", *CORPUS)]
    found = prompts_of(variants, incidents, tmp_path)
    assert unlike(variants, found) == []
    for variant, lines in zip(variants, found, strict=True):
        assert "\n".join(lines).isascii()
        for part in re.findall(r"\w{12,}", variant.text.removeprefix(PLAIN)):
            assert part not in "\n".join(lines), (variant, part)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 51,230 prompts: minutes, more on a busy machine
def test_every_string_in_every_field_of_recorded_events(incidents, tmp_path):
    fields = fields_of(incidents)
    for number, part in enumerate(batches(fields.items(), 10)):
        variants = [Variant(incident, field, f"{PLAIN}{text}") for field, incident in part for text in ("", *dict.fromkeys(CORPUS))]
        assert unlike(variants, prompts_of(variants, incidents, tmp_path / str(number))) == []


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = list(items)
    while rest:
        yield rest[:size]
        rest = rest[size:]
