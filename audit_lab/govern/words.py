"""The report's own words in English and Korean.

English is the key: a template says `t("Alerts")`, and a test holds that every such sentence has its Korean.
Values are filled in after the translation, by name.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from audit_lab.errors import InputError

LANGUAGES = ("en", "ko")


@cache
def korean() -> dict[str, str]:
    """Return English sentence to Korean sentence."""
    path = Path(__file__).parent / "templates" / "words.ko.json"
    words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return words


def check_language(lang: str) -> str:
    """Return `lang` if the report speaks it.

    >>> check_language("fr")
    Traceback (most recent call last):
    audit_lab.errors.InputError: no report language 'fr' (hint: one of: en, ko)
    """
    if lang not in LANGUAGES:
        raise InputError(f"no report language '{lang}'", f"one of: {', '.join(LANGUAGES)}")
    return lang


def translate(text: str, lang: str = "en", **values: Any) -> str:
    """Return `text` in `lang` with `values` filled in; a sentence without a translation stays English.

    >>> translate("{n} cases", n=3)
    '3 cases'
    """
    sentence = korean().get(text, text) if lang == "ko" else text
    return sentence.format(**values) if values else sentence
