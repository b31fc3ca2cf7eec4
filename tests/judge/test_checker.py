"""The checker, measured on a set that was written before it was run: what it finds, and what it wrongly finds."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest

from audit_lab.judge import build_evidence, verify_verdicts
from audit_lab.judge.schema import Answer, Claim, Ground
from audit_lab.judge.verdicts import verdict_frame, verdict_row
from tests.judge.checker_set import GROUNDS, SECOND, SUMMARIES, Item, cases


@pytest.fixture(scope="module")
def world():
    tale = cases()
    return tale, build_evidence(*tale, max_tokens=3000)


def ids_of(tale, item: Item) -> list[str]:
    wanted = dict(item.events or {})
    if "missing" in wanted:
        return [wanted["missing"]]
    user = wanted.pop("other", item.user)
    found = tale.events.filter(pl.col("user") == user).filter(pl.col("time") > tale.events["time"].min() + pl.duration(hours=1, minutes=30))
    for column, value in wanted.items():
        found = found.filter(pl.col(column) == value)
    return found["event_id"].to_list()


def check(world, item: Item) -> dict:
    tale, pack = world
    case_id = next(case for case in tale.candidates["case_id"] if f"-{item.user}-" in case)
    grounds = [Ground(claim=Claim(**item.claim), event_ids=ids_of(tale, item))] if item.claim else [
        Ground(claim=Claim(kind="count", predicate="request", n=1), event_ids=ids_of(tale, Item("", item.user))[:1])]
    row = verdict_row(case_id, "t", "1", answer=Answer(score=item.score, summary=item.summary, grounds=grounds))
    return verify_verdicts(verdict_frame([row]), pack, tale.events, tale.session_events, tale.candidates).row(0, named=True)


def caught(item: Item, verdict: dict) -> bool:
    ground = verdict["grounds"][0]
    return {
        "true": not ground["holds"], "fabricated": not ground["holds"], "irrelevant": bool(ground["note"]),
        "honest": bool(verdict["summary_wrong"]), "contradicting": bool(verdict["summary_wrong"]),
        "omitting": bool(verdict["omitted"]), "partly": bool(verdict["omitted"]),
    }[item.kind]


def test_the_rates(world):
    """On the first run, before anything was mended: true 0/14 wrongly failed, fabricated 23/23 and irrelevant 5/5 found, honest 2/17
    wrongly flagged, contradicting 19/20 and omitting 3/3 found; the second batch: honest 2/12, contradicting 9/12. The checker was
    then mended on both, so what is held here is in-sample."""
    found, odd = defaultdict(list), []
    for item in (*GROUNDS, *SUMMARIES, *SECOND):
        hit = caught(item, check(world, item))
        found[item.kind].append(hit)
        if hit != (item.kind not in ("true", "honest")):
            odd.append((item.kind, item.user, item.summary or item.claim))
    counts = {kind: (sum(hits), len(hits)) for kind, hits in found.items()}
    assert counts == {
        "true": (0, 14), "fabricated": (23, 23), "irrelevant": (5, 5), "honest": (0, 29), "contradicting": (32, 32), "omitting": (3, 3),
        "partly": (2, 2),
    }, odd


@pytest.mark.parametrize("summary", ["", "거짓 요약입니다. 시크릿 99개를 읽었습니다.", "0", "-", "\u202e", "99999999999999999999 secrets", "1,2,3,4 writes " * 40])
def test_odd_prose_is_no_trouble(world, summary):
    verdict = check(world, Item("honest", "mallory", summary))
    assert verdict["summary_wrong"] is None or isinstance(verdict["summary_wrong"], str)
