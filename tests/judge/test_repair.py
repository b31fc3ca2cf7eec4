"""What a repair sends: what a model needs to mend its answer, and never more than stated."""

from __future__ import annotations

import json

import pytest

from audit_lab.judge.estimate import estimate_case
from audit_lab.judge.prompt import REPAIR_TOKENS, Prompt, load_template, repair_prompt
from audit_lab.profile import JudgeSettings

CLAIMED = [f"list secrets: allowed x{n} at +{n}s [e{n}] {{count secret_list {n}}}" for n in range(1, 6)]
OTHERS = [f"from the same source before: {n} sessions of 1 other identity, {n} with the same client" for n in range(40)]
KIND = "innocence: done by this actor in 31 earlier sessions"
ANSWER = {"score": 0.8, "summary": "Secrets were listed.", "grounds": [
    {"claim": {"kind": "count", "predicate": "secret_list", "then": None, "n": 9, "scope": None}, "event_ids": ["e1"]}],
    "checks": ["secrets_read"], "action": "review", "abstain": None}
TEMPLATE = load_template()


def asked(facts: list[str]) -> Prompt:
    messages = [{"role": "system", "content": TEMPLATE.sections["system"]}, {"role": "user", "content": "\n".join(facts)}]
    return Prompt("c1", messages, "digest", 1, {"e1": "x"}, facts=tuple(facts))


@pytest.mark.parametrize("answer", [json.dumps(ANSWER), "x1" * 60_000, "{" * 5000, "", "\u3042" * 9000])
@pytest.mark.parametrize("wrong", [["ground 1 {count secret_list 9}: there were 5"], ["y" * 4000] * 3])
def test_a_repair_never_sends_more_than_it_says(answer: str, wrong: list[str]) -> None:
    again = repair_prompt(asked([*OTHERS, *CLAIMED, KIND]), answer, wrong, TEMPLATE)
    assert again.tokens <= REPAIR_TOKENS
    assert [message["role"] for message in again.messages] == ["system", "user", "assistant", "user"]
    assert (again.repairs, again.handles) == ("digest", {"e1": "x"})


def test_lines_that_a_ground_can_rest_on_come_first_and_keep_their_numbers() -> None:
    facts = [*OTHERS, *CLAIMED, KIND]
    shown = repair_prompt(asked(facts), json.dumps(ANSWER), ["ground 1: wrong"], TEMPLATE).messages[1]["content"].splitlines()[1:]
    numbered = [f"{number} {text}" for number, text in enumerate(facts, start=1)]
    assert all(line in shown for line in numbered[len(OTHERS):])
    assert shown == [line for line in numbered if line in shown]
    assert len(OTHERS) > len(shown) - 6 > 0


def test_an_answer_loses_its_empty_parts_only_and_keeps_what_a_model_wrote() -> None:
    said = repair_prompt(asked(CLAIMED), json.dumps(ANSWER), ["ground 1: wrong"], TEMPLATE).messages[2]["content"]
    held = json.loads(said)
    assert "null" not in said
    assert held["grounds"] == [{"claim": {"kind": "count", "predicate": "secret_list", "n": 9}, "event_ids": ["e1"]}]
    assert {key: held[key] for key in ("score", "summary", "checks", "action")} == {key: ANSWER[key] for key in ("score", "summary", "checks", "action")}
    broken = "no JSON {"
    assert repair_prompt(asked(CLAIMED), broken, ["no JSON"], TEMPLATE).messages[2]["content"] == broken


def test_an_earlier_prompt_repairs_as_it_did_and_the_estimate_knows_the_difference() -> None:
    old = load_template("verdict-3")
    again = repair_prompt(asked([*OTHERS, *CLAIMED]), json.dumps(ANSWER), ["ground 1: wrong"], old)
    assert again.messages[0]["content"] == TEMPLATE.sections["system"]
    assert again.messages[2]["content"] == json.dumps(ANSWER) and again.tokens > REPAIR_TOKENS
    for name, least in (("verdict-4", REPAIR_TOKENS), ("verdict-3", REPAIR_TOKENS + 500)):
        settings = JudgeSettings(prompt=name, repeats=1)
        repair = estimate_case(settings).tokens - estimate_case(settings.model_copy(update={"repair": False})).tokens
        assert repair >= least + settings.max_output_tokens
