"""The report speaks English and Korean, and nothing is forgotten."""

from __future__ import annotations

import ast
import dataclasses
import re
import string
from pathlib import Path

import pytest

from audit_lab import govern
from audit_lab.classes import ACTOR_KINDS, SOURCE_CLASSES
from audit_lab.errors import InputError
from audit_lab.govern.cases import SEVERITIES
from audit_lab.govern.outcomes import REASONS
from audit_lab.govern.pictures import CLASSES
from audit_lab.govern.report import render_report
from audit_lab.govern.summary import SCORER_NAMES
from audit_lab.govern.words import check_language, korean, translate
from audit_lab.judge.schema import ALL_COMMON, FAILING, NO_GROUND
from audit_lab.vocabulary import ACTIONS
from tests.govern.report_world import build_world

FOLDER = Path(govern.__file__).parent


def said() -> set[str]:
    """Every sentence that a template or module hands to the translation, and the closed lists that go the same way."""
    found = {text for words in (REASONS.values(), SCORER_NAMES.values(), CLASSES, SEVERITIES) for text in words}
    found |= {name.replace("_", " ") for name in (*ACTOR_KINDS, *SOURCE_CLASSES, *ACTIONS)}
    for template in FOLDER.glob("templates/*.j2"):
        text = template.read_text(encoding="utf-8")
        found |= {single or double for single, double in re.findall(r"\bt\(\s*(?:'([^']*)'|\"([^\"]*)\")", text)}
    for module in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in ("t", "translate") and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
    return found


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_sentence_has_its_korean() -> None:
    assert sorted(said() - set(korean())) == []


def test_no_translation_is_left_over() -> None:
    settings = {"profile", "threshold", "budget", "session gap", "masking policy", "evaluation"}
    layered = settings | {"flagged session", "judged, not flagged", "other session", "malicious incident", "benign but suspicious"}
    # Why a verdict is not used is said by the verdict.
    reasons = {FAILING, NO_GROUND, ALL_COMMON}
    assert reasons <= set(korean())
    assert sorted(set(korean()) - said() - layered - reasons) == []


@pytest.mark.parametrize("english", sorted(korean()))
def test_a_translation_keeps_its_values(english: str) -> None:
    assert fields(korean()[english]) == fields(english)
    assert re.search("[가-힣]", korean()[english]) or english in ("of {n}", "by {judges}")


def test_the_korean_page_is_korean() -> None:
    page = render_report(dataclasses.replace(build_world(), lang="ko"))
    assert '<html lang="ko">' in page and "감사 보고서" in page and "숫자로 보는 흐름" in page
    assert "비밀을 나열했습니다" in page and "행위자 본인이나 담당 팀" in page and "담당자에게 문의" in page
    assert "How well it works" not in page and "Why it is here" not in page and "below the threshold" not in page


def test_values_are_filled_in_after_translation() -> None:
    assert translate("{n} cases", "ko", n="{n}") == "사례 {n}건"
    with pytest.raises(InputError, match="one of: en, ko"):
        check_language("de")
