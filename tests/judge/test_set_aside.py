"""What stands beside a verdict that is not used, and beside one that a rule's floor raised."""

from __future__ import annotations

import polars as pl

from audit_lab import tables
from audit_lab.cli_show import print_case
from audit_lab.judge import verify_verdicts
from audit_lab.judge.rows import claim
from audit_lab.judge.schema import ALL_COMMON, Answer, Claim, Ground
from audit_lab.judge.verdicts import verdict_frame, verdict_row


def test_show_says_that_all_grounds_are_common_and_that_a_floor_decided(case, pack, capsys):
    mine = case.events.filter(pl.col("user") == "mallory", pl.col("source_ip") == "198.51.100.9")["event_id"].to_list()
    answer = Answer(score=0.01, action="close", summary="Requests were made.",
                    grounds=[Ground(claim=Claim(**claim("count", "request", 1)), event_ids=mine[:1])])
    row = verdict_row(case.candidates["case_id"][0], "mine", "1", answer=answer, floor=0.7)
    checked = verify_verdicts(verdict_frame([row]), pack, case.events, case.session_events, case.candidates)
    print_case({"case": None, "sessions": tables.empty("sessions"), "signals": tables.empty("signals"), "events": tables.empty("events"),
                "verdicts": checked})
    said = capsys.readouterr().out
    assert f"judge mine: score 0.70 (a rule's floor decides; the judge said 0.01), review (not used: {ALL_COMMON})" in said
    assert "common: 100% of 13 comparable sessions show the same" in said
