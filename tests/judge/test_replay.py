from __future__ import annotations

import json

import polars as pl
import pytest

from audit_lab.errors import InputError, JudgeError
from audit_lab.judge import (
    compare_summary,
    compare_verdicts,
    export_prompts,
    import_answers,
    judge_cases,
    make_challenger,
    make_judge,
    run_judge,
    verify_verdicts,
)
from audit_lab.judge.recorded import read_answers
from audit_lab.judge.replay import ReplayJudge
from audit_lab.profile import ChallengerSettings, EndpointSettings, JudgeSettings
from tests.judge.server import GOOD, answering, completion, serving


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


COUNT = {"claim": {"kind": "count", "predicate": "secret_list", "n": 1}, "event_ids": ["e1"]}
FALSE = {"claim": {"kind": "count", "predicate": "webhook_write", "n": 4}, "event_ids": ["e1"]}
ABSTAINS = {**GOOD, "score": None, "abstain": "the facts do not allow it", "grounds": []}
# What says how an answer was come by, not what it is.
BY_THE_WAY = ["judge_id", "judge_version", "attempts", "cached", "latency_ms", "cost_usd"]


def said(score, ground=COUNT):
    return {**GOOD, "score": score, "grounds": [ground], "summary": "Something happened."}


def replays_of(case, chosen, folder):
    """Let the endpoints of a profile judge; return their verdicts, and those of replays with and without that profile."""
    judge = make_judge(chosen, folder)
    try:
        made = run_judge(*case, judge, chosen).verdicts
    finally:
        judge.close()
    same = chosen.model_copy(update={"judge": "replay", "replay": str(folder / "answers.jsonl")})
    bare = JudgeSettings(judge="replay", replay=str(folder / "answers.jsonl"))
    again = [run_judge(*case, make_judge(settings), settings).verdicts for settings in (same, bare)]
    return [frame.drop(BY_THE_WAY) for frame in (made, *again)]


@pytest.mark.parametrize(("answers", "more", "score", "spread"), [
    ([said(0.2), said(0.9), said(0.4)], {"repeats": 3}, 0.4, 0.7),
    ([said(0.8, FALSE), said(0.7)], {}, 0.7, None),
    ([said(0.8, FALSE), said(0.7, FALSE)], {}, 0.8, None),
    ([said(0.1), said(0.5, FALSE), said(0.9, FALSE), said(0.3)], {"repeats": 3}, 0.3, None),
    (["nonsense", said(0.6)], {}, 0.6, None),
    (["nonsense", said(0.6)], {"repair": False}, None, None),
    ([ABSTAINS], {}, None, None),
])
def test_a_replay_of_repeats_and_repairs_is_what_the_run_was(case, tmp_path, answers, more, score, spread):
    pytest.importorskip("openai")
    with serving(lambda h, n: h.send(body=completion(answers[n - 1]))) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", concurrency=1, **more)
        made, same, bare = replays_of(case, chosen, tmp_path)
    assert (made["score"].to_list(), made["spread"].to_list()) == ([score], [spread and pytest.approx(spread)])
    assert same.equals(made)
    assert bare.equals(made)


@pytest.mark.parametrize(("large", "score"), [(said(0.9), 0.9), (ABSTAINS, 0.5), ("nonsense", 0.5)])
def test_a_replay_of_a_cascade_takes_the_word_that_counted(case, tmp_path, large, score):
    pytest.importorskip("openai")
    with serving(answering(said(0.5))) as one, serving(answering(large)) as two:
        chosen = JudgeSettings(judge="openai", base_url=one.url, model="small", concurrency=1, repair=False,
                               large=EndpointSettings(base_url=two.url, model="big", role="onprem"))
        made, same, bare = replays_of(case, chosen, tmp_path)
    assert made["score"].to_list() == [score]
    assert same.equals(made)
    assert bare["score"].to_list() == [score]


@pytest.mark.parametrize(("small", "large", "score"), [
    (said(0.9, FALSE), said(0.95), 0.95), (said(0.9, FALSE), said(0.95, FALSE), 0.95), (said(0.9, FALSE), "nonsense", 0.9), (said(0.9), said(0.1), 0.9),
])
def test_a_replay_of_a_second_look_after_a_repair_is_what_the_run_was(case, tmp_path, small, large, score):
    pytest.importorskip("openai")
    with serving(answering(small)) as one, serving(answering(large)) as two:
        chosen = JudgeSettings(judge="openai", base_url=one.url, model="small", concurrency=1,
                               large=EndpointSettings(base_url=two.url, model="big", role="onprem"))
        made, same, _ = replays_of(case, chosen, tmp_path)
    assert made["score"].to_list() == [score]
    assert same.equals(made)


def test_a_refusal_is_replayed_as_one(case, tmp_path):
    pytest.importorskip("openai")
    refusal = completion("")
    refusal["choices"][0]["message"]["refusal"] = "I cannot help with that."
    with serving(lambda h, n: h.send(200, refusal)) as endpoint:
        made, same, bare = replays_of(case, JudgeSettings(judge="openai", base_url=endpoint.url, model="m"), tmp_path)
    assert made["abstain"].to_list() == ["the model refused to answer"]
    assert same.equals(made)
    assert bare.equals(made)


def test_what_a_challenger_or_another_model_answered_since_is_not_what_the_run_said(case, tmp_path):
    pytest.importorskip("openai")
    with serving(answering(said(0.2))) as one, serving(answering(said(0.9))) as two:
        chosen = JudgeSettings(judge="openai", base_url=one.url, model="m")
        made, _, _ = replays_of(case, chosen, tmp_path)
        shadow = chosen.model_copy(update={"challenger": ChallengerSettings(base_url=two.url, model="new")})
        run_judge(*case, make_challenger(shadow, tmp_path), shadow)
        assert two.requests == 1
        assert [frame["score"].to_list() for frame in replays_of(case, chosen, tmp_path)] == [[0.2]] * 3
        other = chosen.model_copy(update={"model": "other", "base_url": two.url})
        assert [frame["score"].to_list() for frame in replays_of(case, other, tmp_path)] == [[0.9]] * 3
        made, same, bare = replays_of(case, chosen, tmp_path)
    assert same.equals(made)
    # Without the profile nothing says which of two models is meant: the last that was asked.
    assert bare["score"].to_list() == [0.9]


def test_answers_of_a_lab_are_imported_with_all_that_a_replay_needs(case, tmp_path):
    pytest.importorskip("openai")
    scores = [0.2, 0.9, 0.4]
    with serving(lambda h, n: h.send(body=completion(said(scores[n - 1])))) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", concurrency=1, repeats=3)
        made, _, _ = replays_of(case, chosen, tmp_path)
    assert import_answers(tmp_path / "answers.jsonl", tmp_path / "other") == 3
    assert import_answers(tmp_path / "answers.jsonl", tmp_path / "other") == 0
    again = run_judge(*case, ReplayJudge(tmp_path / "other" / "imported.jsonl")).verdicts
    assert again.drop(BY_THE_WAY).equals(made)


def test_lines_of_earlier_versions_which_do_not_say_whose_they_are_still_count_by_the_last(case, pack, tmp_path):
    export_prompts(case.candidates, pack, tmp_path / "out.jsonl")
    digest = json.loads((tmp_path / "out.jsonl").read_text())["prompt_sha256"]
    kept = [{"key": str(score), "prompt_sha256": digest, "text": json.dumps(said(score)), "model": "old", "tokens_in": 7, "tokens_out": 3,
             "latency_ms": 1.0, "refused": None} for score in (0.2, 0.6)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    for settings in (None, JudgeSettings(model="m", repeats=3)):
        replay = ReplayJudge(tmp_path / "answers.jsonl", settings=settings)
        verdict = judge_cases(case.candidates, pack, case.signals, replay).verdicts.row(0, named=True)
        assert (verdict["score"], verdict["spread"], verdict["model"], verdict["tokens_in"]) == (0.6, None, "old", 7)


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
    assert read_answers(tmp_path / "done.jsonl").answers[line["custom_id"]][0]["tokens_in"] == 9
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
