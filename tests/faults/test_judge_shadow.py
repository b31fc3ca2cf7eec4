"""A challenger in shadow, probes, shared budgets and the account of calls: through a lab and real servers on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from audit_lab import Lab, load_profile
from audit_lab.errors import InputError, JudgeError
from audit_lab.judge import CHALLENGER, build_evidence, judge_cases, make_judge, probe_model, read_calls, run_judge
from audit_lab.profile import ChallengerSettings, EndpointSettings, JudgeSettings, Profile
from tests.faults.test_judge_routes import free_port, said
from tests.judge.server import GOOD, answering, completion, serving
from tests.judge.story import story
from tests.small_lab import small_archive

pytest.importorskip("openai")


def profile(**judge) -> Profile:
    chosen = JudgeSettings(**{"timeout_s": 5.0, "retries": 0, "concurrency": 2, **judge})
    return load_profile().model_copy(update={"judge": chosen})


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "lab")
    made.ingest(small_archive(tmp_path))
    return made


def champion_alone(lab: Lab) -> dict[str, pl.DataFrame]:
    lab.profile = profile()
    lab.run()
    return {name: getattr(lab, name).collect() for name in ("verdicts", "evidence", "candidates", "scores")}


def test_a_challenger_judges_the_same_candidates_and_decides_nothing(lab):
    alone = champion_alone(lab)
    before = figures(lab, incidents(lab))
    with serving(answering(said(0.99))) as endpoint:
        lab.profile = profile(challenger=ChallengerSettings(base_url=endpoint.url, model="new"))
        assert lab.run().made == ["verdicts"]
        asked = endpoint.requests
        assert lab.run().made == []
        lab.run(force=True)
        assert endpoint.requests == asked > 0
    for name, frame in alone.items():
        assert getattr(lab, name).collect().equals(frame), name
    shadow = lab.shadow_verdicts.collect()
    assert set(shadow["judge_id"]) == {CHALLENGER}
    assert shadow["case_id"].to_list() == alone["verdicts"]["case_id"].to_list()
    assert shadow["score"].drop_nulls().unique().to_list() == [0.99]
    assert figures(lab) == before
    assert set(lab.egress.collect()["judge_id"]) == {CHALLENGER}


def figures(lab: Lab, *incidents: Path) -> dict:
    """What an evaluation says, but for the versions that it names: those of the profile do change."""
    return {name: value for name, value in lab.evaluate(*incidents).as_dict().items() if name not in ("versions", "evaluation_id")}


def incidents(lab: Lab) -> Path:
    path = lab.store.root.parent / "incidents.jsonl"
    path.write_text(json.dumps({"incident_id": "i", "title": "t", "malicious": True, "technique_ids": [], "audit_ids": [f"b-{n}" for n in range(12)]}))
    return path


def test_champion_and_challenger_are_compared_from_what_they_said_with_labels_in_pairs(lab):
    with serving(answering(said(0.2))) as endpoint:
        lab.profile = profile(challenger=ChallengerSettings(base_url=endpoint.url, model="new"))
        lab.run()
        asked = endpoint.requests
        numbers, cases = lab.compare()
        assert endpoint.requests == asked
    assert (numbers["a"]["judge"], numbers["b"]["judge"]) == ("baseline", CHALLENGER)
    assert cases.height == lab.candidates.collect().height
    assert (numbers["paired"], numbers["why_not_paired"]) == (None, "no labels: audit-lab label FILE")
    lab.label(incidents(lab))
    numbers, _ = lab.compare("champion", "challenger")
    assert numbers["why_not_paired"] is None
    assert numbers["paired"]["n"] > 0
    assert set(numbers["paired"]["recall_difference"]) >= {"value", "low", "high", "n"}


def test_without_a_challenger_a_comparison_says_what_to_add(lab):
    champion_alone(lab)
    with pytest.raises(InputError, match=r"the lab holds no verdicts of a challenger \(hint: add a section \[judge.challenger\]"):
        lab.compare()


@pytest.mark.parametrize("why", ["dead", "nameless", "no file", "rubbish", "bug"])
def test_whatever_befalls_a_challenger_becomes_a_note_and_harms_nothing(lab, why, monkeypatch):
    alone = champion_alone(lab)
    dead = ChallengerSettings(base_url=f"http://127.0.0.1:{free_port()}/v1", model="new")
    chosen = {"dead": dead, "nameless": ChallengerSettings(), "no file": ChallengerSettings(gguf="/nowhere.gguf"), "rubbish": dead, "bug": dead}[why]
    if why == "bug":
        def broken(*_, **__):
            raise ZeroDivisionError("a bug")
        monkeypatch.setattr("audit_lab.judge.shadow.make_challenger", broken)
    if why == "rubbish":
        with serving(lambda h, n: h.send(200, b"<html>")) as endpoint:
            lab.profile = profile(challenger=ChallengerSettings(base_url=endpoint.url, model="new"))
            notes = lab.run().notes
    else:
        lab.profile = profile(challenger=chosen)
        notes = lab.run().notes
    (note,) = [note for note in notes if note.startswith("challenger: ")]
    expected = {"dead": "the endpoint cannot be reached", "nameless": "judge.base_url is no endpoint", "no file": "cannot be read",
                "rubbish": "did not send a chat completion", "bug": "ZeroDivisionError: a bug"}[why]
    assert expected in note
    assert "\n" not in note
    assert lab.verdicts.collect().equals(alone["verdicts"])
    assert lab.shadow_verdicts.collect()["score"].null_count() == lab.shadow_verdicts.collect().height


def test_a_challenger_spends_its_own_budget(lab):
    with serving(answering(said(0.1))) as endpoint:
        lab.profile = profile(
            judge="openai", base_url=endpoint.url, model="old", max_tokens=100_000, max_tokens_per_day=100_000,
            challenger=ChallengerSettings(base_url=endpoint.url, model="new", max_tokens=0))
        lab.run()
        assert {body["model"] for body in endpoint.bodies} == {"old"}
    assert lab.verdicts.collect()["score"].null_count() == 0
    assert set(lab.shadow_verdicts.collect()["abstain"]) == {"the budget of 0 tokens a run is used up"}


def test_a_challenger_in_the_cloud_gets_no_sensitive_case(lab):
    with serving(answering(said(0.9))) as endpoint:
        lab.profile = profile(challenger=ChallengerSettings(base_url=endpoint.url, model="new", role="cloud"))
        notes = lab.run().notes
        assert endpoint.requests == 0
    assert any("sensitive cases have no on-premises endpoint" in note for note in notes)


def test_a_baseline_may_challenge_a_model(lab):
    with serving(answering(said(0.1))) as endpoint:
        lab.profile = profile(judge="openai", base_url=endpoint.url, model="m", challenger=ChallengerSettings(judge="baseline"))
        lab.run()
    assert set(lab.verdicts.collect()["judge_id"]) == {"openai"}
    shadow = lab.shadow_verdicts.collect()
    assert set(shadow["judge_id"]) == {CHALLENGER}
    assert shadow["judge_version"][0].startswith("baseline-")


# ---- probes --------------------------------------------------------------------------------------------------


def test_a_probe_is_on_the_account_says_why_and_may_be_accepted(lab):
    champion_alone(lab)
    with serving(answering(said(0.3))) as endpoint:
        lab.profile = profile(judge="openai", base_url=endpoint.url, model="small")
        assert lab.probe()["changed"].to_list() == [None] * 3
        assert lab.egress.collect().height == 3
        endpoint.behave = answering(said(0.9))
        moved = lab.probe()
        assert (moved["changed"].to_list(), moved["why"][0]) == ([True] * 3, "the score moved by 0.60")
        assert lab.probe()["changed"].to_list() == [True] * 3
        lab.probe(accept=True)
        assert lab.probe()["changed"].to_list() == [False] * 3
        assert endpoint.requests == 15
    assert lab.egress.collect().height == 15


def test_a_run_notes_that_a_model_changed_when_the_profile_asks_for_probes(lab):
    with serving(answering(said(0.3))) as endpoint:
        lab.profile = profile(judge="openai", base_url=endpoint.url, model="small", probe=True)
        assert not [note for note in lab.run().notes if "is not what it was" in note]
        endpoint.behave = lambda h, n: h.send(body={**completion(said(0.3)), "model": "other"})
        notes = lab.run(force=True).notes
    assert [note for note in notes if "model 'small' is not what it was (the endpoint names another model)" in note]


def test_every_endpoint_of_a_cascade_is_probed(tmp_path):
    with serving(answering(said(0.3))) as one, serving(answering(said(0.4))) as two:
        chosen = JudgeSettings(judge="openai", base_url=one.url, model="small", large=EndpointSettings(base_url=two.url, model="big", role="onprem"))
        found = probe_model(make_judge(chosen), tmp_path)
    assert found["asked"].to_list() == ["small"] * 3 + ["big"] * 3
    assert read_calls(tmp_path)["endpoint"].n_unique() == 2
    with pytest.raises(JudgeError, match="judge 'baseline' asks no model"):
        probe_model(make_judge(JudgeSettings()))


def test_a_model_that_gives_all_cases_one_score_is_told(house_of_many):
    from audit_lab.judge import sameness_notes

    tale = house_of_many
    for answer, n in ((said(0.05, grounds=[]), 1), (None, 0)):
        behave = answering(answer) if answer else lambda h, k: h.send(body=completion(said(k / 100)))
        with serving(behave) as endpoint:
            chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
            notes = sameness_notes(judge_cases(tale.candidates, build_evidence(*tale), tale.signals, make_judge(chosen)).verdicts)
        assert len(notes) == n
    assert sameness_notes(judge_cases(tale.candidates, build_evidence(*tale), tale.signals).verdicts) == []


@pytest.fixture
def house_of_many():
    from tests.faults.test_judge_routes import many

    return many()


# ---- one run, one budget -------------------------------------------------------------------------------------


def held(folder: Path) -> list[int]:
    """The most that each call may have used, as it was set aside."""
    return [item["held_tokens"] for item in map(json.loads, (folder / "calls.jsonl").read_text().splitlines()) if item["outcome"] == "sent"]


def test_question_and_repair_spend_one_budget(tmp_path):
    tale = story()
    wrong = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "webhook_write", "n": 4}, "event_ids": ["e1"]}])
    with serving(answering(wrong)) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        run_judge(*tale, make_judge(chosen, tmp_path / "a"), chosen)
        assert endpoint.requests == 2
        # Enough for the first call at its most, but not for another beside what the first turned out to use.
        tight = chosen.model_copy(update={"max_tokens": held(tmp_path / "a")[0] + 10})
        run_judge(*tale, make_judge(tight, tmp_path / "b"), tight)
        assert endpoint.requests == 3


def test_the_endpoints_of_a_cascade_spend_one_budget(tmp_path):
    tale = story()
    low = tale.candidates.with_columns(pl.lit(0.1).alias("score"))
    with serving(answering(said(0.5))) as small, serving(answering(said(0.9))) as large:
        chosen = JudgeSettings(judge="openai", base_url=small.url, model="m", timeout_s=5,
                               large=EndpointSettings(base_url=large.url, model="big", role="onprem"))
        judge_cases(low, build_evidence(*tale), tale.signals, make_judge(chosen, tmp_path / "a"))
        assert (small.requests, large.requests) == (1, 1)
        tight = chosen.model_copy(update={"max_tokens": held(tmp_path / "a")[0] + 10})
        judge_cases(low, build_evidence(*tale), tale.signals, make_judge(tight, tmp_path / "b"))
        assert (small.requests, large.requests) == (2, 1)


def test_a_call_whose_bill_nobody_knows_counts_at_its_most(tmp_path):
    tale = story()
    pack = build_evidence(*tale)

    def ask(endpoint, **more):
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=0.5, retries=0, **more)
        return judge_cases(tale.candidates, pack, tale.signals, make_judge(chosen, tmp_path))

    with serving(lambda h, n: h.cut()) as endpoint, pytest.raises(JudgeError):
        ask(endpoint)
    (line,) = [item for item in map(json.loads, (tmp_path / "calls.jsonl").read_text().splitlines()) if item["outcome"] == "cut"]
    assert line["held_tokens"] > 2000
    with serving(answering(said(0.1))) as endpoint:
        made = ask(endpoint, max_tokens_per_day=line["held_tokens"] + 1000)
        assert endpoint.requests == 0
    assert "a day is used up" in made.verdicts["abstain"][0]


def test_a_call_is_on_the_account_before_it_leaves(tmp_path):
    tale = story()
    seen = []

    def look(handler, _):
        seen.extend(json.loads(line)["outcome"] for line in (tmp_path / "calls.jsonl").read_text().splitlines())
        handler.send(body=completion(said(0.1)))

    with serving(look) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        judge_cases(tale.candidates, build_evidence(*tale), tale.signals, make_judge(chosen, tmp_path))
    assert seen == ["sent"]
    assert read_calls(tmp_path)["outcome"].to_list() == ["ok"]
    # What a killed process leaves: the call is known, its outcome is not.
    first = (tmp_path / "calls.jsonl").read_text().splitlines()[0]
    (tmp_path / "calls.jsonl").write_text(first + "\n")
    assert read_calls(tmp_path)["outcome"].to_list() == ["sent"]


# ---- answers that are no verdict -----------------------------------------------------------------------------


def test_an_answer_that_cannot_be_read_is_asked_for_once_more():
    tale = story()

    def behave(handler, _):
        asked_again = len(handler.endpoint.bodies[-1]["messages"]) > 2
        handler.send(body=completion(said(0.1) if asked_again else "It looks fine to me."))

    with serving(behave) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        made = run_judge(*tale, make_judge(chosen), chosen)
        last = endpoint.bodies[-1]["messages"]
    assert made.verdicts["score"].to_list() == [0.1]
    assert made.verdicts["attempts"].to_list() == [2]
    assert "- answer is not JSON" in last[-1]["content"]


def test_a_high_score_without_grounds_is_asked_for_grounds():
    tale = story()
    rows = [{"claim": {"kind": "count", "predicate": "secret_list_everywhere", "n": 1}, "event_ids": ["e1"]}]

    def behave(handler, _):
        asked_again = len(handler.endpoint.bodies[-1]["messages"]) > 2
        handler.send(body=completion({**GOOD, "grounds": rows if asked_again else []}))

    with serving(behave) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        made = run_judge(*tale, make_judge(chosen), chosen)
        assert endpoint.requests == 2
        assert "it gives no ground, and by its score or by the signals the case asks for a person" in endpoint.bodies[-1]["messages"][-1]["content"]
    assert made.verdicts["usable"].all()


def test_a_model_that_abstains_is_not_argued_with_and_its_words_are_marked():
    tale = story()
    with serving(answering({**GOOD, "score": None, "abstain": "answer cannot be given"})) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        made = run_judge(*tale, make_judge(chosen), chosen)
        assert endpoint.requests == 1
    assert made.verdicts["abstain"].to_list() == ["the model abstained: answer cannot be given"]


# ---- endpoints of other habits -------------------------------------------------------------------------------


def test_a_deployment_with_a_version_in_the_url_and_a_key_in_a_header_of_its_own(monkeypatch):
    tale = story()
    monkeypatch.setenv("AUDIT_LAB_API_KEY", "sk-very-secret")
    paths = []

    def behave(handler, _):
        paths.append(handler.path)
        handler.send(body=completion(said(0.1)))

    with serving(behave) as endpoint:
        url = endpoint.url.removesuffix("/v1") + "/openai/deployments/judge-1?api-version=2024-10-21"
        chosen = JudgeSettings(judge="openai", base_url=url, model="judge-1", key_header="api-key", timeout_s=5)
        made = judge_cases(tale.candidates, build_evidence(*tale), tale.signals, make_judge(chosen))
        headers = endpoint.headers[0]
    assert paths == ["/openai/deployments/judge-1/chat/completions?api-version=2024-10-21"]
    assert headers["api-key"] == "sk-very-secret"
    assert "authorization" not in headers
    assert made.verdicts["score"].to_list() == [0.1]


@pytest.mark.parametrize("query", ["api-key=x", "sig=abc", "access_token=x", "code=1"])
def test_a_key_in_the_url_is_refused_in_one_line_that_does_not_repeat_it(query):
    with pytest.raises(JudgeError, match=r"judge.base_url holds a key \(hint: put it into the environment variable") as caught:
        make_judge(JudgeSettings(judge="openai", base_url=f"http://localhost:1/v1?{query}", model="m"))
    assert query not in str(caught.value)


def test_a_wrong_deployment_is_one_line():
    tale = story()
    with serving(lambda h, n: h.send(404, {"error": {"code": "DeploymentNotFound"}})) as endpoint:
        chosen = JudgeSettings(judge="openai", base_url=endpoint.url, model="m", timeout_s=5)
        with pytest.raises(JudgeError, match=r"the endpoint knows no such model or path \(404\) \(hint: check judge.base_url and judge.model\)"):
            judge_cases(tale.candidates, build_evidence(*tale), tale.signals, make_judge(chosen))
