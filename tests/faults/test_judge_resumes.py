"""A run that was left half done says so in one line, ends with 1, and the next one goes on where it stopped; on the command line."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_lab import Lab, load_profile
from audit_lab.cli import main
from tests.archive.conftest import lines, record
from tests.faults.test_judge_routes import free_port, said
from tests.judge.server import answering, completion, serving

pytest.importorskip("openai")
N = 6


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A lab with six candidates that differ, run up to the judge."""
    folder = tmp_path_factory.mktemp("resumes")
    events = []
    for person in range(N):
        for n in range(6 + person):
            stamp = f"2026-01-01T1{person}:30:{n:02d}.000000Z"
            events.append(record(
                f"b-{person}-{n}", verb="get", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=["203.0.113.9"],
                user={"username": f"bob-{person}@example.org", "groups": ["developers"]}, userAgent="curl/8",
                requestURI=f"/api/v1/namespaces/ns-{n}/secrets/s-{n}",
                objectRef={"resource": "secrets", "namespace": f"ns-{n}", "name": f"s-{n}", "apiVersion": "v1"},
            ))
    (folder / "audit.log").write_bytes(lines(*events))
    lab = Lab(folder / "lab", load_profile(profile(folder, "")))
    lab.ingest(folder / "audit.log")
    lab.run(until="candidates")
    assert lab.candidates.collect().height == N
    return folder / "lab"


@pytest.fixture
def lab(ready, tmp_path) -> Path:
    return shutil.copytree(ready, tmp_path / "lab")


@pytest.fixture
def word(lab, capsys, monkeypatch):
    """Run a word as a user does; return its exit code, the notes, and what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str):
        monkeypatch.setattr(sys, "argv", ["audit-lab", *words, "--lab", str(lab)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        notes = [line.removeprefix("note: ") for line in shown.err.splitlines() if line.startswith(("note: ", "error: "))]
        return ended.value.code or 0, notes, shown.out

    return run


def profile(folder: Path, url: str, **more: object) -> str:
    chosen = {"judge": "openai", "base_url": url, "model": "m", "retries": 0, "concurrency": 1, "timeout_s": 5, **more}
    tables = {name: value for name, value in chosen.items() if isinstance(value, dict)}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items() if name not in tables)
    text += "".join(f"[judge.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
                    for name, table in tables.items())
    (folder / "p.toml").write_text(f'base = "default"\n[signals]\ndetectors = []\n[judge]\n{text}')
    return str(folder / "p.toml")


def test_a_server_that_fails_half_way_is_said_and_the_next_run_goes_on(word, lab, tmp_path):
    good = answering(said(0.4))
    with serving(lambda h, n: good(h, n) if n <= 2 else h.send(500, b"")) as endpoint:
        code, notes, _ = word("judge", "--profile", profile(tmp_path, endpoint.url))
        assert (code, notes[-1]) == (1, "judged 2 of 6; 4 without an answer: the endpoint failed (500); run again to go on")
        assert endpoint.requests == 5
        assert Lab(lab).verdicts.collect()["score"].null_count() == 4
        assert Lab(lab).stale() == ["verdicts"]
        endpoint.behave = good
        code, notes, shown = word("run")
        assert (code, [note for note in notes if note.startswith("judged")], "ran verdicts" in shown) == (0, [], True)
        assert endpoint.requests == 5 + 4
        assert Lab(lab).verdicts.collect()["score"].null_count() == 0
        code, _, shown = word("run")
        assert (code, "nothing to do" in shown, endpoint.requests) == (0, True, 9)


def test_a_key_that_was_wrong_is_mended_in_the_environment_alone(word, lab, tmp_path, monkeypatch):
    def behave(handler, n):
        wrong = handler.headers["Authorization"] == "Bearer wrong" and n > 1
        handler.send(401, {"error": {}}) if wrong else handler.send(body=completion(said(0.4)))

    monkeypatch.setenv("AUDIT_LAB_API_KEY", "wrong")
    with serving(behave) as endpoint:
        code, notes, _ = word("judge", "--profile", profile(tmp_path, endpoint.url))
        assert (code, "does not accept the key" in notes[-1]) == (1, True)
        monkeypatch.setenv("AUDIT_LAB_API_KEY", "right")
        assert word("judge")[0] == 0
    assert Lab(lab).verdicts.collect()["score"].null_count() == 0


@pytest.mark.parametrize("limit", ["a run", "a day"])
def test_a_budget_that_ends_a_run_is_said_and_the_next_budget_goes_on(word, lab, tmp_path, limit):
    with serving(answering(said(0.4))) as endpoint:
        calls, today = lab / "answers" / "calls.jsonl", datetime.now(UTC).date().isoformat()
        more = {"max_tokens": 3500}
        if limit == "a day":
            calls.parent.mkdir()
            calls.write_text(json.dumps({"at": f"{today}T00:00:00+00:00", "tokens_in": 996_500, "tokens_out": 0}) + "\n")
            more = {"max_tokens_per_day": 1_000_000}
        code, notes, _ = word("judge", "--profile", profile(tmp_path, endpoint.url, **more))
        n = endpoint.requests
        assert 0 < n < 6
        used = f"the budget of {next(iter(more.values()))} tokens {limit} is used up"
        assert (code, notes[-1]) == (1, f"judged {n} of 6; {6 - n} without an answer: {used}; run again to go on")
        if limit == "a day":
            assert word("run")[0] == 1
            assert endpoint.requests == n
            # As if it had been yesterday.
            calls.write_text(calls.read_text().replace(today, "2020-01-01"))
        word("run")
        assert n < endpoint.requests <= 6


def test_cases_that_wait_for_the_house_are_asked_about_when_it_is_up_again(word, lab, tmp_path):
    port = free_port()
    with serving(answering(said(0.4))) as outside:
        chosen = {"sensitive_namespaces": ["ns-8"], "sensitive_categories": [], "cloud_below": 1.0}
        path = profile(tmp_path, f"http://127.0.0.1:{port}/v1", cloud={"base_url": outside.url, "model": "c"}, **chosen)
        code, notes, _ = word("judge", "--profile", path)
        assert (code, notes[-1]) == (1, f"judged {outside.requests} of 6; {6 - outside.requests} without an answer: waiting for the "
                                        "on-premises endpoint (the endpoint cannot be reached); run again to go on")
        assert Lab(lab).stale() == ["verdicts"]


def test_a_question_that_an_endpoint_cannot_take_is_said_and_not_asked_again(word, lab, tmp_path):
    with serving(lambda h, n: h.send(200, b"x" * 300_000) if n == 1 else h.send(body=completion(said(0.4)))) as endpoint:
        code, notes, _ = word("judge", "--profile", profile(tmp_path, endpoint.url))
        assert (code, notes[-1]) == (1, "judged 5 of 6; 1 without an answer: the answer is larger than 256 KiB")
        code, notes, shown = word("run")
        assert (code, "nothing to do" in shown, endpoint.requests) == (1, True, 6)
        assert notes[-1] == "judged 5 of 6; 1 without an answer: the answer is larger than 256 KiB"


def test_a_repair_that_got_no_answer_is_asked_for_by_the_next_run(word, lab, tmp_path):
    wrong = said(0.4, grounds=[{"claim": {"kind": "count", "predicate": "webhook_write", "n": 4}, "event_ids": ["e1"]}])

    def behave(handler, _):
        again = len(handler.endpoint.bodies[-1]["messages"]) > 2
        handler.send(500, b"") if again else handler.send(body=completion(wrong))

    with serving(behave) as endpoint:
        code, notes, _ = word("judge", "--profile", profile(tmp_path, endpoint.url))
        assert (code, notes[-1]) == (0, "judged 6 of 6; 6 without a repeat, a repair or a second opinion: the endpoint failed (500); run again to go on")
        endpoint.behave = answering(said(0.3))
        word("run")
    assert Lab(lab).verdicts.collect()["usable"].all()


def test_a_challenger_goes_on_too_and_ends_no_run_with_1(word, lab, tmp_path):
    good = answering(said(0.4))
    with serving(lambda h, n: good(h, n) if n <= 2 else h.send(500, b"")) as endpoint:
        chosen = {"judge": "baseline", "challenger": {"base_url": endpoint.url, "model": "new"}}
        code, notes, _ = word("judge", "--profile", profile(tmp_path, "", **chosen))
        assert (code, notes[-1]) == (0, "challenger: judged 2 of 6; 4 without an answer: the endpoint failed (500); run again to go on")
        endpoint.behave = good
        assert "ran verdicts" in word("run")[2]
        assert "nothing to do" in word("run")[2]
    assert Lab(lab).shadow_verdicts.collect()["score"].null_count() == 0


def test_an_import_says_how_many_questions_are_answered_and_what_fits_none(word, lab, tmp_path):
    path = profile(tmp_path, "")
    word("judge", "--profile", path, "--export-prompts", str(tmp_path / "out.jsonl"))
    asked = [json.loads(line)["prompt_sha256"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    answers = [json.dumps({"prompt_sha256": key, "model": "elsewhere", "answer": said(0.4)}) for key in [*asked[:4], "x", "y"]]
    (tmp_path / "in.jsonl").write_text("\n".join([*answers, "half a li"]))
    code, notes, _ = word("judge", "--profile", path, "--import-answers", str(tmp_path / "in.jsonl"))
    assert (code, notes[-1]) == (1, "4 of 6 questions answered; 1 line unreadable, 2 answers fit no question")
    (tmp_path / "rest.jsonl").write_text("\n".join(answers[0].replace(asked[0], key) for key in asked[4:]))
    code, notes, _ = word("judge", "--profile", path, "--import-answers", str(tmp_path / "rest.jsonl"))
    assert (code, notes[-1]) == (0, "6 of 6 questions answered")


def test_more_recorded_answers_are_more_verdicts(word, lab, tmp_path):
    with serving(answering(said(0.4))) as endpoint:
        word("judge", "--profile", profile(tmp_path, endpoint.url))
    kept = (lab / "answers" / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "some.jsonl").write_text("".join(kept[:4]))
    code, notes, _ = word("judge", "--profile", profile(tmp_path, "", judge="replay", replay=str(tmp_path / "some.jsonl")))
    assert (code, notes[-1]) == (1, "judged 4 of 6; 2 without an answer: no answer to this prompt was recorded")
    (tmp_path / "some.jsonl").write_text("".join(kept))
    assert (word("run")[0], Lab(lab).verdicts.collect()["score"].null_count()) == (0, 0)
