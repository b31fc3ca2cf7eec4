"""The question's answer: what a judge must say, as a pydantic model and as a JSON schema for constrained decoding.

>>> parse_answer('{"score": 0.4, "grounds": [{"claim": {"kind": "count", "predicate": "pod_exec", "n": 2}, "event_ids": ["e1-e2"]}]}',
...              {"e1": "first", "e2": "second"}).grounds[0].event_ids
['first', 'second']
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit_lab.judge.rows import KINDS
from audit_lab.phrases import CHECKS
from audit_lab.predicates import PREDICATES
from audit_lab.vocabulary import ACTIONS

N_GROUNDS = 3
# How the reason begins when an answer cannot be read as a verdict: such an answer may be repaired once.
NO_VERDICT = "answer "
# Why a verdict that can be read is not used.
FAILING = "its grounds do not hold"
NO_GROUND = "it gives no ground, and by its score or by the signals the case asks for a person"
ALL_COMMON = "all grounds are common: ordinary sessions of its peers show the same"
MAX_SUMMARY = 600
MAX_CITED = 20
SCOPES = ("actor", "peers", "namespaces", "secrets", "nodes", "resources")


class AnswerError(Exception):
    """An answer is no verdict; the message says why, in our words."""


class _Part(BaseModel):
    # Unknown keys are ignored: models add comments. What counts is checked on the tables anyway.
    model_config = ConfigDict(extra="ignore", strict=False)


class Claim(_Part):
    """One typed claim: see docs/judge.md for what each kind means."""

    kind: Literal["count", "order", "novelty", "denial", "privilege", "reach"]
    predicate: str = Field(max_length=80)
    then: str | None = Field(None, max_length=80)
    n: int | None = Field(None, ge=1, le=10_000_000)
    scope: str | None = Field(None, max_length=20)


class Ground(_Part):
    """A claim and the events that show it."""

    claim: Claim
    event_ids: list[str] = Field(max_length=200)


class Answer(_Part):
    """A judge's whole answer."""

    score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    summary: str = Field("", max_length=MAX_SUMMARY)
    grounds: list[Ground] = Field(default_factory=list, max_length=N_GROUNDS)
    checks: list[str] = Field(default_factory=list, max_length=6)
    action: str | None = None
    abstain: str | None = Field(None, max_length=300)


def answer_schema(bounded: bool = False) -> dict[str, Any]:
    """Return the JSON schema that an endpoint decodes by: nothing optional, the names of kinds, checks and actions from closed lists.

    Providers count a schema as tokens of the prompt. The hundred predicates would be most of it, and those of a case stand in its facts;
    the checker knows them all, and what a scope may be.

    Parameters
    ----------
    bounded
        Also bound the length of texts and the digits of numbers, and allow each kind of claim its own parts only: llama.cpp decodes
        by such a schema, and a small model then can neither ramble nor say what no table could bear out; other servers refuse schemas
        with these words.
    """
    steps = [round(number / 20, 2) for number in range(21)]
    words = {"type": "string", "maxLength": 240} if bounded else {"type": "string"}
    handle = {"type": "string", "pattern": "^e[1-9][0-9]{0,2}$"} if bounded else {"type": "string"}
    whole = {"enum": [*range(1, 51), 100, 200, 500, 1000, None]} if bounded else None
    score = {"enum": steps} if bounded else None

    def nullable(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": [kind, "null"], **more}

    claim = _claims_by_kind(whole) if bounded else _object({
        "kind": {"type": "string", "enum": list(KINDS)}, "predicate": words, "then": nullable("string"), "n": nullable("integer"),
        "scope": nullable("string"),
    })
    # Lengths that parsing bounds anyway are not sent.
    ground = _object({"claim": claim, "event_ids": {"type": "array", "items": handle, **({"maxItems": 6} if bounded else {})}})
    answer = _object({
        "score": score or nullable("number"),
        "summary": words,
        "grounds": {"type": "array", "items": ground, "maxItems": N_GROUNDS},
        "checks": {"type": "array", "items": {"type": "string", "enum": list(CHECKS)}, "maxItems": N_GROUNDS},
        "action": {"type": "string", "enum": list(ACTIONS)},
        "abstain": {"type": "null"} if bounded else nullable("string"),
    })
    return {**answer, "$defs": {"predicate": {"type": "string", "enum": list(PREDICATES)}}} if bounded else answer


def _claims_by_kind(whole: dict[str, Any] | None) -> dict[str, Any]:
    """Return a schema of claims in which each kind has the parts that it uses; `whole` is the schema of numbers."""
    predicate, null = {"$ref": "#/$defs/predicate"}, {"type": "null"}
    n = {"enum": [step for step in (whole or {"enum": [1]})["enum"] if step is not None]}
    used: dict[str, dict[str, Any]] = {
        "count": {"n": n}, "order": {"then": predicate}, "novelty": {"scope": {"enum": ["actor", "peers"]}}, "denial": {"n": n},
        "privilege": {}, "reach": {"n": n, "scope": {"enum": ["namespaces", "secrets", "nodes", "resources"]}},
    }
    return {"anyOf": [
        _object({"kind": {"const": kind}, "predicate": predicate, "then": null, "n": null, "scope": null, **parts})
        for kind, parts in used.items()
    ]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def parse_answer(text: str, handles: Mapping[str, str]) -> Answer:
    """Return the answer that `text` holds, with handles (`e4`) replaced by event ids.

    A handle that does not exist stays as it is: verification will say that the event is not in the evidence.

    Raises
    ------
    AnswerError
        When the text is no JSON object, or does not fit.
    """
    if not text.strip():
        raise AnswerError("answer is empty")
    try:
        raw = json.loads(_json_part(text))
    except (ValueError, RecursionError):
        raise AnswerError("answer is not JSON") from None
    if not isinstance(raw, dict):
        raise AnswerError("answer is not a JSON object")
    try:
        answer = Answer.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AnswerError(f"answer does not fit the schema: {where}: {first['msg']}") from None
    if answer.score is None and not answer.abstain:
        raise AnswerError("answer has neither a score nor a reason to abstain")
    if answer.action is not None and answer.action not in ACTIONS:
        raise AnswerError("answer names an action that is not on the list")
    return answer.model_copy(update={
        "grounds": [ground.model_copy(update={"event_ids": _resolve(ground.event_ids, handles)}) for ground in answer.grounds],
        "checks": [check for check in dict.fromkeys(answer.checks) if check in CHECKS][:N_GROUNDS],
    })


def _json_part(text: str) -> str:
    """Return the JSON object inside a text: without a fence, and without a thinking part before it."""
    bare = re.sub(r"^.*</think>", "", text, count=1, flags=re.DOTALL).strip()
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", bare, flags=re.DOTALL)
    return fenced.group(1) if fenced else bare


def _resolve(cited: list[str], handles: Mapping[str, str]) -> list[str]:
    """Return the event ids behind handles; 'e2-e4' means all three."""
    found: list[str] = []
    for item in cited[:MAX_CITED]:
        span = re.fullmatch(r"\[?e(\d{1,6})\s*(?:-|to|\.\.)\s*e?(\d{1,6})\]?", item.strip())
        if span and 0 <= int(span.group(2)) - int(span.group(1)) < 100:
            found += [handles.get(f"e{number}", f"e{number}") for number in range(int(span.group(1)), int(span.group(2)) + 1)]
        else:
            found.append(handles.get(item.strip().strip("[]"), item.strip()[:40]))
    return list(dict.fromkeys(found))
