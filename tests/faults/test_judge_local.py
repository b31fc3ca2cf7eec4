"""A GGUF file served by llama.cpp's own server: the whole path is real, although the words are noise."""

from __future__ import annotations

import json
import os
import time

import pytest

from audit_lab.errors import JudgeError, MissingExtraError
from audit_lab.judge import build_evidence, judge_cases, make_judge, verify_verdicts
from audit_lab.judge.local import LocalServer, check_model_file, model_name
from audit_lab.predicates import PREDICATES
from audit_lab.profile import JudgeSettings
from tests.judge.story import story
from tests.judge.tiny_gguf import write_tiny_gguf

pytest.importorskip("openai", reason="needs the extra 'llm'")
pytest.importorskip("xllamacpp", reason="needs the extra 'local'")
pytest.importorskip("gguf", reason="needs the package gguf to write a model")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def case():
    return story()


@pytest.fixture(scope="module")
def pack(case):
    return build_evidence(*case, max_tokens=200)


def settings(model, **more):
    return JudgeSettings(**{"judge": "openai", "gguf": str(model), "timeout_s": 120, "retries": 0, "concurrency": 1, "max_output_tokens": 2500, **more})


def test_a_model_file_in_the_profile_is_a_judge_on_this_machine(case, pack, model, tmp_path):
    judge = make_judge(settings(model), tmp_path)
    try:
        made = judge_cases(case.candidates, pack, case.signals, judge)
        process = judge._server._process
    finally:
        judge.close()
    assert process.poll() is not None
    verdict = made.verdicts.row(0, named=True)
    assert verdict["model"] == model_name(model)
    assert verdict["tokens_in"] > 500
    # Noise, but noise in the form of a verdict: every name from a closed list.
    raw = json.loads(json.loads((tmp_path / "answers.jsonl").read_text())["text"])
    assert 0 <= raw["score"] <= 1
    assert all(ground["claim"]["predicate"] in PREDICATES for ground in raw["grounds"])
    assert verdict["score"] == raw["score"]
    assert verdict["cost_usd"] == 0.0
    call = made.egress.row(0, named=True)
    assert (call["outcome"], call["role"], call["endpoint"].split(":")[0]) == ("ok", "onprem", "127.0.0.1")
    checked = verify_verdicts(made.verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["grounds"].list.len().to_list() == [len(raw["grounds"])]
    # A rerun needs neither server nor model.
    again = make_judge(settings(model), tmp_path)
    second = judge_cases(case.candidates, pack, case.signals, again)
    assert again._server is None
    assert second.verdicts["cached"].all()


def test_the_server_ends_with_its_owner_and_takes_no_strangers(model):
    import http.client

    server = LocalServer(model)
    try:
        assert server.url.startswith("http://127.0.0.1:")
        port = int(server.url.split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/v1/chat/completions", b"{}", {"Authorization": "Bearer guess"})
        assert connection.getresponse().status == 401
        assert server.key not in " ".join(server._process.args)
    finally:
        started = time.monotonic()
        server.stop()
        server.stop()
    assert time.monotonic() - started < 6
    assert not server.running


@pytest.mark.parametrize(("content", "what"), [
    (None, "cannot be read"), (b"", "is no GGUF file"), (b"PK\x03\x04 zip", "is no GGUF file"), (b"GGUF" + os.urandom(64), "cannot be served"),
], ids=["missing", "empty", "zip", "noise"])
def test_a_file_that_is_no_model_is_one_line(tmp_path, content, what):
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(JudgeError, match=what) as caught:
        LocalServer(path)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_what_to_install(model, tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"local models need the extra 'local'"):
        LocalServer(model)


def test_the_name_of_a_model_changes_with_its_content(tmp_path, model):
    other = write_tiny_gguf(tmp_path / "tiny.gguf", seed=1)
    assert model_name(model) != model_name(other)
    assert model_name(model).startswith("tiny@")
    check_model_file(other)
