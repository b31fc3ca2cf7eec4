"""The sentence a person reads: rendered by us from a claim, in English and Korean (law 6).

>>> english({"kind": "count", "predicate": "secret_get", "then": None, "n": 3, "scope": None})
'The actor read a secret by name 3 times.'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit_lab.phrases import CHECKS
from audit_lab.predicates import PREDICATES

_KOREAN_THINGS = {"namespaces": "네임스페이스", "secrets": "시크릿", "nodes": "노드", "resources": "리소스 종류"}
_THINGS = {"namespaces": "namespaces", "secrets": "secrets", "nodes": "nodes", "resources": "kinds of resources"}


def english(claim: Mapping[str, Any], n: int | None = None, failed: bool = False, then_failed: bool = False) -> str:
    """Return the English sentence of a claim.

    Parameters
    ----------
    claim
        Fields of `tables.CLAIM`.
    n
        The number found on the tables, where the claim holds; the claimed one otherwise.
    failed, then_failed
        True where none of the requests (of the later ones) succeeded: then the actor 'tried to'.
    """
    predicate = PREDICATES.get(claim["predicate"])
    if predicate is None:
        return "The claim names nothing that is known."
    number = n or claim["n"] or 1
    did, thing = _did(claim["predicate"], failed), _THINGS.get(claim["scope"] or "", "things")
    aim = "" if predicate.category in ("denial", "any") else f" when it tried to {predicate.does}"
    who = "no other identity of its kind" if claim["scope"] == "peers" else "it"
    sentences = {
        "count": f"The actor {did} {_times(number)}.",
        "order": f"First the actor {did}, later it {_did(claim['then'], then_failed)}.",
        "novelty": f"The actor {did}, which {who} had {'' if claim['scope'] == 'peers' else 'not '}done before.",
        "denial": f"The actor was denied {_times(number)}{aim}.",
        "privilege": f"The actor {predicate.did}, and it succeeded.",
        "reach": f"The actor {did}: {number} different {thing}.",
    }
    return sentences.get(claim["kind"], "The claim is of no known kind.")


def korean(claim: Mapping[str, Any], n: int | None = None, failed: bool = False, then_failed: bool = False) -> str:
    """Return the Korean sentence of a claim; parameters as in `english`."""
    predicate = PREDICATES.get(claim["predicate"])
    if predicate is None:
        return "알 수 없는 내용을 주장합니다."
    number = n or claim["n"] or 1
    did, later = _korean_did(claim["predicate"], failed), _korean_did(claim["then"], then_failed)
    whose = "같은 종류의 다른 신원이" if claim["scope"] == "peers" else "이 행위자가"
    sentences = {
        "count": f"{did}: {number}회.",
        "order": f"{did} 이후 {later} 순서로 발생했습니다.",
        "novelty": f"{whose} 이전에 하지 않던 행위입니다: {did}.",
        "denial": f"{predicate.korean}: {number}회 거부되었습니다.",
        "privilege": f"{predicate.korean}: 성공했습니다.",
        "reach": f"{did}: 서로 다른 {_KOREAN_THINGS.get(claim['scope'] or '', '대상')} {number}개.",
    }
    return sentences.get(claim["kind"], "알 수 없는 종류의 주장입니다.")


def check_sentences(codes: list[str]) -> list[str]:
    """Return the English sentences of check codes, unknown ones left out."""
    return [CHECKS[code][0] for code in codes if code in CHECKS]


def _did(name: str | None, failed: bool) -> str:
    predicate = PREDICATES.get(name or "")
    if predicate is None:
        return "did something unknown"
    return f"tried to {predicate.does}" if failed and predicate.category != "denial" else predicate.did


def _korean_did(name: str | None, failed: bool) -> str:
    predicate = PREDICATES.get(name or "")
    if predicate is None:
        return "알 수 없는 행위"
    return predicate.korean + (" 시도" if failed and predicate.category != "denial" else "")


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def baseline_summary(n_rules: int, n_others: int, score: float, floor: float | None) -> tuple[str, str]:
    """Return what a verdict without a model says first, in English and Korean; `floor` is that of its rules where it raised the score.

    >>> baseline_summary(2, 1, 0.4, 0.7)[0]
    "No language model was asked: 2 rule hits and 1 other signal give 0.40; a rule's floor of 0.70 stands."
    """
    rules, others = (f"{count} {what}{'' if count == 1 else 's'}" for count, what in ((n_rules, "rule hit"), (n_others, "other signal")))
    raised = f"; a rule's floor of {floor:.2f} stands" if floor is not None else ""
    raised_ko = f" 규칙의 하한 {floor:.2f}이 적용됩니다." if floor is not None else ""
    return (
        f"No language model was asked: {rules} and {others} give {score:.2f}{raised}.",
        f"언어 모델에 묻지 않았습니다: 규칙 적중 {n_rules}건과 그 밖의 신호 {n_others}건으로 점수는 {score:.2f}입니다.{raised_ko}",
    )
