from __future__ import annotations

import json

import polars as pl
import pytest

from audit_lab.errors import InputError, JudgeError
from audit_lab.judge import compare_summary, compare_verdicts, export_prompts, import_answers, judge_cases, make_judge, verify_verdicts
from audit_lab.judge.replay import ReplayJudge, read_answers
from audit_lab.profile import JudgeSettings
from tests.judge.server import GOOD, answering, serving


def answer_all(path, out, score=0.8):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    out.write_text("".join(
        json.dumps({"prompt_sha256": line["prompt_sha256"], "model": "elsewhere", "answer": {**GOOD, "score": score},
                    "usage": {"prompt_tokens": 500, "completion_tokens": 50}}) + "\n" for line in lines))
    return lines


def test_a_batch_can_be_judged_elsewhere(case, pack, tmp_path):
    assert export_prompts(case.candidates, pack, tmp_path / "out.jsonl") == 1
    lines = answer_all(tmp_path / "out.jsonl", tmp_path / "in.jsonl")
    assert set(lines[0]) == {"prompt_sha256", "messages", "schema"}
    assert import_answers(tmp_path / "in.jsonl", tmp_path / "answers") == 1
    assert import_answers(tmp_path / "in.jsonl", tmp_path / "answers") == 0
    judge = make_judge(JudgeSettings(judge="replay", replay=str(tmp_path / "answers" / "imported.jsonl")))
    made = judge_cases(case.candidates, pack, case.signals, judge)
    verdict = made.verdicts.row(0, named=True)
    assert (verdict["score"], verdict["model"], verdict["tokens_in"], verdict["tokens_out"]) == (0.8, "elsewhere", 500, 50)
    assert (verdict["cost_usd"], verdict["cached"]) == (0.0, True)
    assert made.egress.is_empty()
    checked = verify_verdicts(made.verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["usable"].all()


def test_what_an_endpoint_answered_is_replayed_identically(case, pack, tmp_path):
    pytest.importorskip("openai")
    with serving(answering()) as endpoint:
        judge = make_judge(JudgeSettings(judge="openai", base_url=endpoint.url, model="m"), tmp_path)
        first = judge_cases(case.candidates, pack, case.signals, judge).verdicts
    again = judge_cases(case.candidates, pack, case.signals, ReplayJudge(tmp_path / "answers.jsonl")).verdicts
    for column in ("score", "grounds", "summary", "prompt_sha256", "tokens_in", "model"):
        assert first[column].to_list() == again[column].to_list()


def test_a_prompt_without_an_answer_is_an_abstention(case, pack, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt_sha256": "other", "answer": {"score": 1}}\n')
    verdict = judge_cases(case.candidates, pack, case.signals, ReplayJudge(tmp_path / "in.jsonl")).verdicts.row(0, named=True)
    assert (verdict["score"], verdict["abstain"]) == (None, "no answer to this prompt was recorded")


def test_batch_lines_and_their_results_are_understood(case, pack, tmp_path):
    export_prompts(case.candidates, pack, tmp_path / "batch.jsonl", batch_model="big")
    line = json.loads((tmp_path / "batch.jsonl").read_text())
    assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/chat/completions", "big")
    result = {"custom_id": line["custom_id"], "response": {"body": {
        "model": "big", "choices": [{"message": {"content": json.dumps(GOOD)}}], "usage": {"prompt_tokens": 9, "completion_tokens": 8}}}}
    (tmp_path / "done.jsonl").write_text(json.dumps(result) + "\n")
    assert read_answers(tmp_path / "done.jsonl")[line["custom_id"]]["tokens_in"] == 9
    assert judge_cases(case.candidates, pack, case.signals, ReplayJudge(tmp_path / "done.jsonl")).verdicts["score"].to_list() == [0.8]


@pytest.mark.parametrize("text", ["", "no json\n", "[]\n", '{"prompt_sha256": 1, "answer": "x"}\n', '{"custom_id": "x"}\n', "\x00\xff\n"])
def test_a_file_without_an_answer_is_one_line(tmp_path, text):
    (tmp_path / "in.jsonl").write_text(text)
    with pytest.raises(InputError, match="holds no answer") as caught:
        ReplayJudge(tmp_path / "in.jsonl")
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_name_is_one_line(case, pack, tmp_path):
    with pytest.raises(InputError, match="no file of answers"):
        ReplayJudge(tmp_path / "nothing.jsonl")
    with pytest.raises(JudgeError, match="names no file of answers"):
        make_judge(JudgeSettings(judge="replay"))
    with pytest.raises(InputError, match="cannot be written"):
        export_prompts(case.candidates, pack, tmp_path / "no" / "such" / "folder.jsonl")


def verdicts(case, scores, judge_id="a"):
    """Verdicts with the given scores on copies of one case."""
    frame = judge_cases(case.candidates, case_pack_empty(), case.signals).verdicts
    many = pl.concat([frame] * len(scores))
    return many.with_columns(
        pl.Series("case_id", [f"c-{n}" for n in range(len(scores))]), pl.Series("score", scores, dtype=pl.Float64),
        pl.lit(judge_id).alias("judge_id"))


def case_pack_empty():
    from audit_lab import tables

    return tables.empty("evidence")


def test_two_judges_are_compared_on_the_cases_both_judged(case):
    first, second = verdicts(case, [0.1, 0.6, 0.9, 0.2, None, 0.8]), verdicts(case, [0.2, 0.4, 0.95, 0.7, 0.5, 0.85], "b")
    joined = compare_verdicts(first, second)
    assert joined["case_id"].to_list()[:2] == ["c-3", "c-1"]
    assert dict(joined.select("case_id", "flips").iter_rows())["c-4"] is None
    summary = compare_summary(first, second)
    assert (summary["cases"], summary["both_scored"], summary["flips"], summary["agreement"]) == (6, 5, 2, 0.6)
    # By hand: a flags 3 of 5, b flags 3 of 5, chance 0.36 + 0.16.
    assert summary["kappa"] == pytest.approx((0.6 - 0.52) / 0.48)
    assert summary["spearman"] == pytest.approx(0.9)
    assert (summary["a"]["judge"], summary["b"]["judge"], summary["a"]["abstained"]) == ("a", "b", 1)


def test_too_few_cases_give_no_correlation_but_a_reason(case):
    summary = compare_summary(verdicts(case, [0.1, 0.6]), verdicts(case, [0.2, 0.4], "b"))
    assert summary["spearman"] is None
    assert summary["why"] == "2 cases with two scores, or all alike: too few for a correlation"
    assert compare_summary(verdicts(case, [None]), verdicts(case, [None], "b"))["kappa"] is None
