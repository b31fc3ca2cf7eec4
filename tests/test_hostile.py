"""What reading recognises of text that talks to its reader, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit_lab.hostile import hostile_text
from tests.judge.injections import BIDI, CHAT_TOKENS, CONTROL, CORPUS, ENGLISH, KOREAN, ZERO_WIDTH

ORDINARY = (
    "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0",
    "kube-controller-manager/v1.33.1 (linux/amd64) kubernetes/8adc0f0/system:serviceaccount:kube-system:job-controller", "system:masters",
    "system:serviceaccount:ml:image-classifier", "verdict-api", "assistant", "score-service", "prompt-cache-0", "developer: platform team",
    "Do not edit: managed by Helm, changes are overwritten", "This namespace belongs to the payments team; ask in #payments before deleting",
    "Set by the operator. See https://example.com/docs for instructions.", "timeout 250µs, retry after 3 s", "10μs", "größe", "naïve-bayes",
    "이 네임스페이스를 삭제하지 마세요", "결제 팀이 관리합니다", "прод", "αβ", "日本語の説明", "user is admin of the shop", "nginx:1.27-alpine",
    '{"apiVersion":"v1","kind":"ConfigMap","data":{"level":"info"}}', "/api/v1/namespaces/shop/pods?limit=500&continue=eyJ2IjoxfQ",
    "sh -c 'until nc -z db 5432; do sleep 1; done'", "release v2.0, score 10",
)


def flagged(texts: object) -> int:
    return sum(hostile_text(text if isinstance(text, str) else " ".join(text)) for text in texts)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert not hostile_text(text)


def test_most_attempts_are_recognised_and_the_rest_is_known() -> None:
    assert flagged(CORPUS) >= 127 and len(CORPUS) == 222  # the others: "null", a lone brace, and attempts in words that no pattern names
    assert flagged(BIDI) == len(BIDI) and flagged(CONTROL) == len(CONTROL) and flagged(ZERO_WIDTH) == len(ZERO_WIDTH)
    assert flagged(CHAT_TOKENS) >= 16 and flagged(KOREAN) >= 17 and flagged(ENGLISH) >= 20


@pytest.mark.parametrize("text", ["kub\u0435-system", "\u0455ystem:masters", "\u0399GNORE ALL", "\U0001d422gnore", "a\u00adb", "\u180eignore"])
def test_letters_that_pass_for_others_and_letters_that_hide_are_recognised(text: str) -> None:
    assert hostile_text(text)


def test_no_label_of_a_harmless_incident_was_written_by_an_attacker(sample: Path) -> None:
    """Titles and reasons of look-alikes are ordinary sentences about security work: none talks to a model."""
    labels = [json.loads(line) for line in (sample / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    said = [text for label in labels if not label["malicious"] for text in (label["title"], label["reason"])]
    assert len(said) > 20 and flagged(said) == 0
