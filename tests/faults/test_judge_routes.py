"""Roles, cascade, repair, repeats, budgets of a day and probes, against real servers on loopback."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.errors import JudgeError
from audit_lab.judge import build_evidence, judge_cases, make_judge, probe_model, route_cases, run_judge
from audit_lab.judge.routing import WAITS
from audit_lab.profile import EndpointSettings, JudgeSettings
from tests.judge.server import GOOD, answering, completion, serving
from tests.judge.story import event, events_of_story, story

pytest.importorskip("openai")

COUNT = {"claim": {"kind": "count", "predicate": "request", "n": 1}, "event_ids": ["e1"]}


def said(score, **more):
    return {**GOOD, "score": score, "grounds": [COUNT], "summary": "Something happened.", **more}


@pytest.fixture(scope="module")
def house():
    """Two cases: one in namespace 'payroll', one in 'shop' that only reads config."""
    rows = events_of_story()
    rows += [event(9000 + step, "zoe", "get", "configmaps", namespace="payroll", name=f"x-{step}") for step in range(3)]
    rows += [event(9000 + step, "yan", "get", "configmaps", namespace="shop", name=f"x-{step}") for step in range(2)]
    tale = story(rows, ("zoe", "yan"))
    return tale._replace(candidates=tale.candidates.with_columns(pl.lit(0.2).alias("score")))


def settings(url, **more):
    return JudgeSettings(**{"judge": "openai", "base_url": url, "model": "small", "timeout_s": 5.0, "retries": 0, "concurrency": 1,
                            "sensitive_namespaces": ["pay*"], **more})


def cloud(url, **more):
    return EndpointSettings(base_url=url, model="cloud-model", **more)


def run(tale, chosen, folder=None):
    judge = make_judge(chosen, folder)
    try:
        return run_judge(*tale, judge, chosen)
    finally:
        judge.close()


def by_user(tale, frame):
    users = dict(tale.sessions.select(pl.format("c-{}", "session_id").alias("case_id"), "user").iter_rows())
    return {users[item["case_id"]]: item for item in frame.iter_rows(named=True)}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_routes_say_where_and_why_and_are_closed_until_said_otherwise(house):
    def roles(**more):
        routes = route_cases(house.candidates, house.session_events, house.events, JudgeSettings(**more))
        return {user: (item["role"], item["why"]) for user, item in by_user(house, routes).items()}

    assert {role for role, _ in roles().values()} == {"onprem"}
    opened = roles(sensitive_namespaces=["pay*"])
    assert opened["zoe"] == ("onprem", "it touches a sensitive namespace")
    assert opened["yan"] == ("cloud", "not sensitive and only lightly suspicious")
    assert roles(sensitive_namespaces=[], sensitive_users=["ya?"])["yan"] == ("onprem", "a sensitive identity acts in it")
    assert roles(sensitive_namespaces=[], sensitive_categories=["discovery"])["yan"] == ("onprem", "what was done in it is sensitive")
    assert roles(sensitive_namespaces=[], cloud_below=0.1)["yan"] == ("onprem", "its score is not below 0.1")


def test_a_list_of_all_namespaces_touches_the_sensitive_ones():
    tale = story([*events_of_story(), event(9000, "yan", "list", "configmaps")], ("yan",))
    low = tale.candidates.with_columns(pl.lit(0.1).alias("score"))
    routes = route_cases(low, tale.session_events, tale.events, JudgeSettings(sensitive_namespaces=["pay*"]))
    assert routes["role"].to_list() == ["onprem"]


def test_sensitive_cases_stay_in_the_house_and_the_others_may_go(house):
    with serving(answering(said(0.1))) as inside, serving(answering(said(0.2))) as outside:
        made = run(house, settings(inside.url, cloud=cloud(outside.url)))
        assert (inside.requests, outside.requests) == (1, 1)
    verdicts = by_user(house, made.verdicts)
    assert (verdicts["zoe"]["score"], verdicts["yan"]["score"]) == (0.1, 0.2)
    assert {row["role"] for row in made.egress.iter_rows(named=True)} == {"onprem", "cloud"}
    gone = made.egress.filter(pl.col("role") == "cloud")["case_id"].to_list()
    assert gone == [verdicts["yan"]["case_id"]]


def test_when_the_house_is_down_sensitive_cases_wait_and_are_never_sent_elsewhere(house):
    with serving(answering(said(0.2))) as outside:
        made = run(house, settings(f"http://127.0.0.1:{free_port()}/v1", cloud=cloud(outside.url)))
        assert outside.requests == 1
    verdicts = by_user(house, made.verdicts)
    assert verdicts["zoe"]["score"] is None
    assert verdicts["zoe"]["abstain"] == f"{WAITS} (the endpoint cannot be reached)"
    assert verdicts["yan"]["score"] == 0.2


def test_when_the_cloud_is_down_its_cases_are_judged_in_the_house(house):
    with serving(answering(said(0.1))) as inside:
        made = run(house, settings(inside.url, cloud=cloud(f"http://127.0.0.1:{free_port()}/v1")))
    assert made.verdicts["score"].to_list() == [0.1, 0.1]
    assert sorted(made.egress["outcome"]) == ["ok", "ok", "unreachable"]


def test_a_first_endpoint_in_the_cloud_gets_nothing_sensitive(house):
    with serving(answering(said(0.2))) as outside:
        made = run(house, settings(outside.url, role="cloud"))
        assert outside.requests == 1
    assert by_user(house, made.verdicts)["zoe"]["abstain"].startswith("waits: no on-premises endpoint is set")
    with serving(answering(said(0.2))) as outside:
        with pytest.raises(JudgeError, match="sensitive cases have no on-premises endpoint"):
            run(house, settings(outside.url, role="cloud", sensitive_namespaces=["*"]))
        assert outside.requests == 0


def test_the_large_model_is_asked_where_the_small_one_is_unsure_or_disagrees(house):
    small = {"zoe": 0.5, "yan": 0.21}

    def behave(handler, _):
        text = handler.endpoint.bodies[-1]["messages"][-1]["content"]
        handler.send(body=completion(said(small["zoe" if "3 requests" in text else "yan"])))

    with serving(behave) as first, serving(answering(said(0.9))) as large:
        made = run(house, settings(first.url, large=cloud(large.url, role="onprem"), repair=False))
        assert (first.requests, large.requests) == (2, 1)
    verdicts = by_user(house, made.verdicts)
    assert (verdicts["zoe"]["score"], verdicts["yan"]["score"]) == (0.9, 0.21)
    assert verdicts["zoe"]["attempts"] == 2
    assert verdicts["zoe"]["tokens_in"] == 1400
    with serving(answering(said(0.95))) as first, serving(answering(said(0.3))) as large:
        run(house, settings(first.url, large=cloud(large.url, role="onprem"), repair=False))
        assert large.requests == 2


def test_a_large_model_in_the_cloud_is_not_asked_about_sensitive_cases(house):
    with serving(answering(said(0.5))) as first, serving(answering(said(0.9))) as large:
        made = run(house, settings(first.url, large=cloud(large.url), repair=False))
        assert large.requests == 1
    assert by_user(house, made.verdicts)["zoe"]["score"] == 0.5


def test_a_verdict_whose_grounds_fail_is_repaired_once(house):
    wrong = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": 4}, "event_ids": ["e1"]}])

    def behave(handler, _):
        handler.send(body=completion(said(0.3) if len(handler.endpoint.bodies[-1]["messages"]) > 2 else wrong))

    with serving(behave) as endpoint:
        made = run(house, settings(endpoint.url))
        assert endpoint.requests == 4
        asked = endpoint.bodies[-1]["messages"]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert "- ground 1 {count pod_exec 4}: 1 of 1 cited events are not of that kind" in asked[-1]["content"]
    assert made.verdicts["score"].to_list() == [0.3, 0.3]
    assert all(ground["holds"] for grounds in made.verdicts["grounds"] for ground in grounds)
    assert made.verdicts["usable"].all()
    assert made.verdicts["attempts"].to_list() == [2, 2]
    assert made.verdicts["tokens_in"].to_list() == [1400, 1400]


def test_of_repeated_answers_the_one_that_counted_is_sent_back_once(house):
    def wrong(score, n):
        return said(score, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": n}, "event_ids": ["e1"]}])

    one = house._replace(candidates=house.candidates.head(1))
    answers = iter([said(0.1), wrong(0.5, 4), wrong(0.9, 7), said(0.3)])
    with serving(lambda h, n: h.send(body=completion(next(answers)))) as endpoint:
        made = run(one, settings(endpoint.url, repeats=3))
        assert endpoint.requests == 4
        asked = endpoint.bodies[-1]["messages"]
    assert json.loads(asked[-2]["content"])["score"] == 0.5
    assert "{count pod_exec 4}" in asked[-1]["content"]
    assert (made.verdicts["score"].to_list(), made.verdicts["attempts"].to_list()) == ([0.3], [4])


def test_a_repair_that_is_no_better_leaves_the_first_verdict_and_both_on_the_bill(house):
    wrong = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": 4}, "event_ids": ["e1"]}])
    with serving(answering(wrong)) as endpoint:
        made = run(house, settings(endpoint.url))
        assert endpoint.requests == 4
    assert made.verdicts["score"].to_list() == [0.8, 0.8]
    assert not made.verdicts["usable"].any()
    assert made.verdicts["tokens_in"].to_list() == [1400, 1400]
    assert made.egress.height == 4


def test_repair_can_be_switched_off_and_a_failed_repair_costs_nothing_else(house):
    wrong = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": 4}, "event_ids": ["e1"]}])
    with serving(answering(wrong)) as endpoint:
        run(house, settings(endpoint.url, repair=False))
        assert endpoint.requests == 2

    def behave(handler, _):
        handler.send(500, b"") if len(handler.endpoint.bodies[-1]["messages"]) > 2 else handler.send(body=completion(wrong))

    with serving(behave) as endpoint:
        made = run(house, settings(endpoint.url))
    assert made.verdicts["score"].to_list() == [0.8, 0.8]


def test_a_rerun_of_everything_makes_no_call(house, tmp_path):
    wrong = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": 4}, "event_ids": ["e1"]}])

    def behave(handler, _):
        handler.send(body=completion(said(0.7) if len(handler.endpoint.bodies[-1]["messages"]) > 2 else wrong))

    with serving(behave) as endpoint:
        first = run(house, settings(endpoint.url), tmp_path)
        n = endpoint.requests
        second = run(house, settings(endpoint.url), tmp_path)
        assert endpoint.requests == n
    volatile = ["cost_usd", "latency_ms", "cached", "attempts"]
    assert first.verdicts.drop(volatile).equals(second.verdicts.drop(volatile))
    assert second.egress.is_empty()


def test_repeated_questions_give_the_middle_score_and_the_spread(house):
    scores = iter([0.2, 0.9, 0.4, 0.1, 0.3, 0.35])
    with serving(lambda h, n: h.send(body=completion(said(next(scores))))) as endpoint:
        made = run(house, settings(endpoint.url, repeats=3))
        assert endpoint.requests == 6
    assert made.verdicts["score"].to_list() == [0.4, 0.3]
    assert made.verdicts["spread"].to_list() == [pytest.approx(0.7), pytest.approx(0.25)]
    assert made.verdicts["tokens_in"].to_list() == [2100, 2100]


def test_the_budget_of_a_day_counts_what_earlier_runs_spent(house, tmp_path):
    call = {"at": datetime.now(UTC).isoformat(), "tokens_in": 99_000, "tokens_out": 900, "cost_usd": 1.0}
    (tmp_path / "calls.jsonl").write_text(json.dumps(call) + "\n" + json.dumps({**call, "at": "2020-01-01T00:00:00+00:00"}) + "\n")
    with serving(answering(said(0.1))) as endpoint:
        made = run(house, settings(endpoint.url, max_tokens_per_day=100_000), tmp_path)
        assert endpoint.requests == 0
        assert set(made.verdicts["abstain"]) == {"the budget of 100000 tokens a day is used up"}
        assert run(house, settings(endpoint.url, max_tokens_per_day=110_000), tmp_path).verdicts["score"].null_count() == 0


def test_calls_keep_to_the_rate(house):
    import time

    with serving(answering(said(0.1))) as endpoint:
        started = time.monotonic()
        run(house, settings(endpoint.url, calls_per_minute=60, concurrency=2))
    assert time.monotonic() - started >= 1.0


def test_probes_notice_a_model_that_was_changed_behind_its_name(tmp_path):
    chosen = JudgeSettings(judge="openai", base_url="http://127.0.0.1:1/v1", model="small", timeout_s=5.0, retries=0, concurrency=1)
    with serving(answering(said(0.3))) as endpoint:
        judge = make_judge(chosen.model_copy(update={"base_url": endpoint.url}))
        first = probe_model(judge, tmp_path)
        again = probe_model(judge, tmp_path)
        endpoint.behave = answering(said(0.6))
        moved = probe_model(judge, tmp_path)
        endpoint.behave = lambda h, n: h.send(body={**completion(said(0.3)), "model": "another"})
        renamed = probe_model(judge, tmp_path)
        judge.close()
        assert endpoint.requests == 12
    assert first["changed"].to_list() == [None] * 3
    assert again["changed"].to_list() == [False] * 3
    assert moved["changed"].to_list() == [True] * 3
    assert renamed["changed"].to_list() == [True] * 3


def test_a_shadow_judges_the_same_prompts_without_changing_the_verdicts(house):
    pack = build_evidence(*house)
    with serving(answering(said(0.1))) as one, serving(answering(said(0.8))) as two:
        champion, challenger = make_judge(settings(one.url)), make_judge(settings(two.url, model="challenger"))
        first = judge_cases(house.candidates, pack, house.signals, champion).verdicts
        second = judge_cases(house.candidates, pack, house.signals, challenger).verdicts
    assert first["prompt_sha256"].to_list() == second["prompt_sha256"].to_list()
    assert first["judge_version"][0] != second["judge_version"][0]


def test_the_account_of_a_call_names_the_bytes_that_were_sent(house):
    with serving(answering(said(0.1))) as endpoint:
        made = run(house, settings(endpoint.url))
        sent = [int(headers["content-length"]) for headers in endpoint.headers]
    assert made.egress["bytes_sent"].to_list() == sent


RUNNER = """
import sys
from pathlib import Path
from tests.faults.test_judge_routes import many
from audit_lab.judge import build_evidence, judge_cases, make_judge
from audit_lab.profile import JudgeSettings
tale = many()
judge = make_judge(JudgeSettings(judge="openai", base_url=sys.argv[1], model="m", concurrency=1), Path(sys.argv[2]))
judge_cases(tale.candidates, build_evidence(*tale), tale.signals, judge)
"""


def many(n: int = 8):
    """Cases that differ in what they hold."""
    rows = events_of_story()
    for number in range(n):
        rows += [event(9000 + number * 5, f"eve-{number}", "get", "secrets", namespace="team-1", name=f"x-{part}") for part in range(number + 1)]
    return story(rows, tuple(f"eve-{number}" for number in range(n)))


def test_a_killed_run_loses_no_answer_and_the_next_pays_for_none_twice(tmp_path):
    import subprocess
    import sys
    import time
    from pathlib import Path

    def slow(handler, _):
        time.sleep(0.15)
        handler.send(body=completion(said(0.1)))

    with serving(slow) as endpoint:
        root = Path(__file__).parent.parent.parent
        process = subprocess.Popen([sys.executable, "-c", RUNNER, endpoint.url, str(tmp_path)], cwd=root, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while endpoint.requests < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        before = endpoint.requests
        kept = (tmp_path / "answers.jsonl").read_text().count("\n")
        assert 3 <= kept <= before <= kept + 1
        tale = many()
        judge = make_judge(JudgeSettings(judge="openai", base_url=endpoint.url, model="m"), tmp_path)
        made = judge_cases(tale.candidates, build_evidence(*tale), tale.signals, judge)
        assert endpoint.requests - before == 8 - kept
    assert made.verdicts["score"].null_count() == 0
    assert made.verdicts["cached"].sum() == kept


def test_the_calls_of_a_run_that_judged_nothing_are_on_record(house, tmp_path):
    from audit_lab.judge import read_calls

    judge = make_judge(settings(f"http://127.0.0.1:{free_port()}/v1"), tmp_path)
    with pytest.raises(JudgeError):
        judge_cases(house.candidates, build_evidence(*house), house.signals, judge)
    calls = read_calls(tmp_path)
    assert calls["outcome"].to_list() == ["unreachable"] * 2
    with serving(answering(said(0.1))) as endpoint:
        made = run(house, settings(endpoint.url), tmp_path)
    both = read_calls(tmp_path)
    assert both.height == 4
    assert set(made.egress["egress_id"]) <= set(both["egress_id"])
    (tmp_path / "calls.jsonl").open("a").write('{"at": "nonsense"}\nhalf a li')
    assert read_calls(tmp_path).equals(both)


WRONG = said(0.8, grounds=[{"claim": {"kind": "count", "predicate": "pod_exec", "n": 4}, "event_ids": ["e1"]}])


def roles_of(made):
    return sorted(made.egress.select("case_id", "role").iter_rows())


@pytest.mark.parametrize("name", ["same", "other"])
def test_a_repair_goes_where_the_case_was_judged_whatever_the_models_are_called(house, name, tmp_path):
    with serving(answering(WRONG)) as inside, serving(answering(said(0.2))) as outside:
        made = run(house, settings(inside.url, model="same", cloud=EndpointSettings(base_url=outside.url, model=name)), tmp_path / "a")
        assert (inside.requests, outside.requests) == (2, 1)
    zoe, yan = (by_user(house, made.verdicts)[user]["case_id"] for user in ("zoe", "yan"))
    assert roles_of(made) == sorted([(zoe, "onprem"), (zoe, "onprem"), (yan, "cloud")])
    with serving(answering(WRONG)) as inside, serving(answering(said(0.2))) as outside:
        made = run(house, settings(inside.url, model="same", large=EndpointSettings(base_url=outside.url, model=name)), tmp_path / "b")
    assert made.verdicts["case_id"].to_list() == house.candidates["case_id"].to_list()
    assert (zoe, "cloud") not in roles_of(made)


def test_two_endpoints_with_one_model_name_have_two_versions():
    def version(url="http://one/v1", **more):
        return make_judge(settings(url, **more)).judge_version

    assert version() == version()
    assert len({version(), version("http://two/v1"), version(role="cloud")}) == 3


def test_an_endpoint_in_the_cloud_is_sent_no_case_that_nobody_permitted(house):
    from audit_lab.judge.models import ModelJudge
    from audit_lab.judge.routing import STAYS

    pack = build_evidence(*house)
    yan = by_user(house, house.candidates.with_columns(judge=pl.lit("")))["yan"]["case_id"]
    with serving(answering(said(0.2))) as outside:
        judge = ModelJudge(settings(outside.url, role="cloud", repeats=2))
        assert set(judge(house.candidates, pack, house.signals).verdicts["abstain"]) == {STAYS}
        assert outside.requests == 0
        judge.permit([yan])
        made = judge(house.candidates, pack, house.signals)
        assert set(made.egress["case_id"]) == {yan}
        assert outside.requests == 2
        judge.permit([])
        checked = made.verdicts.with_columns(usable=pl.lit(False))
        judge.repair(checked, house.candidates, pack)
        assert outside.requests == 2
        judge.close()


def test_a_judge_that_repairs_a_case_twice_is_found_out(house):
    class Twice:
        judge_id = judge_version = "twice"

        def __call__(self, candidates, evidence, signals):
            return judge_cases(candidates, evidence, signals)

        def repair(self, verdicts, candidates, evidence):
            made = judge_cases(candidates, evidence, house.signals)
            return made._replace(verdicts=pl.concat([made.verdicts, made.verdicts]))

    with pytest.raises(JudgeError, match="gave no verdict, or two"):
        judge_cases(house.candidates, build_evidence(*house), house.signals, Twice(), check=lambda made: made.with_columns(
            usable=pl.lit(made["case_id"].is_duplicated().any()), grounded_share=pl.lit(0.5)))


PRICED = {"usd_per_million_in": 1.0, "usd_per_million_out": 1.0}


@pytest.mark.parametrize("where", ["first", "cloud", "large"])
def test_a_limit_in_dollars_is_refused_before_any_call_where_one_endpoint_has_no_price(house, where):
    with serving(answering(said(0.2))) as endpoint:
        more = {} if where == "first" else {**PRICED, where: cloud(endpoint.url)}
        with pytest.raises(JudgeError, match="judge.max_usd cannot hold: no price is known for model"):
            run(house, settings(endpoint.url, max_usd=0.0001, **more))
        assert endpoint.requests == 0
        judge = make_judge(settings(endpoint.url, **more))
        assert [note for note in judge.notes if note.startswith("money limits no call")]
        priced = make_judge(settings(endpoint.url, max_usd=0.0001, **PRICED, large=cloud(endpoint.url, **PRICED)))
        assert not [note for note in priced.notes if "money" in note]


def test_what_the_champion_may_spend_is_not_asked_of_its_challenger():
    from audit_lab.judge import make_challenger
    from audit_lab.profile import ChallengerSettings

    new = ChallengerSettings(base_url="http://localhost:1/v1", model="new")
    notes = make_challenger(settings("http://localhost:1/v1", max_usd=1, **PRICED, challenger=new)).notes
    assert ["no price is known for model 'new'" in note for note in notes] == [True]
    with pytest.raises(JudgeError, match="judge.max_usd cannot hold: no price is known for model 'new'"):
        make_challenger(settings("http://localhost:1/v1", challenger=ChallengerSettings(**{**new.model_dump(exclude_unset=True), "max_usd": 1})))


def test_another_language_asks_for_no_limit_and_the_command_line_does(tmp_path):
    from audit_lab import Lab, load_profile

    lab = Lab(tmp_path / "lab", load_profile("default", {}).model_copy(update={"judge": settings("http://localhost:1/v1")}))
    assert make_judge(lab.with_judge(lang="ko").judge).notes
    with pytest.raises(JudgeError, match="judge.max_usd cannot hold"):
        make_judge(lab.with_judge(max_usd=5.0).judge)


ABSTAINS = {"score": None, "summary": "", "grounds": [], "checks": [], "action": "review", "abstain": "facts do not allow it"}


@pytest.mark.parametrize(("answer", "why", "n_small"), [
    (ABSTAINS, "the first gave no score: 2", 2), ("nonsense", "the first gave no score: 2", 2),
    (said(0.2, grounds=WRONG["grounds"]), "the first has grounds that fail: 2", 4),
])
def test_the_large_model_is_asked_where_the_small_one_gives_nothing_that_can_be_used(house, answer, why, n_small):
    with serving(answering(answer)) as small, serving(answering(said(0.3))) as large:
        chosen = settings(small.url, large=cloud(large.url, role="onprem"))
        judge = make_judge(chosen)
        made = run_judge(*house, judge, chosen)
        assert (small.requests, large.requests) == (n_small, 2)
    assert made.verdicts["score"].to_list() == [0.3, 0.3]
    assert made.verdicts["usable"].all()
    assert made.verdicts["tokens_in"].to_list() == [700 * (n_small // 2 + 1)] * 2
    assert [note for note in judge.notes if "asked" in note] == [
        f"the large model was asked about 2 cases and gave a score on 2 ({why})"]


def test_a_second_look_is_one_keeps_to_the_route_and_to_the_budget(house, tmp_path):
    wrong = said(0.2, grounds=WRONG["grounds"])
    with serving(answering(wrong)) as small, serving(answering(wrong)) as large:
        chosen = settings(small.url, large=cloud(large.url))
        judge = make_judge(chosen)
        made = run_judge(*house, judge, chosen)
        assert (small.requests, large.requests) == (4, 1)
    zoe, yan = (by_user(house, made.verdicts)[user] for user in ("zoe", "yan"))
    assert made.egress.filter(pl.col("role") == "cloud")["case_id"].to_list() == [yan["case_id"]]
    assert (zoe["tokens_in"], yan["tokens_in"]) == (1400, 2100)
    assert not made.verdicts["usable"].any()
    assert judge.notes[-1] == (
        "the large model was asked about 1 case and gave a score on 1 (the first has grounds that fail: 1; 1 more may not leave the house)")
    with serving(answering(wrong)) as small, serving(answering(said(0.7))) as large:
        chosen = settings(small.url, large=cloud(large.url, role="onprem"), repair=False)
        run(house, chosen, tmp_path)
        assert large.requests == 2
        held = max(json.loads(line)["held_tokens"] for line in (tmp_path / "calls.jsonl").read_text().splitlines() if '"sent"' in line)
        made = run(house, chosen.model_copy(update={"max_tokens": 760 + held}))
        assert (small.requests, large.requests) == (4, 2)
    assert made.verdicts["score"].to_list() == [0.2, 0.2]


def test_a_small_model_that_is_down_is_not_unsure(house):
    with serving(answering(said(0.7))) as large:
        chosen = settings(f"http://127.0.0.1:{free_port()}/v1", large=cloud(large.url, role="onprem"))
        with pytest.raises(JudgeError):
            run(house, chosen)
        assert large.requests == 0
    with serving(answering(ABSTAINS)) as small, serving(answering(ABSTAINS)) as large:
        made = run(house, settings(small.url, large=cloud(large.url, role="onprem")))
        assert (small.requests, large.requests) == (2, 2)
    assert made.verdicts["score"].null_count() == 2
    assert made.verdicts["tokens_in"].to_list() == [1400, 1400]


def routed(rows, user="yan", number=0, **more):
    """Route of a case of few events of `user` that nobody calls sensitive by itself."""
    tale = story([*events_of_story(), *rows], (user,))
    low = tale.candidates[number : number + 1].with_columns(pl.lit(0.2).alias("score"))
    found = route_cases(low, tale.session_events, tale.events, JudgeSettings(sensitive_namespaces=["pay*"]), sessions=tale.sessions, **more)
    return found.select("role", "why").row(0)


CALM = [event(9000 + step, "yan", "get", "configmaps", namespace="shop", name=f"x-{step}") for step in range(2)]
OTHER = ("onprem", "its evidence tells of another session that is sensitive")


def test_what_the_evidence_tells_of_other_sessions_counts_like_the_cases_own():
    assert routed(CALM)[0] == "cloud"
    # Six minutes later the same person is in a sensitive namespace: the line on what came after says so.
    later = [event(9360 + step, "yan", "get", "configmaps", namespace="payroll", name="x") for step in range(3)]
    assert routed([*CALM, *later]) == OTHER
    assert routed([*CALM, *[event(9000 + 3600, "yan", "get", "configmaps", namespace="payroll", name="x")]])[0] == "cloud"
    # The nearest earlier session is one of payroll.
    near = [event(8000 + step, "pia", "get", "configmaps", namespace="payroll", name="x") for step in range(3)]
    assert routed([*CALM, *near]) == OTHER
    # A linked session is.
    far = [event(700 + step, "pia", "delete", "pods", namespace="payroll", name="x") for step in range(3)]
    link = {"link_id": "l", "from_session": "s-pia-10.0.0.7-1", "to_session": "s-yan-10.0.0.7-1", "kind": "token_minted", "score": 0.9,
            "why": "", "from_event_ids": [], "to_event_ids": []}
    links = pl.DataFrame([link], schema=tables.TABLES["links"].schema)
    assert routed([*CALM, *far])[0] == "cloud"
    assert routed([*CALM, *far], links=links) == OTHER


@pytest.mark.parametrize("more", [
    {"resource": "nodes", "subresource": "proxy", "name": "n1", "uri": "/api/v1/nodes/n1/proxy/exec/payroll/db/c?command=sh"},
    {"resource": "nodes", "subresource": "proxy", "name": "n1", "uri": None},
    {"resource": "namespaces", "name": "payroll"}, {"resource": "configmaps", "namespace": "payroll"},
    {"resource": "configmaps", "namespace": "shop", "impersonated_user": "system:serviceaccount:payroll:runner"},
    *({"verb": "create", "resource": "rolebindings", "namespace": "shop", "name": "b", "subjects": ["User/mia", to]} for to in (
        "ServiceAccount/payroll/runner", "User/system:serviceaccount:payroll:runner", "Group/system:serviceaccounts:payroll")),
])
def test_a_case_touches_a_namespace_in_more_ways_than_by_its_column(more):
    assert routed([*CALM, event(9003, "yan", **{"verb": "get", **more})]) == ("onprem", "it touches a sensitive namespace")
    assert routed([*CALM, event(9003, "yan", "get", "nodes", name="n1"), event(9004, "yan", "get", "namespaces", name="shop")])[0] == "cloud"
    mine = event(9005, "yan", "create", "rolebindings", namespace="shop", name="b", subjects=["ServiceAccount/shop/payroll", "User/payroll"])
    assert routed([*CALM, mine])[0] == "cloud"


def test_a_profile_that_holds_everything_sensitive_or_nothing_is_told_so_where_there_is_a_cloud():
    def told(**more):
        return [note for note in make_judge(settings("http://localhost:1/v1", **more)).notes if "sensitive" in note]

    outside = {"cloud": cloud("https://api.example.com/v1")}
    assert told(**outside) == told(sensitive_namespaces=["*"]) == []
    assert ["every namespace is sensitive" in note for note in told(**outside, sensitive_namespaces=["*"])] == [True]
    bare = {"sensitive_namespaces": [], "sensitive_users": [], "sensitive_categories": []}
    assert told(**outside, **bare) == ["nothing is sensitive by this profile: every case with a score below 0.5 may leave the house"]
    assert told(**outside, **{**bare, "sensitive_users": ["ceo*"]}) == []


def test_no_fact_of_a_sensitive_session_is_in_a_prompt_for_the_cloud():
    later = [event(9360 + step, "yan", "get", "secrets", namespace="payroll", name=f"x-{step}") for step in range(3)]
    tale = story([*events_of_story(), *CALM, *later], ("yan",))
    tale = tale._replace(candidates=tale.candidates.head(1).with_columns(pl.lit(0.2).alias("score")))
    with serving(answering(said(0.1))) as inside, serving(answering(said(0.2))) as outside:
        run(tale, settings(inside.url, cloud=cloud(outside.url)))
        assert (inside.requests, outside.requests) == (1, 0)
