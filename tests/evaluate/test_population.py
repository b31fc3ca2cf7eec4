"""From the tables of a run to an estimate: the recorded probabilities say how many others a drawn case stands for."""

from __future__ import annotations

import polars as pl
import pytest
from evaluation_story import fill

from audit_lab.errors import InputError
from audit_lab.evaluate.audits import estimate_from_audits
from audit_lab.evaluate.population import reviewed_cases


def run(n: int = 100, drawn_low: int = 8) -> dict[str, pl.DataFrame]:
    """Ten chosen cases, then 10 of middle score of which 5 are drawn, then 80 of low score of which 8 are drawn."""
    names = [f"c{number:03}" for number in range(n)]
    scores = [0.9] * 10 + [0.4] * 10 + [0.1] * (n - 20)
    candidates = [
        {"case_id": name, "session_ids": [f"s{name}"], "score": scores[number], "selected_by": "rank", "sampling_probability": 1.0}
        for number, name in enumerate(names[:10])
    ] + [
        {"case_id": names[number], "session_ids": [f"s{names[number]}"], "score": scores[number], "selected_by": "exploration",
         "sampling_probability": chance}
        for number, chance in [*((place, 0.5) for place in range(10, 15)), *((place, drawn_low / (n - 20)) for place in range(20, 20 + drawn_low))]
    ]
    return {
        "scores": fill("scores", [{"case_id": name, "session_id": f"s{name}", "detector_id": "fused", "score": score}
                                  for name, score in zip(names, scores, strict=True)]),
        "candidates": fill("candidates", candidates),
        "verdicts": fill("verdicts", [{"case_id": "c000", "score": 0.1, "usable": True}, {"case_id": "c010", "score": 0.9, "usable": True}]),
    }


def labels(**verdicts: str) -> pl.DataFrame:
    return fill("labels", [{"label_id": name, "target_kind": "case", "target_id": name, "verdict": verdict} for name, verdict in verdicts.items()])


def test_each_stratum_has_its_size_and_its_reviews() -> None:
    said = {f"c{number:03}": "malicious" if number % 2 else "benign" for number in (*range(10), *range(10, 15), *range(20, 28))}
    cases = reviewed_cases(**run(), labels=labels(**said), threshold=0.5)
    assert cases.height == 100
    sizes = dict(cases.group_by("stratum").len().iter_rows())
    assert sizes == {"chosen": 10, "drawn at 0.5": 10, "drawn at 0.1": 80}
    assert cases.filter(pl.col("malicious").is_not_null()).group_by("stratum").len().sort("stratum").rows() == [
        ("chosen", 9), ("drawn at 0.1", 8), ("drawn at 0.5", 5)]  # c000 was looked at below the line without having been drawn
    drawn = labels(**said).with_columns(sampling_probability=pl.when(pl.col("target_id") == "c000").then(1.0))
    assert reviewed_cases(**run(), labels=drawn, threshold=0.5).filter(pl.col("case_id") == "c000")["malicious"].to_list() == [False]
    # A verdict brought c000 below the line; c010 is above it, but was drawn, not chosen.
    assert cases.filter("flagged")["case_id"].to_list() == [f"c{number:03}" for number in range(1, 10)]
    found = estimate_from_audits(cases, max_half_width=1.0)
    assert found.precision.value == pytest.approx(5 / 9)
    # 5 found; missed: 2 of 5 drawn stand for 4 of 10, 4 of 8 for 40 of 80.
    assert found.recall.value == pytest.approx(5 / (5 + 4 + 40))


def test_sessions_count_for_their_case_unsure_for_nothing_and_malicious_wins() -> None:
    said = pl.concat([
        labels(c001="unsure", c002="benign"),
        fill("labels", [{"label_id": "x", "target_kind": "session", "target_id": "sc002", "session_id": "sc002", "verdict": "malicious"},
                        {"label_id": "y", "target_kind": "incident", "target_id": "i", "session_id": "sc003", "verdict": "malicious"}]),
    ])
    cases = reviewed_cases(**run(), labels=said, threshold=0.5)
    assert dict(cases.drop_nulls("malicious").select("case_id", "malicious").iter_rows()) == {"c002": True}


def test_cases_beyond_every_draw_are_a_stratum_nobody_looked_at() -> None:
    frames = run()
    frames["candidates"] = frames["candidates"].filter(pl.col("sampling_probability") != 0.1)
    cases = reviewed_cases(**frames, labels=labels(), threshold=0.5)
    rest = cases.filter(pl.col("stratum") == "not drawn")
    assert (rest.height, rest["sampling_probability"].unique().to_list()) == (80, [0.0])


def test_probabilities_of_another_run_are_refused() -> None:
    frames = run()
    frames["scores"] = frames["scores"].head(40)
    with pytest.raises(InputError, match="stand for 77 cases that were not drawn, there are 17"):
        reviewed_cases(**frames, labels=labels(), threshold=0.5)
