"""What people are shown: the prompt as it is sent, and verdicts in their language."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from audit_lab import Lab, load_profile
from audit_lab.judge import asked_places, judge_cases, render_prompt, verify_verdicts
from audit_lab.judge.prompt import load_template
from audit_lab.judge.schema import answer_schema
from audit_lab.profile import JudgeSettings
from tests.judge.server import answering, serving
from tests.small_lab import small_archive


def profile(**judge):
    return load_profile().model_copy(update={"judge": JudgeSettings(**{"timeout_s": 5.0, **judge})})


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "lab", profile())
    made.ingest(small_archive(tmp_path))
    made.run()
    path = tmp_path / "incidents.jsonl"
    path.write_text(json.dumps({"incident_id": "i", "title": "t", "malicious": False, "reason": "r", "audit_ids": ["a-0"]}))
    made.label(path)
    return made


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_prompt_that_is_shown_is_byte_for_byte_what_is_sent(lab, lang):
    pytest.importorskip("openai")
    with serving(answering()) as endpoint:
        lab.profile = profile(judge="openai", base_url=endpoint.url, model="m", lang=lang, repair=False)
        lab.run()
        sent = [body["messages"] for body in endpoint.bodies]
        schema = endpoint.bodies[0]["response_format"]["json_schema"]["schema"]
    shown = {lab.prompt(case_id) for case_id in lab.candidates.collect()["case_id"]}
    expected = {
        "\n\n".join([f"[sent to]\nonprem: m at {endpoint.url.split('/')[2]}", *(f"[{message['role']}]\n{message['content']}" for message in messages), f"[schema]\n{json.dumps(schema)}"])
        for messages in sent
    }
    assert shown == expected
    assert any(len(messages) > 2 for messages in sent)
    assert f"in {'Korean' if lang == 'ko' else 'English'}: what was done" in shown.pop()


def test_a_language_makes_another_prompt_and_another_digest(pack):
    assert load_template(lang="ko").digest != load_template().digest
    assert "[schema]\n{" in render_prompt(pack)


def test_the_baseline_speaks_korean_as_well(case, pack):
    verdicts = judge_cases(case.candidates, pack, case.signals).verdicts
    checked = verify_verdicts(verdicts, pack, case.events, case.session_events, case.candidates)
    assert checked["summary"][0] == (
        "No language model was asked: 1 rule hit and 0 other signals give 0.90. "
        "The actor bound the role cluster-admin, and it succeeded.")
    assert checked["summary_ko"][0].startswith("언어 모델에 묻지 않았습니다: 규칙 적중 1건과 그 밖의 신호 0건으로 점수는 0.90입니다. ")
    assert checked["summary_ko"][0].endswith(checked["grounds"][0][0]["sentence_ko"])


def test_show_prints_summary_grounds_and_checks_in_either_language(lab):
    case_id = lab.verdicts.filter(pl.col("grounds").list.len() > 0).collect()["case_id"][0]
    command = [sys.executable, "-m", "audit_lab", "show", case_id, "--lab", str(lab.store.root)]
    english = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    korean = subprocess.run([*command, "--lang", "ko"], capture_output=True, text=True, check=True).stdout
    assert "No language model was asked" in english
    assert "언어 모델에 묻지 않았습니다" in korean
    assert "No language model was asked" not in korean
    assert english.count("□") == korean.count("□") == 3
    wrong = subprocess.run([*command, "--lang", "fr"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "judge: 'lang'" in wrong.stderr


def test_questions_for_the_cloud_leave_out_what_must_stay(lab, tmp_path):
    n = lab.candidates.collect().height
    assert lab.export_prompts(tmp_path / "all.jsonl") == n
    assert lab.export_prompts(tmp_path / "none.jsonl", for_cloud=True) == 0
    lab.profile = profile(sensitive_namespaces=[], sensitive_categories=["secret"], cloud_below=1.0)
    for_cloud = lab.export_prompts(tmp_path / "some.jsonl", for_cloud=True, batch_model="big")
    assert 0 < for_cloud < n
    assert json.loads((tmp_path / "some.jsonl").read_text().splitlines()[0])["body"]["model"] == "big"


def test_words_that_need_each_other_say_so(lab):
    for words, what in (
        (("--accept",), "--accept goes with --probe"), (("--for-cloud",), "go with --export-prompts"),
        (("--probe",), "judge 'baseline' asks no model"), (("--judge", "openai", "--probe"), "judge.base_url is no endpoint"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "audit_lab", "judge", *words, "--lab", str(lab.store.root)], capture_output=True, text=True, check=False)
        assert (done.returncode, what in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


def test_a_probe_on_the_command_line_exits_1_when_the_model_changed(lab):
    pytest.importorskip("openai")
    with serving(answering()) as endpoint:
        file = lab.store.root.parent / "profile.toml"
        file.write_text(f'[judge]\njudge = "openai"\nbase_url = "{endpoint.url}"\nmodel = "m"\n')
        command = [sys.executable, "-m", "audit_lab", "judge", "--probe", "--lab", str(lab.store.root), "--profile", str(file)]
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        endpoint.behave = answering({**json.loads('{"score": 0.1, "grounds": []}')})
        changed = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        accepted = subprocess.run([*command, "--accept"], capture_output=True, text=True, check=False)
        calm = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [done.returncode for done in (first, again, changed, accepted, calm)] == [0, 0, 1, 0, 0], first.stderr
    assert {row["why"] for row in json.loads(changed.stdout)} == {"the score moved by 0.70"}


def test_a_prompt_is_shown_before_any_judge_ran_and_as_the_profile_of_today_makes_it(lab, tmp_path):
    """The stored evidence was shown: none after 'run --until candidates', and that of an older profile afterwards."""
    case_id = lab.candidates.collect()["case_id"][0]
    after = lab.prompt(case_id)
    young = Lab(tmp_path / "young", profile())
    young.ingest(small_archive(tmp_path))
    young.run(until="candidates")
    young.label(tmp_path / "incidents.jsonl")
    assert young.prompt(case_id) == after
    lab.profile = profile(change_windows=["sun-sat 00:00-23:59"])
    assert "within a change window" in lab.prompt(case_id)
    assert "within a change window" not in after
    file = tmp_path / "windows.toml"
    file.write_text('[judge]\nchange_windows = ["sun-sat 00:00-23:59"]\n[sessions]\ngap_s = 7\n')
    command = [sys.executable, "-m", "audit_lab", "show", case_id, "--prompt", "--lab", str(lab.store.root), "--profile", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "within a change window" in done.stdout
    assert "made with other settings" in done.stderr


def test_a_prompt_names_who_is_asked_and_each_schema(lab):
    case_id = lab.candidates.collect()["case_id"][0]
    assert "[sent to]\nnobody: judge 'baseline' asks no model" in lab.prompt(case_id)
    other = {"base_url": "https://llm.example/v1", "model": "big"}
    lab.profile = profile(judge="openai", gguf="/models/small.gguf", large={**other, "role": "onprem"}, cloud={**other, "role": "cloud"})
    shown = lab.prompt(case_id)
    assert "[sent to]\nonprem: file small.gguf on this machine\nonprem: big at llm.example:443, in doubt\n\n[system]" in shown
    bounded, plain = (shown.split(f"[schema for {where}]\n")[1].split("\n")[0] for where in (
        "onprem: file small.gguf on this machine", "onprem: big at llm.example:443, in doubt"))
    assert (json.loads(bounded), json.loads(plain)) == (answer_schema(bounded=True), answer_schema())
    leaving = lab.profile.judge.model_copy(update={"sensitive_namespaces": [], "sensitive_categories": [], "cloud_below": 1.0})
    assert [where for where, _ in asked_places(leaving, may_leave=True)] == [
        "cloud: big at llm.example:443", "onprem: file small.gguf on this machine, when that is down", "onprem: big at llm.example:443, in doubt"]
    alone = leaving.model_copy(update={"gguf": "", "role": "cloud", "large": None, "cloud": None, **other})
    assert asked_places(alone, may_leave=False)[0][0].startswith("nobody: waits: no on-premises endpoint")
