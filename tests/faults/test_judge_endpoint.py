"""The judge against a real HTTP server on loopback that answers well, badly, late, or not at all."""

from __future__ import annotations

import json
import socket
import time

import pytest

from audit_lab.errors import JudgeError, MissingExtraError
from audit_lab.judge import build_evidence, judge_cases, make_judge, verify_verdicts
from audit_lab.profile import JudgeSettings
from tests.judge.server import GOOD, answering, completion, serving
from tests.judge.story import event, events_of_story, story

pytest.importorskip("openai")


@pytest.fixture(scope="module")
def case():
    return story()


@pytest.fixture(scope="module")
def pack(case):
    return build_evidence(*case)


@pytest.fixture(scope="module")
def many():
    """Six cases."""
    rows = events_of_story()
    for number in range(6):
        rows += [event(9000 + number * 5, f"eve-{number}", "get", "secrets", namespace="team-1", name=f"x-{part}") for part in range(number + 1)]
    tale = story(rows, tuple(f"eve-{number}" for number in range(6)))
    return tale, build_evidence(*tale)


def settings(url, **more):
    chosen = {"judge": "openai", "base_url": url, "model": "tiny", "timeout_s": 5.0, "retries": 2, "concurrency": 2, **more}
    return JudgeSettings(**chosen)


def ask(case, pack, url, folder=None, **more):
    judge = make_judge(settings(url, **more), folder)
    try:
        return judge_cases(case.candidates, pack, case.signals, judge)
    finally:
        judge.close()


def failing(case, pack, url, **more):
    with pytest.raises(JudgeError) as caught:
        ask(case, pack, url, **more)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    verdicts = caught.value.tables.verdicts
    assert verdicts.height == case.candidates.height
    assert verdicts["score"].null_count() == verdicts.height
    assert verdicts["abstain"].null_count() == 0
    return str(caught.value), caught.value.tables


def test_a_good_answer_becomes_a_verdict_that_is_verified(case, pack):
    with serving(answering()) as endpoint:
        made = ask(case, pack, endpoint.url)
    verdict = made.verdicts.row(0, named=True)
    assert (verdict["score"], verdict["action"], verdict["model"], verdict["summary_by"]) == (0.8, "review", "tiny-7b", "model")
    assert (verdict["tokens_in"], verdict["tokens_out"], verdict["cost_usd"], verdict["attempts"]) == (700, 60, None, 1)
    checked = verify_verdicts(made.verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["grounds"][0][0]["sentence"] == "The actor listed secrets once."
    assert checked["usable"][0]
    call = made.egress.row(0, named=True)
    assert (call["outcome"], call["tokens_in"], call["tokens_out"], call["case_id"]) == ("ok", 700, 60, case.candidates["case_id"][0])
    assert call["endpoint"] == endpoint.url.removeprefix("http://").removesuffix("/v1")
    request = endpoint.bodies[0]
    assert request["model"] == "tiny"
    assert request["temperature"] == 0
    assert request["response_format"]["json_schema"]["strict"] is True


def test_what_is_sent_is_the_prompt_and_nothing_else(case, pack, monkeypatch):
    monkeypatch.setenv("AUDIT_LAB_API_KEY", "sk-very-secret")
    with serving(answering()) as endpoint:
        made = ask(case, pack, endpoint.url)
    sent = json.dumps(endpoint.bodies[0])
    assert set(endpoint.bodies[0]) == {"model", "messages", "max_tokens", "temperature", "response_format"}
    for raw in ("mallory", "198.51.100.9", "team-1", "sk-very-secret"):
        assert raw not in sent
    assert endpoint.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in str(made.verdicts.to_dicts()) + str(made.egress.to_dicts())


def test_429_waits_as_long_as_it_is_told_and_then_gets_its_answer(case, pack):
    with serving(lambda h, n: h.send(429, {"error": {}}, {"Retry-After": "1"}) if n == 1 else h.send()) as endpoint:
        started = time.monotonic()
        made = ask(case, pack, endpoint.url)
    assert 1.0 <= time.monotonic() - started < 4
    assert made.verdicts["score"].to_list() == [0.8]
    assert made.egress["outcome"].to_list() == ["rate_limited", "ok"]


def test_429_that_asks_for_an_hour_is_not_waited_for(case, pack):
    with serving(lambda h, n: h.send(429, {"error": {}}, {"Retry-After": "3600"})) as endpoint:
        message, made = failing(case, pack, endpoint.url)
    assert "asks to slow down (429)" in message
    assert made.egress.height == 1


def test_500_is_tried_again_and_then_given_up(case, pack):
    with serving(lambda h, n: h.send(500, {"error": {"message": "boom"}})) as endpoint:
        message, made = failing(case, pack, endpoint.url, retries=1)
    assert message.startswith(f"no case could be judged at {endpoint.url[7:-3]}: the endpoint failed (500)")
    assert made.egress["outcome"].to_list() == ["server_error"] * 2
    assert made.verdicts["abstain"][0] == "the endpoint failed (500) after 2 calls"


def test_500_once_is_forgiven(case, pack):
    with serving(lambda h, n: h.send(503, b"busy") if n == 1 else h.send()) as endpoint:
        assert ask(case, pack, endpoint.url).verdicts["score"].to_list() == [0.8]


def test_an_endpoint_that_never_answers_times_out(case, pack):
    with serving(lambda h, n: time.sleep(3)) as endpoint:
        message, _ = failing(case, pack, endpoint.url, timeout_s=0.4, retries=0)
    assert "no answer within 0.4 s (hint: raise judge.timeout_s" in message


def test_a_slow_drip_ends_at_the_time_limit(case, pack):
    with serving(lambda h, n: h.drip()) as endpoint:
        started = time.monotonic()
        message, _ = failing(case, pack, endpoint.url, timeout_s=1.0, retries=0)
    assert time.monotonic() - started < 3
    assert "took longer than 1 s" in message


def drip_headers(handler, _):
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 40:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.1)


def announce_for_ever(handler, _):
    for _ in range(40):
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize("behave", [drip_headers, announce_for_ever])
def test_the_time_limit_holds_before_the_answer_begins(case, pack, behave):
    with serving(behave) as endpoint:
        started = time.monotonic()
        message, made = failing(case, pack, endpoint.url, timeout_s=0.5, retries=0)
        took = time.monotonic() - started
    assert took < 1.5
    assert "no answer within 0.5 s" in message
    assert made.egress["outcome"].to_list() == ["timeout"]


def test_a_drip_in_an_error_body_ends_too(case, pack):
    def drip(handler, _):
        handler.send_response(500)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    with serving(drip) as endpoint:
        started = time.monotonic()
        failing(case, pack, endpoint.url, timeout_s=1.0, retries=0)
    assert time.monotonic() - started < 3


def test_a_cut_answer_is_asked_for_again(case, pack):
    with serving(lambda h, n: h.cut() if n == 1 else h.send()) as endpoint:
        made = ask(case, pack, endpoint.url)
    assert made.verdicts["score"].to_list() == [0.8]
    assert made.egress["outcome"].to_list() == ["cut", "ok"]


def test_an_envelope_that_is_no_completion_fails_in_words(case, pack):
    for body in (b"<html>busy</html>", {"choices": []}, {"choices": [{"message": {"content": ["x"]}}]}, [1]):
        with serving(lambda h, n, body=body: h.send(200, body)) as endpoint:
            message, _ = failing(case, pack, endpoint.url, retries=0)
        assert "did not send a chat completion" in message


BAD = [
    ("{'score': 1", "answer is not JSON"),
    ("I think it is fine.", "answer is not JSON"),
    ("[1, 2]", "answer is not a JSON object"),
    ("", "answer is empty"),
    ({**GOOD, "score": 1.7}, "answer does not fit the schema: score"),
    ({**GOOD, "score": "high"}, "answer does not fit the schema: score"),
    ({**GOOD, "score": None}, "neither a score nor a reason to abstain"),
    ({**GOOD, "grounds": "many"}, "answer does not fit the schema: grounds"),
    ({**GOOD, "grounds": GOOD["grounds"] * 4}, "answer does not fit the schema: grounds"),
    ({**GOOD, "action": "block_user"}, "names an action that is not on the list"),
    ('{"score": NaN}', "answer does not fit the schema: score"),
    ('{"score": ' + "[" * 50_000 + "}", "answer is not JSON"),
]


@pytest.mark.parametrize(("content", "why"), BAD, ids=[case[1] for case in BAD])
def test_an_answer_that_is_no_verdict_is_kept_as_an_abstention_with_the_reason(case, pack, content, why):
    with serving(answering(content)) as endpoint:
        made = ask(case, pack, endpoint.url)
    verdict = made.verdicts.row(0, named=True)
    assert verdict["score"] is None
    assert why in verdict["abstain"]
    assert verdict["tokens_in"] == 700
    assert made.egress["outcome"].to_list() == ["ok"]


def test_an_answer_in_a_fence_or_after_thinking_is_understood(case, pack):
    for text in ("```json\n" + json.dumps(GOOD) + "\n```", "<think>hm {no}</think>\n" + json.dumps(GOOD)):
        with serving(answering(text)) as endpoint:
            assert ask(case, pack, endpoint.url).verdicts["score"].to_list() == [0.8]


def test_ids_that_do_not_exist_make_the_ground_fail(case, pack):
    ground = {**GOOD["grounds"][0], "event_ids": ["e1", "e4711"]}
    with serving(answering({**GOOD, "grounds": [ground]})) as endpoint:
        made = ask(case, pack, endpoint.url)
    checked = verify_verdicts(made.verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["grounds"][0][0]["wrong"] == "cites 1 event outside the case's evidence"
    assert not checked["usable"][0]


def test_a_model_cannot_go_below_a_rules_floor(case, pack):
    import polars as pl

    floored = case._replace(candidates=case.candidates.with_columns(pl.lit(0.7).alias("floor")))
    with serving(answering({**GOOD, "score": 0.01, "grounds": []})) as endpoint:
        verdict = ask(floored, pack, endpoint.url).verdicts.row(0, named=True)
    assert (verdict["score"], verdict["raw_score"]) == (0.7, 0.01)


def test_a_huge_answer_is_refused_before_it_is_read(case, pack):
    with serving(lambda h, n: h.send(200, json.dumps(completion("x" * 10_000_000)).encode())) as endpoint:
        message, made = failing(case, pack, endpoint.url)
    assert "the answer is larger than 256 KiB" in message
    assert made.egress["outcome"].to_list() == ["too_large"]


def test_a_refusal_is_an_abstention(case, pack):
    refusal = completion("")
    refusal["choices"][0]["message"]["refusal"] = "I cannot help with that."
    with serving(lambda h, n: h.send(200, refusal)) as endpoint:
        verdict = ask(case, pack, endpoint.url).verdicts.row(0, named=True)
    assert (verdict["score"], verdict["abstain"]) == (None, "the model refused to answer")


def test_an_answer_cut_at_the_limit_says_so(case, pack):
    long = completion('{"score": 0.')
    long["choices"][0]["finish_reason"] = "length"
    with serving(lambda h, n: h.send(200, long)) as endpoint:
        assert ask(case, pack, endpoint.url).verdicts["abstain"][0] == "the answer is longer than 800 tokens"


def test_connection_refused_is_one_line(case, pack):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    message, made = failing(case, pack, f"http://127.0.0.1:{port}/v1", retries=0)
    assert message == (f"no case could be judged at 127.0.0.1:{port}: the endpoint cannot be reached "
                       "(hint: start it, or set judge.base_url; run again to go on)")
    assert made.egress["outcome"].to_list() == ["unreachable"]


def test_a_dead_endpoint_is_not_asked_for_every_case(many):
    tale, pack = many
    with serving(lambda h, n: h.send(500, b"")) as endpoint:
        _, made = failing(tale, pack, endpoint.url, retries=0, concurrency=1)
    assert endpoint.requests == 3
    assert made.verdicts["abstain"].to_list()[-1] == "not tried: the endpoint failed (500)"


def test_a_wrong_key_stops_at_once_and_is_not_shown(many, monkeypatch):
    monkeypatch.setenv("AUDIT_LAB_API_KEY", "sk-wrong")
    tale, pack = many
    with serving(lambda h, n: h.send(401, {"error": {"message": "Incorrect API key provided: sk-wrong"}})) as endpoint:
        message, _ = failing(tale, pack, endpoint.url, concurrency=1)
    assert endpoint.requests == 1
    assert "does not accept the key in AUDIT_LAB_API_KEY (401)" in message
    assert "sk-wrong" not in message


def test_a_redirect_is_not_followed(case, pack):
    with serving(answering()) as other, serving(lambda h, n: h.send(307, b"", {"Location": f"{other.url}/chat/completions"})) as endpoint:
        failing(case, pack, endpoint.url, retries=0)
        assert other.requests == 0


def test_an_endpoint_that_knows_no_schema_is_asked_more_simply(case, pack):
    def behave(handler, _):
        kind = handler.endpoint.bodies[-1].get("response_format", {}).get("type")
        handler.send(400, {"error": {"message": "response_format is not supported"}}) if kind else handler.send()

    with serving(behave) as endpoint:
        made = ask(case, pack, endpoint.url)
    assert made.verdicts["score"].to_list() == [0.8]
    assert [body.get("response_format", {}).get("type") for body in endpoint.bodies] == ["json_schema", "json_object", None]


def test_an_endpoint_with_another_name_for_the_limit_is_obliged(case, pack):
    def behave(handler, _):
        if "max_tokens" in handler.endpoint.bodies[-1]:
            handler.send(400, {"error": {"message": "Use 'max_completion_tokens' instead.", "param": "max_tokens"}})
        else:
            handler.send()

    with serving(behave) as endpoint:
        assert ask(case, pack, endpoint.url, retries=0).verdicts["score"].to_list() == [0.8]
    assert endpoint.bodies[-1]["max_completion_tokens"] == 800


def test_one_bad_case_among_good_ones_loses_nothing(many):
    tale, pack = many
    with serving(lambda h, n: h.send(200, completion("nonsense") if n == 2 else None)) as endpoint:
        made = ask(tale, pack, endpoint.url, concurrency=1)
    assert made.verdicts.height == 6
    assert made.verdicts["score"].null_count() == 1
    assert made.verdicts["case_id"].to_list() == tale.candidates["case_id"].to_list()


def test_an_answer_is_never_paid_twice_and_a_run_resumes_where_it_stopped(many, tmp_path):
    tale, pack = many
    with serving(lambda h, n: h.send() if n <= 3 else h.send(401, {"error": {}})) as endpoint:
        first = ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        assert first.verdicts["score"].null_count() == 3
        assert endpoint.requests == 4
        endpoint.behave = answering()
        second = ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        assert endpoint.requests == 4 + 3
        assert second.verdicts["cached"].to_list() == [True] * 3 + [False] * 3
        third = ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        assert endpoint.requests == 7
    assert third.verdicts["cached"].all()
    assert third.egress.is_empty()
    assert third.verdicts["cost_usd"].to_list() == [0.0] * 6
    assert third.verdicts.drop("cached", "cost_usd", "latency_ms", "attempts").equals(
        second.verdicts.drop("cached", "cost_usd", "latency_ms", "attempts"))


def test_a_line_that_a_crash_cut_is_passed_over_and_the_next_is_whole(many, tmp_path):
    tale, pack = many
    with serving(answering()) as endpoint:
        ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        file = tmp_path / "answers.jsonl"
        file.write_bytes(file.read_bytes()[:-40])
        again = ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        assert endpoint.requests == 7
        assert again.verdicts["score"].null_count() == 0
        ask(tale, pack, endpoint.url, tmp_path, concurrency=1)
        assert endpoint.requests == 7
    # Two lines a call: that it left, and what became of it.
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 14


def test_cases_that_read_the_same_are_one_question(tmp_path):
    rows = events_of_story()
    rows += [event(9000, f"eve-{number}", "get", "secrets", namespace="team-1", name="x") for number in range(5)]
    tale = story(rows, tuple(f"eve-{number}" for number in range(5)))
    with serving(answering({**GOOD, "grounds": [{"claim": {"kind": "count", "predicate": "secret_get", "n": 1}, "event_ids": ["e1"]}]})) as endpoint:
        made = ask(tale, build_evidence(*tale), endpoint.url, concurrency=4)
        assert endpoint.requests == 1
    cited = [grounds[0]["event_ids"] for grounds in made.verdicts["grounds"].to_list()]
    assert len({tuple(ids) for ids in cited}) == 5
    assert made.verdicts["cached"].to_list() == [False] + [True] * 4


def test_a_changed_prompt_model_or_parameter_is_another_question(case, pack, tmp_path):
    with serving(answering()) as endpoint:
        ask(case, pack, endpoint.url, tmp_path)
        ask(case, pack, endpoint.url, tmp_path, model="other")
        ask(case, pack, endpoint.url, tmp_path, max_output_tokens=300)
        ask(case, pack.head(5), endpoint.url, tmp_path)
        assert endpoint.requests == 4


def test_the_budget_of_tokens_is_hard(many):
    tale, pack = many
    with serving(answering()) as endpoint:
        made = ask(tale, pack, endpoint.url, max_tokens=6000, concurrency=1)
    spent = made.egress["tokens_in"].sum() + made.egress["tokens_out"].sum()
    assert 0 < spent <= 6000
    assert made.verdicts["abstain"].drop_nulls().unique().to_list() == ["the budget of 6000 tokens a run is used up"]


def test_the_budget_of_money_is_hard_and_calls_are_priced(many):
    tale, pack = many
    with serving(answering()) as endpoint:
        made = ask(tale, pack, endpoint.url, max_usd=0.036, usd_per_million_in=5.0, usd_per_million_out=10.0, concurrency=1)
    assert made.verdicts["cost_usd"].drop_nulls().to_list() == [pytest.approx((700 * 5 + 60 * 10) / 1e6)] * made.egress.height
    assert 0 < made.egress.height < 6
    assert made.egress["cost_usd"].sum() <= 0.036


@pytest.mark.parametrize(("url", "model", "what"), [
    ("", "m", "judge.base_url is no endpoint"), ("ftp://x/v1", "m", "judge.base_url is no endpoint"),
    ("http://x:99999/v1", "m", "judge.base_url is no endpoint"), ("http://me:pw@x/v1", "m", "holds a user or password"),
    ("http://localhost:1/v1", "", "names no model"),
])
def test_a_profile_that_names_no_endpoint_is_one_line(url, model, what):
    with pytest.raises(JudgeError, match=what) as caught:
        make_judge(JudgeSettings(judge="openai", base_url=url, model=model))
    assert "pw" not in str(caught.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"model judges need the extra 'llm'"):
        make_judge(settings("http://localhost:1/v1"))
